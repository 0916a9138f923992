"""A circuit breaker: after failures in a row nobody waits any more, but one probe at a time."""

from __future__ import annotations

import threading
import time

#: The interval between probes doubles up to this many times the configured one.
MAX_BACKOFF = 8


class Breaker:
    """Closed: all calls go. Open: none. Half open: one does, and closes it again or not."""

    def __init__(self, failures: int, interval: float) -> None:
        self._lock = threading.Lock()
        self._bound = failures
        self._interval = interval
        self._failures = 0
        self._wait = interval
        self._probe_at = 0.0
        self._probing = False
        self.opened = 0
        #: The last failure, for people.
        self.why = ""

    @property
    def state(self) -> str:
        """``closed``, ``open`` or ``half_open``."""
        if self._failures < self._bound:
            return "closed"
        return "half_open" if self._probing else "open"

    def admit(self) -> bool:
        """Whether a call may go. One that may says afterwards how it ended."""
        if self._failures < self._bound:
            return True
        with self._lock:
            if self._failures < self._bound:
                return True
            now = time.monotonic()
            if now < self._probe_at:
                return False
            # A probe that is never heard of again is not waited for longer than this.
            self._probing = True
            self._probe_at = now + self._wait
            return True

    def succeeded(self) -> None:
        """An answer came, whatever it was: the way to the server works."""
        if self._failures == 0:
            return
        with self._lock:
            self._failures = 0
            self._wait = self._interval
            self._probing = False

    def failed(self, why: str) -> None:
        """A call waited in vain."""
        with self._lock:
            self.why = why
            self._failures += 1
            if self._failures == self._bound:
                self.opened += 1
                self._probe_at = time.monotonic() + self._wait
            elif self._failures > self._bound and self._probing:
                self._wait = min(self._wait * 2, self._interval * MAX_BACKOFF)
                self._probe_at = time.monotonic() + self._wait
            self._probing = False
