"""Tools of agent frameworks: functions and callable objects, wrapped as what they are."""

from __future__ import annotations

import functools
import inspect
from typing import Any, Callable, Optional, TypeVar, cast

from .client import AnyClient
from .decorator import ContextSource, Extractor, enforce_policy
from .resources import Arguments

T = TypeVar("T", bound=Callable[..., Any])


def enforced(
    tool: T,
    action: str = "tool_call",
    resource_extractor: Optional[Extractor] = None,
    *,
    name: Optional[str] = None,
    context: ContextSource = None,
    package: Optional[str] = None,
    client: Optional[AnyClient] = None,
    cost: Optional[Callable[[Any], Optional[float]]] = None,
) -> T:
    """The tool, with a check before each call.

    The resource has the tool's ``name`` and its ``arguments``, unless an extractor says otherwise.
    Name, documentation and signature stay, since frameworks describe tools by them; of an object all
    attributes stay.
    """
    called = tool if inspect.isroutine(tool) or isinstance(tool, functools.partial) else type(tool).__call__
    title = name or str(getattr(tool, "name", None) or getattr(tool, "__name__", None) or type(tool).__name__)
    arguments = Arguments(tool)

    def resource(*args: Any, **kwargs: Any) -> Any:
        return {"name": title, "arguments": arguments.resource(*args, **kwargs)}

    decorate = enforce_policy(
        action, resource_extractor or resource, context=context, package=package, client=client, cost=cost
    )
    if called is tool:
        return decorate(tool)
    bound = called.__get__(tool)
    return cast(T, _EnforcedTool(tool, decorate(bound)))


class _EnforcedTool:
    """A callable object whose calls are checked; everything else is the object's own."""

    def __init__(self, tool: Any, call: Callable[..., Any]) -> None:
        self._tool = tool
        self._call = call
        self.__wrapped__ = tool
        for attribute in ("__name__", "__qualname__", "__doc__", "__module__"):
            if hasattr(tool, attribute):
                setattr(self, attribute, getattr(tool, attribute))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._call(*args, **kwargs)

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._tool, attribute)

    def __repr__(self) -> str:
        return f"enforced({self._tool!r})"
