"""What went checked and what did not: counters, and one line of the log instead of thousands."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from typing import Dict

logger = logging.getLogger("sluicegate")


@dataclass
class Stats:
    """The counters of one process and one connection, since it began."""

    #: Checks that the server answered with a decision.
    checked: int = 0
    #: Checks that it did not, by cause.
    causes: Dict[str, int] = field(default_factory=dict)
    #: Unchecked calls that wait to be sent, were sent, or had no room or were refused for good.
    spooled: int = 0
    sent: int = 0
    lost: int = 0
    #: Records of the spool that could not be read.
    corrupt: int = 0
    #: Why unchecked calls are kept in memory only; empty where files keep them.
    spool_problem: str = ""
    #: Outcomes that left, and those that had no room or no connection.
    outcomes_sent: int = 0
    outcomes_dropped: int = 0
    #: Answers that came after their call had given up.
    late_replies: int = 0
    #: ``connecting``, ``connected``, ``down`` or ``closed``, and why it is not connected.
    connection: str = "connecting"
    connection_problem: str = ""
    #: ``closed``, ``open`` or ``half_open``, and how often it opened.
    breaker: str = "closed"
    breaker_opened: int = 0

    @property
    def unchecked(self) -> int:
        """Checks without a decision."""
        return sum(self.causes.values())

    @property
    def coverage(self) -> float:
        """Checked calls among all; 1.0 before the first."""
        total = self.checked + self.unchecked
        return self.checked / total if total else 1.0


class Coverage:
    """Counts, and logs at most one line in a period. Safe across threads."""

    def __init__(self, period: float) -> None:
        self._lock = threading.Lock()
        self._period = period
        self._next_line = 0.0
        self._next_recovery = 0.0
        self._unsaid = 0
        self.checked = 0
        self.causes: Dict[str, int] = {}
        #: Whether there were failures that no line about an end has followed.
        self._failing = False

    def answered(self) -> None:
        """A decision came."""
        with self._lock:
            self.checked += 1
            if not self._failing:
                return
            now = time.monotonic()
            if now < self._next_recovery:
                return
            self._next_recovery = now + self._period
            self._failing = False
            unsaid, self._unsaid = self._unsaid, 0
        logger.warning("checks are answered again; not checked since the last line: %d", unsaid)

    def unanswered(self, cause: str, reason: str, allowed: bool) -> None:
        """A call was not checked."""
        now = time.monotonic()
        with self._lock:
            self.causes[cause] = self.causes.get(cause, 0) + 1
            self._failing = True
            self._unsaid += 1
            if now < self._next_line:
                return
            self._next_line = now + self._period
            count, self._unsaid = self._unsaid, 0
        logger.warning(
            "%d %s not checked and %s (%s: %s); the next line comes in %g s at the earliest",
            count,
            "call was" if count == 1 else "calls were",
            "allowed" if allowed else "denied",
            cause,
            reason,
            self._period,
        )
