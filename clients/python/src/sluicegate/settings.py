"""Settings: by argument, else by environment variable, else a default.

The variables of the connection are those of the server. The client's own begin with
``POLICY_CLIENT_``, since the server refuses ``SLUICEGATE_`` variables that it doesn't know.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields, replace
from typing import Any, Callable, Dict, Mapping, Optional, Tuple

from .errors import SettingsError

_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off"}


def _boolean(text: str) -> bool:
    if text.strip().lower() in _TRUE:
        return True
    if text.strip().lower() in _FALSE:
        return False
    raise ValueError("expected true or false")


def _state_folder() -> str:
    """Where a user's programs keep what must outlive them (XDG base directories)."""
    base = os.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    return os.path.join(base, "sluicegate", "unchecked") if os.path.isabs(base) else ""


_COUNTS = (
    "max_request_bytes",
    "max_in_flight",
    "max_waiting",
    "breaker_failures",
    "outcome_queue",
    "spool_max_bytes",
    "spool_memory_bytes",
)


@dataclass(frozen=True)
class Settings:
    """How to reach the server and what happens when it can't be reached."""

    #: Whether anything is checked. ``POLICY_ENFORCEMENT_ENABLED``
    enabled: bool = True
    #: Servers, separated by commas. ``SLUICEGATE_NATS_URL``
    url: str = "nats://127.0.0.1:4222"
    #: First tokens of all NATS subjects. ``SLUICEGATE_NATS_SUBJECT_PREFIX``
    subject_prefix: str = "policy"
    #: ``SLUICEGATE_NATS_USER``, ``_PASSWORD``, ``_TOKEN``, ``_CREDENTIALS_FILE``
    user: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    credentials_file: str = ""
    #: ``SLUICEGATE_NATS_REQUIRE_TLS``, ``SLUICEGATE_NATS_ROOT_CERTIFICATES`` (a PEM file)
    require_tls: bool = False
    root_certificates: str = ""
    #: Ask as this agent, on its own NATS subject. ``POLICY_CLIENT_AGENT``
    agent: str = ""
    #: ``open``: what can't be checked is allowed, with ``error``; ``closed``: it is denied.
    #: ``POLICY_CLIENT_FAIL_MODE``
    fail_mode: str = "open"
    #: Seconds that a check may take, connecting included. ``POLICY_CLIENT_TIMEOUT``
    timeout: float = 1.0
    #: Bytes of the largest request. ``POLICY_CLIENT_MAX_REQUEST_BYTES``
    max_request_bytes: int = 256 * 1024
    #: Requests on their way at once; more wait their turn. ``POLICY_CLIENT_MAX_IN_FLIGHT``
    max_in_flight: int = 256
    #: Requests that wait or are on their way; more get the fail mode. ``POLICY_CLIENT_MAX_WAITING``
    max_waiting: int = 20_000
    #: Failures in a row that open the breaker. ``POLICY_CLIENT_BREAKER_FAILURES``
    breaker_failures: int = 3
    #: Seconds between attempts to reach a dead server. ``POLICY_CLIENT_PROBE_INTERVAL``
    probe_interval: float = 1.0
    #: Whether the decorator reports how calls ended. ``POLICY_CLIENT_OUTCOMES``
    outcomes: bool = True
    #: Outcomes that may wait to be sent; more are dropped. ``POLICY_CLIENT_OUTCOME_QUEUE``
    outcome_queue: int = 10_000
    #: Seconds that one attempt to connect may take. ``POLICY_CLIENT_CONNECT_TIMEOUT``
    connect_timeout: float = 2.0
    #: Seconds between questions whether a silent server is still there. ``POLICY_CLIENT_PING_INTERVAL``
    ping_interval: float = 5.0
    #: Folder of the files that keep unchecked calls; empty for memory alone. ``POLICY_CLIENT_SPOOL_FOLDER``
    spool_folder: str = field(default_factory=_state_folder)
    #: Bytes that all these files may hold. ``POLICY_CLIENT_SPOOL_MAX_BYTES``
    spool_max_bytes: int = 64 * 1024 * 1024
    #: Bytes of unchecked calls that wait in memory where no file can. ``POLICY_CLIENT_SPOOL_MEMORY_BYTES``
    spool_memory_bytes: int = 8 * 1024 * 1024
    #: Seconds between two lines of the log about unchecked calls. ``POLICY_CLIENT_LOG_PERIOD``
    log_period: float = 60.0

    def __post_init__(self) -> None:
        if self.fail_mode not in ("open", "closed"):
            raise SettingsError(f"fail_mode is {self.fail_mode!r}; it must be 'open' or 'closed'")
        for name in ("timeout", "probe_interval", "connect_timeout", "ping_interval", "log_period"):
            if not 0 < getattr(self, name) <= 3600:
                raise SettingsError(f"{name} must be more than 0 and at most 3600 seconds")
        for name in _COUNTS:
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} must be at least 1")

    def connection(self) -> Settings:
        """These settings without those of single calls: equal ones share one connection."""
        return replace(self, enabled=True, fail_mode="open", timeout=1.0, outcomes=True)

    @classmethod
    def load(cls, environment: Optional[Mapping[str, str]] = None, **arguments: Any) -> Settings:
        """Settings from arguments (those that are not None), then the environment, then defaults."""
        environment = os.environ if environment is None else environment
        values: Dict[str, Any] = {}
        for key, (names, convert) in _VARIABLES.items():
            for name in names:
                text = environment.get(name)
                # An empty folder is a choice: no files.
                if text is None or (text == "" and key != "spool_folder"):
                    continue
                try:
                    values[key] = convert(text)
                except ValueError as error:
                    raise SettingsError(f"{name} is {text!r}: {error}") from error
                break
        known = {one.name for one in fields(cls)}
        for key, value in arguments.items():
            if key not in known:
                raise SettingsError(f"there is no setting {key!r}; there are: {', '.join(sorted(known))}")
            if value is not None:
                values[key] = value
        return cls(**values)


