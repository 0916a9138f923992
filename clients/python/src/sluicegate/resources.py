"""The resource of a call whose author named none: its arguments, by name."""

from __future__ import annotations

import inspect
from typing import Any, Callable, Dict, List

from .encoding import described

#: Characters of a text that go into a resource; prompts and files are not for the audit.
MAX_TEXT = 2_000


class Arguments:
    """Names of a function's parameters, worked out once."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._names: List[str] = []
        #: Whether a keyword ``context`` is the function's own.
        self.takes_context = False
        try:
            parameters = list(inspect.signature(function).parameters.values())
        except (TypeError, ValueError):
            parameters = []
        for one in parameters:
            if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD):
                self._names.append(one.name)
            if one.name == "context" or one.kind == one.VAR_KEYWORD:
                self.takes_context = True

    def resource(self, *args: Any, **kwargs: Any) -> Dict[str, Any]:
        """The arguments as plain JSON: ``self`` and ``context`` left out, long texts shortened."""
        named: Dict[str, Any] = {}
        for place, value in enumerate(args):
            name = self._names[place] if place < len(self._names) else f"argument_{place}"
            if place == 0 and name in ("self", "cls"):
                continue
            named[name] = _shortened(value)
        for name, value in kwargs.items():
            if name != "context":
                named[name] = _shortened(value)
        return described(named)[0]

    def described(self, *args: Any, **kwargs: Any) -> Dict[str, Any]:
        """As :meth:`resource`, and never an exception."""
        try:
            return self.resource(*args, **kwargs)
        except Exception:
            return {}


def _shortened(value: Any) -> Any:
    if isinstance(value, str) and len(value) > MAX_TEXT:
        return f"{value[:MAX_TEXT]}… ({len(value)} characters)"
    return value
