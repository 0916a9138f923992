"""What all clients of a process with the same settings share: connection, breaker, spool, counters."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import threading
import time
from collections import deque
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from datetime import datetime, timezone
from typing import Any, Deque, Dict, List, Mapping, Optional, Tuple, Union

from nats.aio.msg import Msg

from ._version import CLIENT
from .breaker import Breaker
from .coverage import Coverage, Stats, logger
from .encoding import described, dump
from .errors import Unavailable
from .ids import uuid7
from .link import Call, Link, one_line
from .results import Cause, Decision, unchecked
from .settings import Settings
from .spool import Spool

#: Seconds beyond its timeout that a blocking call trusts the thread to end it.
GRACE = 1.0
#: Seconds between looks for spools that others left.
ADOPTION_INTERVAL = 5.0
#: Seconds that one unchecked call may wait for the stream's acknowledgement.
ACK_TIMEOUT = 5.0
#: Characters of an unchecked event's message.
MAX_MESSAGE = 500
#: Bytes of an event beside its request.
EVENT_ROOM = 16 * 1024
#: The stream's refusals that no repetition changes: the message is larger than it takes.
FIRM_REFUSALS = {10054}

Answer = Union[Msg, Unavailable]


class Core:
    """See the module. Safe across threads; a child of fork gets a new one."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.breaker = Breaker(settings.breaker_failures, settings.probe_interval)
        self.coverage = Coverage(settings.log_period)
        self.spool = Spool(_folder(settings), settings.spool_max_bytes, settings.spool_memory_bytes)
        self._lock = threading.Lock()
        self._outcomes: Deque[Tuple[str, bytes]] = deque()
        self._kick: Optional[asyncio.Event] = None
        self._kicked = False
        self._sent = self._refused = self._outcomes_sent = self._outcomes_dropped = 0
        self._said_lost = 0.0
        self.link = Link(settings, self._tend)

    # Requests ----------------------------------------------------------------------------

    def send(self, subject: str, payload: bytes, timeout: float) -> Future[Answer]:
        """A request on its way. A future that is done already where nothing would come of it."""
        bound = min(self.settings.max_request_bytes, self.link.max_payload)
        if len(payload) > bound:
            return _done(Unavailable(Cause.UNSERIALIZABLE, f"{len(payload)} bytes, at most {bound} are sent"))
        if self.link.state == "down":
            return _done(Unavailable(Cause.DISCONNECTED, self.link.problem))
        if not self.breaker.admit():
            return _done(Unavailable(Cause.CIRCUIT_OPEN, f"the circuit breaker is open: {self.breaker.why}"))
        return self.link.request(subject, payload, timeout)

    def wait(self, future: Future[Answer], timeout: float) -> Answer:
        """The answer, for a thread that may block."""
        if threading.current_thread() is self.link.thread and not future.done():
            return Unavailable(Cause.DISCONNECTED, "the client's own thread can't wait for itself")
        try:
            return future.result(timeout + GRACE)
        except FutureTimeout:
            future.cancel()
            return Unavailable(Cause.TIMEOUT, "the client's thread did not come to it", slow=True)

    def reply(self, answer: Answer) -> Dict[str, Any]:
        """The reply's object; raises :class:`Unavailable` where it is none."""
        if isinstance(answer, Unavailable):
            if answer.slow:
                self.breaker.failed(answer.reason)
            raise answer
        self.breaker.succeeded()
        headers = answer.headers or {}
        if headers.get("Status") == "503" and not answer.data:
            raise Unavailable(Cause.NO_RESPONDERS, "no worker answers")
        try:
            body = json.loads(answer.data)
        except (ValueError, RecursionError):
            body = None
        code = headers.get("Nats-Service-Error-Code")
        if code is not None:
            error = body.get("error") if isinstance(body, dict) else None
            raise service_error(error, code, headers.get("Nats-Service-Error", ""))
        if not isinstance(body, dict):
            raise Unavailable(Cause.INVALID_REPLY, f"the reply is no JSON object ({len(answer.data)} bytes)")
        return body

    # Calls without an answer -------------------------------------------------------------

    def unanswered(self, request: Mapping[str, Any], failure: Unavailable, fail_mode: str) -> Decision:
        """Counts, logs and spools a call that was not checked; the answer by the fail mode."""
        decision_id = uuid7()
        answer = unchecked(fail_mode, failure.cause, failure.reason, decision_id, failure.code)
        if failure.code is not None and failure.body.get("field"):
            answer["error_field"] = failure.body["field"]
        self.coverage.unanswered(failure.cause, failure.reason, answer.allowed)
        event = {
            "schema": 1,
            "id": decision_id,
            "timestamp": now(),
            "cause": failure.cause,
            "message": failure.reason[:MAX_MESSAGE],
            "allowed": answer.allowed,
            "client": CLIENT,
            "request": request,
        }
        bound = min(self.settings.max_request_bytes + EVENT_ROOM, self.link.max_payload - 512)
        if not self.spool.put(_event_bytes(event, bound)):
            self._say_lost()
        self._wake()
        return answer

    def _say_lost(self) -> None:
        clock = time.monotonic()
        with self._lock:
            if clock < self._said_lost:
                return
            self._said_lost = clock + self.settings.log_period
        logger.error("the spool is full; %d unchecked calls are lost to the audit", self.spool.lost)

    def outcome(self, event: Mapping[str, Any]) -> None:
        """Takes an outcome to be sent; drops it where too many wait."""
        try:
            payload = dump(event)
        except Exception:
            payload = dump(described(dict(event))[0])
        with self._lock:
            if len(self._outcomes) >= self.settings.outcome_queue:
                self._outcomes_dropped += 1
                return
            self._outcomes.append((str(event["id"]), payload))
        self._wake()

    def _wake(self) -> None:
        with self._lock:
            if self._kicked or self._kick is None:
                return
            self._kicked = True
        try:
            self.link.loop.call_soon_threadsafe(self._kick.set)
        except RuntimeError:
            pass

    # The link's thread -------------------------------------------------------------------

    async def _tend(self, link: Link) -> None:
        """While connected: sends outcomes and what the spool holds."""
        kick = asyncio.Event()
        with self._lock:
            self._kick, self._kicked = kick, False
        pause, spool_at, adopt_at = 0.5, 0.0, 0.0
        while True:
            await self._send_outcomes(link)
            clock = time.monotonic()
            if clock >= adopt_at:
                adopt_at = clock + ADOPTION_INTERVAL
                self.spool.adopt()
            if clock >= spool_at:
                waiting = self.spool.first()
                if waiting is not None:
                    if await self._send_unchecked(link, waiting[1]):
                        self.spool.done(waiting[0])
                        pause = 0.5
                        continue
                    spool_at = time.monotonic() + pause
                    pause = min(pause * 2, 30.0)
            with self._lock:
                self._kicked = False
                more = bool(self._outcomes)
            kick.clear()
            if not more:
                try:
                    await asyncio.wait_for(kick.wait(), 0.5)
                except asyncio.TimeoutError:
                    pass

    async def _send_outcomes(self, link: Link) -> None:
        subject = f"{self.settings.subject_prefix}.outcome"
        while self._outcomes:
            with self._lock:
                identifier, payload = self._outcomes.popleft()
            if await link.publish(subject, payload, identifier):
                self._outcomes_sent += 1
            elif link.state == "connected":
                # Not the connection's fault: it is too large, say.
                self._outcomes_dropped += 1
            else:
                with self._lock:
                    self._outcomes.appendleft((identifier, payload))
                return

    async def _send_unchecked(self, link: Link, event: bytes) -> bool:
        """Whether the stream has the event, or never will."""
        try:
            identifier = str(json.loads(event)["id"])
        except (ValueError, KeyError, TypeError, RecursionError):
            self._refused += 1
            return True
        subject = f"{self.settings.subject_prefix}.unchecked"
        future = link.request(subject, event, ACK_TIMEOUT, {"Nats-Msg-Id": identifier})
        answer = await asyncio.wrap_future(future)
        if isinstance(answer, Unavailable):
            if answer.cause != Cause.UNSERIALIZABLE:
                return False
            self._refused += 1
            return True
        try:
            acknowledgement = json.loads(answer.data)
            error = acknowledgement.get("error")
            if error is None and acknowledgement.get("stream"):
                self._sent += 1
                return True
            if isinstance(error, dict) and error.get("err_code") in FIRM_REFUSALS:
                self._refused += 1
                logger.error("the stream refuses an unchecked call: %s", error.get("description"))
                return True
        except (ValueError, AttributeError, RecursionError):
            pass
        return False

    # All of it ---------------------------------------------------------------------------

    def stats(self) -> Stats:
        """The counters as they are now."""
        coverage, link = self.coverage, self.link
        return Stats(
            checked=coverage.checked,
            causes=dict(coverage.causes),
            spooled=self.spool.pending(),
            sent=self._sent,
            lost=self.spool.lost + self._refused,
            corrupt=self.spool.corrupt(),
            spool_problem=self.spool.problem,
            outcomes_sent=self._outcomes_sent,
            outcomes_dropped=self._outcomes_dropped,
            late_replies=link.late,
            connection=link.state,
            connection_problem=link.problem or link.refusal,
            breaker=self.breaker.state,
            breaker_opened=self.breaker.opened,
        )

    def flush(self, timeout: float) -> bool:
        """Waits until outcomes and unchecked calls are sent; False where that takes longer."""
        deadline = time.monotonic() + timeout
        while self._outcomes or self.spool.pending():
            if time.monotonic() > deadline or self.link.state != "connected":
                return False
            self._wake()
            time.sleep(0.005)
        if self.link.state != "connected":
            return True
        try:
            flushing = asyncio.run_coroutine_threadsafe(self.link.flush(1.0), self.link.loop)
            flushing.result(max(deadline - time.monotonic(), 0.1))
        except Exception:
            return False
        return True

    def close(self, timeout: float) -> None:
        """Sends what can be sent in time and ends. Files keep the unchecked calls."""
        deadline = time.monotonic() + timeout
        self.flush(timeout / 2)
        self.link.close(max(deadline - time.monotonic(), 0.1))
        self.spool.close()

    def forget(self) -> None:
        """In a child of fork: lets go of what belongs to the parent."""
        self.link.forget()
        self.spool.forget()


