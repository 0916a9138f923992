"""What the client answers: dictionaries, as older code expects, with typed properties."""

from __future__ import annotations

from typing import Any, Dict, List, Optional


class Cause:
    """Why a call was not checked: the values of :attr:`Decision.cause`."""

    NO_RESPONDERS = "no_responders"
    TIMEOUT = "timeout"
    DISCONNECTED = "disconnected"
    SERVICE_ERROR = "service_error"
    CIRCUIT_OPEN = "circuit_open"
    INVALID_REPLY = "invalid_reply"
    UNSERIALIZABLE = "unserializable"


class _Result(Dict[str, Any]):
    def _text(self, key: str) -> str:
        value = self.get(key)
        return value if isinstance(value, str) else ""

    def _texts(self, key: str) -> List[str]:
        value = self.get(key)
        return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []

    def _objects(self, key: str) -> List[Dict[str, Any]]:
        value = self.get(key)
        return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


class Decision(_Result):
    """The answer to a check. ``decision["allowed"]`` and ``decision.allowed`` are the same.

    As a condition it is true where the operation may go on: ``if client.check_permission(…):``.
    """

    def __bool__(self) -> bool:
        return self.allowed

    @property
    def allowed(self) -> bool:
        """Whether the operation may go on."""
        return self.get("allowed") is True

    @property
    def decision(self) -> str:
        """``allow`` or ``deny``."""
        return self._text("decision")

    @property
    def reason(self) -> str:
        """One line: why."""
        return self._text("reason")

    @property
    def deny_reasons(self) -> List[str]:
        """Why it was denied."""
        return self._texts("deny_reasons")

    @property
    def warnings(self) -> List[str]:
        """What is worth knowing."""
        return self._texts("warnings")

    @property
    def decision_id(self) -> str:
        """UUIDv7 of the decision in the audit; of an unchecked call the client's own."""
        return self._text("decision_id")

    @property
    def policy(self) -> str:
        """The name of the policy that denied first, else the package that decided."""
        for one in self.policies:
            if one.get("decision") == "deny" and one.get("mode", "enforce") == "enforce":
                return str(one.get("name", ""))
        return self._text("policy_package")

    @property
    def policies(self) -> List[Dict[str, Any]]:
        """What each policy said."""
        return self._objects("policies")

    @property
    def remedy(self) -> List[Dict[str, Any]]:
        """What would have made the denying policies allow."""
        return self._objects("remedy")

    @property
    def enforced(self) -> bool:
        """False while enforcement is off or in shadow."""
        return self.get("enforced") is not False

    @property
    def error(self) -> bool:
        """Whether something failed: a policy, or the check itself (then :attr:`cause` is set)."""
        return self.get("error") is True

    @property
    def error_message(self) -> str:
        """What failed."""
        return self._text("error_message")

    @property
    def cause(self) -> str:
        """Why nothing was checked, one of :class:`Cause`; empty for a real decision."""
        return self._text("cause")

    @property
    def error_code(self) -> Optional[int]:
        """The code of the service error, such as 400 or 503."""
        value = self.get("error_code")
        return value if isinstance(value, int) else None

    @property
    def duration_ms(self) -> float:
        """How long the evaluation took on the worker, in milliseconds."""
        value = self.get("duration_ms")
        return float(value) if isinstance(value, (int, float)) else 0.0

    @property
    def policy_result(self) -> Dict[str, Any]:
        """The combined result in the shape of a policy's own rules."""
        value = self.get("policy_result")
        return value if isinstance(value, dict) else {}


class Policy(_Result):
    """A stored policy, as ``policy.admin.list`` shows it."""

    @property
    def name(self) -> str:
        """Its name."""
        return self._text("name")

    @property
    def package(self) -> str:
        """Its Rego package."""
        return self._text("package")

    @property
    def status(self) -> str:
        """``active``, ``inactive`` or ``draft``."""
        return self._text("status")

    @property
    def mode(self) -> str:
        """``enforce`` or ``warn``."""
        return self._text("mode")

    @property
    def scope(self) -> str:
        """``global``, ``session``, ``project`` or ``user``."""
        return self._text("scope")

    @property
    def version(self) -> int:
        """The newest version."""
        value = self.get("version")
        return value if isinstance(value, int) else 0


class Evaluation(Decision):
    """What a policy said of a trial. Nothing was enforced or recorded."""

    @property
    def would_deny(self) -> List[str]:
        """Reasons of what would have denied, had it been in force."""
        return self._texts("would_deny")

    @property
    def findings(self) -> List[Dict[str, Any]]:
        """What admission says of the Rego."""
        return self._objects("findings")


def decision_from(reply: Dict[str, Any]) -> Optional[Decision]:
    """A decision from the server's reply; None where it is none. Unknown members are kept."""
    if not isinstance(reply.get("allowed"), bool):
        return None
    return complete(Decision(reply))


def complete(decision: Decision) -> Decision:
    """Fills in the members that older code reads."""
    allowed = decision.allowed
    decision["decision"] = "allow" if allowed else "deny"
    for key in ("deny_reasons", "warnings"):
        decision[key] = decision._texts(key)
    decision.setdefault("reason", "allowed" if allowed else ", ".join(decision.deny_reasons) or "denied")
    decision.setdefault("decision_id", "")
    decision["error"] = decision.error
    microseconds = decision.get("duration_us")
    decision["duration_ms"] = microseconds / 1000 if isinstance(microseconds, (int, float)) else 0.0
    decision["policy_result"] = {
        "allow": allowed,
        "deny_reasons": list(decision["deny_reasons"]),
        "warnings": list(decision["warnings"]),
    }
    return decision


def unchecked(
    fail_mode: str, cause: str, reason: str, decision_id: str, code: Optional[int] = None
) -> Decision:
    """The answer to a check that could not be made: by the fail mode, with ``error`` and a reason."""
    allowed = fail_mode == "open"
    return complete(
        Decision(
            allowed=allowed,
            reason=f"not checked: {reason}",
            deny_reasons=[] if allowed else [f"not_checked: {reason}"],
            decision_id=decision_id,
            error=True,
            error_message=reason,
            error_code=code,
            cause=cause,
            enforced=not allowed,
        )
    )


def disabled() -> Decision:
    """The answer while enforcement is off."""
    return complete(Decision(allowed=True, reason="Policy enforcement disabled", enforced=False, error=False))
