"""One guarded call from its decision to its end."""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Callable, Iterator, Mapping, Optional

from ._version import CLIENT
from .context import merged
from .core import now
from .coverage import logger
from .encoding import describe
from .errors import PolicyDeniedError
from .ids import uuid7
from .requests import Desk
from .results import Decision, disabled

_CURRENT: ContextVar[Optional[Guard]] = ContextVar("sluicegate_guard", default=None)
_ENDED_BY_CALLER = (asyncio.CancelledError, GeneratorExit, KeyboardInterrupt)
#: Who acted in which run: what an outcome repeats of the context.
_WHO = ("agent", "user", "session_id", "run_id", "step_id", "project_id")


def report_cost(usd: float) -> None:
    """Inside of a guarded call: what it has cost so far, in US dollars. The last one counts."""
    guard = _CURRENT.get()
    if guard is not None:
        guard.cost_usd = _number(usd)


@dataclass(frozen=True)
class Operation:
    """What is about to be done, as its caller said it."""

    action: str
    resource: Any = None
    context: Mapping[str, Any] = field(default_factory=dict)


class Guard:
    """A context manager around the call. Entering it raises where the call was denied."""

    def __init__(
        self,
        desk: Optional[Desk],
        operation: Operation,
        decision: Decision,
        cost: Optional[Callable[[Any], Optional[float]]] = None,
    ) -> None:
        self._desk = desk
        self._operation = operation
        self.decision = decision
        self._cost = cost
        self.cost_usd: Optional[float] = None
        self._begin = 0.0
        self._token: Any = None
        for warning in decision.warnings:
            logger.warning("%s: %s (decision %s)", operation.action, warning, decision.decision_id)

    @classmethod
    def idle(cls) -> Guard:
        """A guard of a call that is not checked, since enforcement is off."""
        return cls(None, Operation(""), disabled())

    def __enter__(self) -> Guard:
        decision = self.decision
        if not decision.allowed:
            raise PolicyDeniedError(
                self._operation.action,
                self._operation.resource,
                decision.deny_reasons,
                decision.policy,
                decision.decision_id,
                decision.remedy,
            )
        self._token = _CURRENT.set(self)
        self._begin = time.perf_counter()
        return self

    def __exit__(self, kind: Any, error: Optional[BaseException], _: object) -> None:
        seconds = time.perf_counter() - self._begin
        _restore(self._token)
        if self._desk is not None and self._desk.settings.outcomes:
            try:
                self._report(error, seconds)
            except Exception as failure:
                logger.debug("an outcome could not be reported: %s", describe(failure))

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Around one step of a generator, which may run in another context than the one before."""
        token = _CURRENT.set(self)
        try:
            yield
        finally:
            _restore(token)

    def returned(self, value: Any) -> Any:
        """Takes the cost from what the function returned, and passes it on."""
        if self._cost is not None:
            try:
                self.cost_usd = _number(self._cost(value))
            except Exception as error:
                logger.warning(
                    "the cost of %s could not be read: %s", self._operation.action, describe(error)
                )
        return value

    def _report(self, error: Optional[BaseException], seconds: float) -> None:
        assert self._desk is not None
        outcome = "ok" if error is None else "cancelled" if isinstance(error, _ENDED_BY_CALLER) else "error"
        kind = type(error)
        context = merged(self._operation.context)
        event = {
            "schema": 1,
            "id": uuid7(),
            "decision_id": self.decision.decision_id,
            "timestamp": now(),
            "outcome": outcome,
            "exception_type": "" if error is None else f"{kind.__module__}.{kind.__qualname__}",
            "duration_seconds": seconds,
            "cost_usd": self.cost_usd,
            "client": CLIENT,
            "action": self._operation.action,
        }
        for name in _WHO:
            value = context.get(name)
            event[name] = value if isinstance(value, str) else ""
        self._desk.core().outcome(event)


def _restore(token: Any) -> None:
    try:
        _CURRENT.reset(token)
    except ValueError:
        # A generator that is closed in another context than the one it began in.
        pass


def _number(value: Any) -> Optional[float]:
    if value is None:
        return None
    number = float(value)
    return number if number == number and number not in (float("inf"), float("-inf")) else None