def service_error(error: object, code: Optional[str] = None, text: str = "") -> Unavailable:
    """A service error of a reply, or of one entry of a batch."""
    body: Mapping[str, Any] = error if isinstance(error, dict) else {}
    number = body.get("code", code)
    try:
        number = int(str(number))
    except ValueError:
        number = None
    message = str(body.get("message") or text or "the worker refused it")
    field = str(body.get("field") or "")
    reason = " ".join(f"{number or ''} {field + ': ' if field else ''}{message}".split())
    return Unavailable(Cause.SERVICE_ERROR, reason[:MAX_MESSAGE], number, body)


def now() -> str:
    """The client's clock, as RFC 3339."""
    return datetime.now(timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _folder(settings: Settings) -> str:
    """Where the unchecked calls for this server are kept, apart from those for others."""
    if not settings.spool_folder:
        return ""
    target = f"{settings.url}\n{settings.subject_prefix}\n{settings.user}\n{settings.agent}"
    return os.path.join(settings.spool_folder, hashlib.sha256(target.encode()).hexdigest()[:12])


def _done(result: Unavailable) -> Future[Answer]:
    future: Future[Answer] = Future()
    future.set_result(result)
    return future


def _event_bytes(event: Dict[str, Any], bound: int) -> bytes:
    """An event's bytes, its request shortened where it is too large, described where it is no JSON."""
    try:
        payload = dump(event)
    except Exception:
        event = {**event, "request": described(dict(event["request"]))[0]}
        payload = dump(event)
    if len(payload) <= bound:
        return payload
    request = event["request"]
    short: Dict[str, Any] = {"action": str(request.get("action", ""))[:256]}
    for key in ("resource", "context"):
        value = request.get(key)
        kept = _short_members(value) if isinstance(value, Mapping) else {}
        short[key] = {**kept, "shortened_from_bytes": len(payload)}
    return dump({**event, "request": short})


def _short_members(value: Mapping[str, Any]) -> Dict[str, Any]:
    """Members that fit into a shortened request: few, and short ones."""
    kept: List[Tuple[str, Any]] = []
    for key, one in value.items():
        short = one is None or (isinstance(one, (bool, float, int, str)) and len(str(one)) <= 200)
        if short and len(kept) < 32 and len(str(key)) <= 64:
            kept.append((str(key), one))
    return described(dict(kept))[0]


__all__ = ["Answer", "Call", "Core", "now", "one_line", "service_error"]
