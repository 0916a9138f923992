"""The ambient context: who asks, kept by contextvars so that threads and tasks don't mix."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Dict, Iterator, Mapping, Optional

_AMBIENT: ContextVar[Optional[Mapping[str, Any]]] = ContextVar("sluicegate_context", default=None)


@contextmanager
def policy_context(context: Optional[Mapping[str, Any]] = None, **members: Any) -> Iterator[Dict[str, Any]]:
    """Adds members to the context of all checks inside; an inner one goes over an outer one.

    ::

        with policy_context(agent="planner", session_id="s-1"):
            call_model("gpt-4")
    """
    merged = {**current_context(), **(context or {}), **members}
    token = _AMBIENT.set(merged)
    try:
        yield dict(merged)
    finally:
        # A generator may be closed in another context than the one it began in.
        try:
            _AMBIENT.reset(token)
        except ValueError:
            pass


def current_context() -> Dict[str, Any]:
    """The ambient context here: a copy."""
    return dict(_AMBIENT.get() or {})


def merged(*contexts: Optional[Mapping[str, Any]]) -> Dict[str, Any]:
    """The ambient context with these over it, the last one on top."""
    result = current_context()
    for one in contexts:
        if one:
            result.update(one)
    return result
