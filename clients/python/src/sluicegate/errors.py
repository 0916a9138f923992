"""Errors that users of the client see."""

from __future__ import annotations

from typing import Any, List, Mapping, Optional, Sequence, Tuple


class PolicyError(Exception):
    """What all errors of this package have in common."""


class PolicyDeniedError(PolicyError):
    """The operation was denied, or could not be checked while the client fails closed."""

    def __init__(
        self,
        action: str,
        resource: Any = None,
        reasons: Sequence[str] = (),
        policy: str = "",
        decision_id: str = "",
        remedy: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self.action = action
        self.resource = resource
        self.reasons: List[str] = list(reasons)
        self.policy = policy
        self.decision_id = decision_id
        self.remedy: List[Mapping[str, Any]] = list(remedy)
        super().__init__(self._text())

    def _text(self) -> str:
        text = f"{self.action} is denied"
        if self.policy:
            text += f" by {self.policy}"
        if self.reasons:
            text += ": " + ", ".join(self.reasons)
        advice = self.advice
        if advice:
            text += ". " + " ".join(advice)
        return text

    @property
    def advice(self) -> List[str]:
        """What would help, in words: the policies' advice, then the changes that would be allowed."""
        texts: List[str] = []
        for one in self.remedy:
            for kind in ("advice", "changes"):
                for entry in one.get(kind) or ():
                    text = entry.get("text") if isinstance(entry, Mapping) else None
                    if isinstance(text, str) and text not in texts:
                        texts.append(text)
        return texts

    def __reduce__(self) -> Tuple[Any, ...]:
        arguments = (self.action, self.resource, self.reasons, self.policy, self.decision_id, self.remedy)
        return type(self), arguments


class PolicyServiceError(PolicyError):
    """A request that is no check (a listing, a trial) could not be done."""

    def __init__(
        self,
        message: str,
        *,
        cause: str,
        code: Optional[int] = None,
        body: Optional[Mapping[str, Any]] = None,
    ) -> None:
        super().__init__(message)
        #: What went wrong: one of the values of :class:`sluicegate.Cause`.
        self.cause = cause
        #: The code of the service error, where the server answered with one.
        self.code = code
        self.body: Mapping[str, Any] = body or {}

    @property
    def field(self) -> str:
        """The member of the request that is wrong, where the server named one."""
        return str(self.body.get("field") or "")

    @property
    def findings(self) -> List[Mapping[str, Any]]:
        """What is wrong with the Rego, where it was refused (code 422)."""
        value = self.body.get("findings")
        return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []

    def __reduce__(self) -> Tuple[Any, ...]:
        return _revive, (type(self), str(self), self.cause, self.code, dict(self.body))


def _revive(kind: Any, message: str, cause: str, code: Optional[int], body: Mapping[str, Any]) -> Any:
    return kind(message, cause=cause, code=code, body=body)


class PolicyRequestError(PolicyServiceError):
    """The request is wrong (400, 404, 409, 422): :attr:`field` and :attr:`findings` say where."""


class SettingsError(PolicyError, ValueError):
    """A setting has a value that it can't have."""


class Unavailable(Exception):
    """Inside the client: no answer that counts. Callers get the fail mode instead."""

    def __init__(
        self,
        cause: str,
        reason: str,
        code: Optional[int] = None,
        body: Optional[Mapping[str, Any]] = None,
        slow: bool = False,
    ) -> None:
        super().__init__(reason)
        self.cause = cause
        self.reason = reason
        self.code = code
        self.body: Mapping[str, Any] = body or {}
        #: Whether somebody waited for it: that is what the circuit breaker counts.
        self.slow = slow