_VARIABLES: Dict[str, Tuple[Tuple[str, ...], Callable[[str], Any]]] = {
    # The server reads both too, and the longer name wins there as well.
    "enabled": (("SLUICEGATE_ENFORCEMENT_ENABLED", "POLICY_ENFORCEMENT_ENABLED"), _boolean),
    "url": (("SLUICEGATE_NATS_URL",), str),
    "subject_prefix": (("SLUICEGATE_NATS_SUBJECT_PREFIX",), str),
    "user": (("SLUICEGATE_NATS_USER",), str),
    "password": (("SLUICEGATE_NATS_PASSWORD",), str),
    "token": (("SLUICEGATE_NATS_TOKEN",), str),
    "credentials_file": (("SLUICEGATE_NATS_CREDENTIALS_FILE",), str),
    "require_tls": (("SLUICEGATE_NATS_REQUIRE_TLS",), _boolean),
    "root_certificates": (("SLUICEGATE_NATS_ROOT_CERTIFICATES",), str),
    "agent": (("POLICY_CLIENT_AGENT",), str),
    "fail_mode": (("POLICY_CLIENT_FAIL_MODE",), str),
    "timeout": (("POLICY_CLIENT_TIMEOUT",), float),
    "max_request_bytes": (("POLICY_CLIENT_MAX_REQUEST_BYTES",), int),
    "max_in_flight": (("POLICY_CLIENT_MAX_IN_FLIGHT",), int),
    "max_waiting": (("POLICY_CLIENT_MAX_WAITING",), int),
    "breaker_failures": (("POLICY_CLIENT_BREAKER_FAILURES",), int),
    "probe_interval": (("POLICY_CLIENT_PROBE_INTERVAL",), float),
    "outcomes": (("POLICY_CLIENT_OUTCOMES",), _boolean),
    "outcome_queue": (("POLICY_CLIENT_OUTCOME_QUEUE",), int),
    "connect_timeout": (("POLICY_CLIENT_CONNECT_TIMEOUT",), float),
    "ping_interval": (("POLICY_CLIENT_PING_INTERVAL",), float),
    "spool_folder": (("POLICY_CLIENT_SPOOL_FOLDER",), str),
    "spool_max_bytes": (("POLICY_CLIENT_SPOOL_MAX_BYTES",), int),
    "spool_memory_bytes": (("POLICY_CLIENT_SPOOL_MEMORY_BYTES",), int),
    "log_period": (("POLICY_CLIENT_LOG_PERIOD",), float),
}
