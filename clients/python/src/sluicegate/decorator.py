"""The decorator: asks before each call of a function, and reports how the call ended."""

from __future__ import annotations

import functools
import inspect
from typing import Any, Callable, Dict, Generator, Mapping, Optional, Tuple, TypeVar, Union, cast

from .client import AnyClient, default_client
from .encoding import describe
from .errors import Unavailable
from .guard import Guard, Operation, report_cost
from .requests import Desk, Ticket, answer_of, check_request
from .resources import Arguments
from .results import Cause, Decision

F = TypeVar("F", bound=Callable[..., Any])
Extractor = Callable[..., Any]
ContextSource = Union[Mapping[str, Any], Callable[..., Optional[Mapping[str, Any]]], None]

__all__ = ["enforce_policy", "report_cost"]


def enforce_policy(
    action: str,
    resource_extractor: Optional[Extractor] = None,
    *,
    context: ContextSource = None,
    package: Optional[str] = None,
    client: Optional[AnyClient] = None,
    cost: Optional[Callable[[Any], Optional[float]]] = None,
) -> Callable[[F], F]:
    """Checks each call of a function, method, async function, generator or async generator.

    ``resource_extractor`` gets the call's arguments and returns the resource; without it the resource
    is the arguments by name, long texts shortened. ``context`` is a mapping or a function of the
    call's arguments; it goes over the ambient :func:`policy_context`. A call may also have a keyword
    ``context`` of its own, on top of both. ``cost`` gets what the function returned and says what it
    cost, in US dollars; :func:`report_cost` inside of the call says the same.

    Raises :class:`PolicyDeniedError` before the function runs, for a generator before its first step.
    """

    def decorate(function: F) -> F:
        return cast(
            F, _Enforcer(function, action, resource_extractor, context, package, client, cost).wrapper()
        )

    return decorate


class _Enforcer:
    def __init__(
        self,
        function: Callable[..., Any],
        action: str,
        extractor: Optional[Extractor],
        context: ContextSource,
        package: Optional[str],
        client: Optional[AnyClient],
        cost: Optional[Callable[[Any], Optional[float]]],
    ) -> None:
        self.function = function
        self.action = action
        self.extractor = extractor
        self.context = context
        self.package = package
        self.client = client
        self.cost = cost
        self.arguments = Arguments(function)

    # Before the call ---------------------------------------------------------------------

    def _desk(self) -> Desk:
        return (self.client or default_client()).desk

    def _ask(
        self, args: Any, kwargs: Dict[str, Any]
    ) -> Tuple[Desk, Operation, Union[Decision, Ticket, None]]:
        """The check on its way; None where enforcement is off. Takes a ``context`` it lacks."""
        own = kwargs.get("context")
        if not self.arguments.takes_context:
            kwargs.pop("context", None)
        desk = self._desk()
        if not desk.settings.enabled:
            return desk, Operation(self.action), None
        context: Dict[str, Any] = {}
        try:
            source = self.context(*args, **kwargs) if callable(self.context) else self.context
            context.update(source or {})
            if isinstance(own, Mapping):
                context.update(own)
            extractor = self.extractor or self.arguments.resource
            resource = extractor(*args, **kwargs)
        except Exception as error:
            # The caller's own code failed: the call is not checked, and says so.
            resource = self.arguments.described(*args, **kwargs)
            request = check_request(self.action, resource, context, self.package)
            reason = f"the resource or context could not be extracted: {describe(error)}"
            return (
                desk,
                Operation(self.action, resource, context),
                desk.unanswered(request, Unavailable(Cause.UNSERIALIZABLE, reason)),
            )
        return (
            desk,
            Operation(self.action, resource, context),
            desk.ask(self.action, resource, context, self.package),
        )

    def _begin(self, args: Any, kwargs: Dict[str, Any]) -> Optional[Guard]:
        desk, operation, asked = self._ask(args, kwargs)
        if asked is None:
            return None
        if isinstance(asked, Ticket):
            asked = desk.answer(asked, desk.core().wait(asked.future, desk.settings.timeout))
        return Guard(desk, operation, asked, self.cost)

    async def _begin_async(self, args: Any, kwargs: Dict[str, Any]) -> Optional[Guard]:
        desk, operation, asked = self._ask(args, kwargs)
        if asked is None:
            return None
        if isinstance(asked, Ticket):
            asked = desk.answer(asked, await answer_of(asked.future))
        return Guard(desk, operation, asked, self.cost)

    # The wrappers ------------------------------------------------------------------------

    def wrapper(self) -> Callable[..., Any]:
        """The function that is called instead: of the same kind."""
        if inspect.isasyncgenfunction(self.function):
            chosen = self._async_generator()
        elif inspect.isgeneratorfunction(self.function):
            chosen = self._generator()
        elif is_coroutine_function(self.function):
            chosen = self._coroutine()
        else:
            chosen = self._plain()
        return functools.update_wrapper(chosen, self.function)

    def _plain(self) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            guard = self._begin(args, kwargs)
            if guard is None:
                return self.function(*args, **kwargs)
            with guard:
                return guard.returned(self.function(*args, **kwargs))

        return call

    def _coroutine(self) -> Callable[..., Any]:
        async def call(*args: Any, **kwargs: Any) -> Any:
            guard = await self._begin_async(args, kwargs)
            if guard is None:
                return await self.function(*args, **kwargs)
            with guard:
                return guard.returned(await self.function(*args, **kwargs))

        return call

    def _generator(self) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            guard = self._begin(args, kwargs)
            inner = self.function(*args, **kwargs)
            if guard is None:
                return (yield from inner)
            with guard:
                step: Callable[..., Any] = inner.__next__
                value: Tuple[Any, ...] = ()
                while True:
                    try:
                        with guard.inside():
                            given = step(*value)
                    except StopIteration as end:
                        return guard.returned(end.value)
                    try:
                        step, value = inner.send, ((yield given),)
                    except GeneratorExit:
                        with guard.inside():
                            inner.close()
                        raise
                    except BaseException as error:
                        step, value = inner.throw, (error,)

        return call

    def _async_generator(self) -> Callable[..., Any]:
        async def call(*args: Any, **kwargs: Any) -> Any:
            guard = await self._begin_async(args, kwargs)
            inner = self.function(*args, **kwargs)
            if guard is None:
                guard = Guard.idle()
            with guard:
                step: Callable[..., Any] = inner.__anext__
                value: Tuple[Any, ...] = ()
                while True:
                    try:
                        with guard.inside():
                            given = await step(*value)
                    except StopAsyncIteration:
                        return
                    try:
                        step, value = inner.asend, ((yield given),)
                    except GeneratorExit:
                        with guard.inside():
                            await inner.aclose()
                        raise
                    except BaseException as error:
                        step, value = inner.athrow, (error,)

        return call


def is_coroutine_function(function: Any) -> bool:
    """Also for partials and objects whose ``__call__`` is async."""
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.iscoroutinefunction(function):
        return True
    return inspect.iscoroutinefunction(getattr(type(function), "__call__", None))  # noqa: B004
