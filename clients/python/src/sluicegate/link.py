"""The connection to NATS: a thread with an event loop of its own, and one mailbox for all answers.

nats-py's own reconnection is off. It keeps what was published while the server is away and sends it
later, when nobody waits for the answer any more. So each connection here is a new client.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import threading
import time
from collections import deque
from concurrent.futures import Future
from typing import Any, Awaitable, Callable, Deque, Dict, Optional, Union

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg

from .coverage import logger
from .errors import Unavailable
from .results import Cause
from .settings import Settings

#: Attempts to connect in a row that must fail before calls no longer wait for the next one.
ATTEMPTS_UNTIL_DOWN = 3
#: Seconds before the second attempt; doubled up to the setting ``probe_interval``.
FIRST_PAUSE = 0.05
#: Seconds after which a connection that is lost was a good one.
STABLE = 5.0
#: Seconds between connections that are lost at once.
MAX_PAUSE = 1.0
#: Seconds that closing a connection may take.
CLOSE_TIMEOUT = 1.0


class Call:
    """One request on its way. It ends once: with a message, or with :class:`Unavailable`."""

    __slots__ = ("deadline", "future", "headers", "payload", "sent", "subject", "timeout", "timer", "token")

    def __init__(
        self, subject: str, payload: bytes, timeout: float, headers: Optional[Dict[str, str]] = None
    ) -> None:
        self.subject = subject
        self.payload = payload
        self.headers = headers
        self.timeout = timeout
        self.deadline = time.monotonic() + timeout
        self.future: Future[Union[Msg, Unavailable]] = Future()
        self.sent = False
        self.token = ""
        self.timer: Optional[asyncio.TimerHandle] = None

    def settle(self, result: Union[Msg, Unavailable]) -> bool:
        """Ends the call; False where it had ended, or the caller has gone."""
        if self.timer is not None:
            self.timer.cancel()
        if self.future.done() or not self.future.set_running_or_notify_cancel():
            return False
        self.future.set_result(result)
        return True


class Link:
    """One connection, kept up by a thread. Safe across threads; a child of fork makes its own."""

    def __init__(self, settings: Settings, on_connected: Callable[[Link], Awaitable[None]]) -> None:
        self._settings = settings
        self._on_connected = on_connected
        self._lock = threading.Lock()
        self._inbox: Deque[Call] = deque()
        self._posted = False
        self._waiting: Deque[Call] = deque()
        self._pending: Dict[str, Call] = {}
        self._count = 0
        self._client: Optional[Client] = None
        self._mailbox = ""
        self._wake: Optional[asyncio.Event] = None
        self._stop: Optional[asyncio.Event] = None
        self._lost: Optional[asyncio.Event] = None
        self.state = "connecting"
        self.problem = ""
        #: What the server did not permit on this connection.
        self.refusal = ""
        self.late = 0
        self._last_failure: Optional[Exception] = None
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._run, name="sluicegate", daemon=True)
        self.thread.start()

    # What other threads call -------------------------------------------------------------

    def submit(self, call: Call) -> None:
        """Takes a request. Its future ends at its timeout at the latest, whatever happens."""
        with self._lock:
            if self.state == "closed":
                call.settle(Unavailable(Cause.DISCONNECTED, "the client is closed"))
                return
            if len(self._inbox) + len(self._waiting) + len(self._pending) >= self._settings.max_waiting:
                reason = f"{self._settings.max_waiting} checks wait already (setting max_waiting)"
                call.settle(Unavailable(Cause.TIMEOUT, reason))
                return
            self._inbox.append(call)
            if self._posted:
                return
            self._posted = True
        try:
            self.loop.call_soon_threadsafe(self._collect)
        except RuntimeError:
            call.settle(Unavailable(Cause.DISCONNECTED, "the client is closed"))

    def request(
        self, subject: str, payload: bytes, timeout: float, headers: Optional[Dict[str, str]] = None
    ) -> Future[Union[Msg, Unavailable]]:
        """A request on the way: its future."""
        call = Call(subject, payload, timeout, headers)
        self.submit(call)
        return call.future

    async def publish(self, subject: str, payload: bytes, message_id: str) -> bool:
        """On the link's own loop: publishes without waiting. False where there is no connection."""
        client = self._client
        if client is None:
            return False
        try:
            await client.publish(subject, payload, headers={"Nats-Msg-Id": message_id})
        except Exception:
            return False
        return True

    async def flush(self, timeout: float) -> None:
        """On the link's own loop: waits until the server has what was published."""
        if self._client is not None:
            await self._client.flush(timeout=max(1, round(timeout)))

    @property
    def max_payload(self) -> int:
        """Bytes that the server takes in one message."""
        client = self._client
        return client.max_payload if client is not None else 1024 * 1024

    def close(self, timeout: float) -> None:
        """Ends the thread. Calls that wait end at once, without an answer."""
        with self._lock:
            self.state = "closed"
        try:
            self.loop.call_soon_threadsafe(lambda: self._stop.set() if self._stop else None)
        except RuntimeError:
            pass
        if threading.current_thread() is not self.thread:
            self.thread.join(timeout)

    def forget(self) -> None:
        """In a child of fork: lets go of the parent's socket, and of nothing else of the parent."""
        self.state = "closed"
        try:
            transport: Any = getattr(self._client, "_transport", None)
            writer = getattr(transport, "_bare_io_writer", None)
            connection = writer.get_extra_info("socket") if writer is not None else None
            if connection is not None and connection.fileno() >= 0:
                # Not closed, but replaced: whoever still holds the number can do no harm with it.
                null = os.open(os.devnull, os.O_RDWR)
                os.dup2(null, connection.fileno(), inheritable=False)
                os.close(null)
        except Exception:
            pass

    # The thread --------------------------------------------------------------------------

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_until_complete(self._live())
        finally:
            with self._lock:
                self.state = "closed"
            self._abandon("the client is closed", everything=True)
            try:
                tasks = asyncio.all_tasks(self.loop)
                for task in tasks:
                    task.cancel()
                if tasks:
                    self.loop.run_until_complete(asyncio.wait(tasks, timeout=CLOSE_TIMEOUT))
            finally:
                self.loop.close()

    async def _live(self) -> None:
        self._wake, self._stop, self._lost = asyncio.Event(), asyncio.Event(), asyncio.Event()
        if self.state == "closed":
            return
        failures, pause = 0, FIRST_PAUSE
        while not self._stop.is_set():
            try:
                client = await self._connect()
            except Exception as error:
                failures += 1
                self.problem = one_line(error)
                if failures >= ATTEMPTS_UNTIL_DOWN:
                    self._set_state("down")
                    self._abandon(self.problem, everything=False)
                await _until(self._stop, pause)
                pause = min(pause * 2, max(self._settings.probe_interval, FIRST_PAUSE))
                continue
            failures, began = 0, time.monotonic()
            await self._serve(client)
            # A server that takes a connection and drops it again is not asked without end.
            pause = FIRST_PAUSE if time.monotonic() - began > STABLE else min(pause * 2, MAX_PAUSE)
            await _until(self._stop, pause)

    async def _connect(self) -> Client:
        settings = self._settings
        client = Client()
        self._lost = lost = asyncio.Event()
        self._last_failure = None

        async def closed() -> None:
            lost.set()

        options: Dict[str, Any] = {
            "servers": [one.strip() for one in settings.url.split(",") if one.strip()],
            "name": f"sluicegate-python {os.getpid()}",
            "allow_reconnect": False,
            "max_reconnect_attempts": 1,
            "reconnect_time_wait": 0.01,
            "connect_timeout": settings.connect_timeout,
            "ping_interval": settings.ping_interval,
            "max_outstanding_pings": 2,
            "flush_timeout": 1.0,
            "error_cb": self._on_error,
            "closed_cb": closed,
            "disconnected_cb": closed,
        }
        for key, value in (
            ("user", settings.user),
            ("password", settings.password),
            ("token", settings.token),
        ):
            if value:
                options[key] = value
        if settings.credentials_file:
            options["user_credentials"] = settings.credentials_file
        if settings.require_tls or settings.root_certificates:
            options["tls"] = ssl.create_default_context(cafile=settings.root_certificates or None)
        try:
            # Twice: each server of the list may be tried twice.
            await asyncio.wait_for(client.connect(**options), settings.connect_timeout * 2)
            mailbox = client.new_inbox()
            await client.subscribe(f"{mailbox}.*", cb=self._on_reply)
        except BaseException as error:
            await _close(client)
            # "No servers" says nothing; the last attempt's own failure does.
            if self._last_failure is not None and isinstance(error, nats.errors.NoServersError):
                raise self._last_failure from error
            raise
        self._mailbox = mailbox
        return client

    async def _serve(self, client: Client) -> None:
        """Until the connection is lost, or the end."""
        assert self._stop is not None and self._lost is not None
        self._client = client
        self.problem = self.refusal = ""
        self._set_state("connected")
        tasks = [
            asyncio.ensure_future(one)
            for one in (
                self._send(client),
                self._lost.wait(),
                self._stop.wait(),
                _ended(client),
                self._on_connected(self),
            )
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            last = client.last_error
            self.problem = one_line(last) if last is not None else "the server closed the connection"
        finally:
            self._client = None
            self._set_state("connecting")
            for task in tasks:
                task.cancel()
            done, _ = await asyncio.wait(tasks, timeout=CLOSE_TIMEOUT)
            for task in done:
                failure = None if task.cancelled() else task.exception()
                if failure is not None:
                    logger.error("the client's own task failed", exc_info=failure)
            for call in list(self._pending.values()):
                call.settle(Unavailable(Cause.DISCONNECTED, f"the connection was lost: {self.problem}"))
            self._pending.clear()
            await _close(client)

    def _set_state(self, state: str) -> None:
        with self._lock:
            if self.state != "closed":
                self.state = state

    def _collect(self) -> None:
        """Takes over what other threads handed in."""
        with self._lock:
            self._posted = False
            arrived, self._inbox = self._inbox, deque()
        now = time.monotonic()
        for call in arrived:
            if self.state == "down":
                call.settle(Unavailable(Cause.DISCONNECTED, self.problem))
                continue
            call.timer = self.loop.call_later(max(call.deadline - now, 0.0), self._expire, call)
            self._waiting.append(call)
        if self._wake is not None:
            self._wake.set()

    async def _send(self, client: Client) -> None:
        assert self._wake is not None
        while self._client is client:
            while self._waiting and len(self._pending) < self._settings.max_in_flight:
                call = self._waiting.popleft()
                if call.future.done():
                    if call.timer is not None:
                        call.timer.cancel()
                    continue
                self._count += 1
                call.token = str(self._count)
                call.sent = True
                self._pending[call.token] = call
                try:
                    reply = f"{self._mailbox}.{call.token}"
                    await client.publish(call.subject, call.payload, reply=reply, headers=call.headers)
                except (nats.errors.ConnectionClosedError, OSError) as error:
                    self._end(call, Unavailable(Cause.DISCONNECTED, one_line(error)))
                    return
                except nats.errors.MaxPayloadError:
                    reason = (
                        f"{len(call.payload)} bytes, at most {client.max_payload} are taken by the server"
                    )
                    self._end(call, Unavailable(Cause.UNSERIALIZABLE, reason))
                except Exception as error:
                    self._end(call, Unavailable(Cause.SERVICE_ERROR, one_line(error)))
                if self._client is not client:
                    return
            self._wake.clear()
            await self._wake.wait()

    def _end(self, call: Call, result: Union[Msg, Unavailable]) -> None:
        self._pending.pop(call.token, None)
        call.settle(result)

    async def _on_reply(self, message: Msg) -> None:
        call = self._pending.pop(message.subject.rpartition(".")[2], None)
        if call is None or not call.settle(message):
            self.late += 1
        if self._waiting and self._wake is not None:
            self._wake.set()

    async def _on_error(self, error: Exception) -> None:
        text = str(error).lower().replace("'", '"')
        if "permissions violation" not in text:
            if self._client is None and not isinstance(error, nats.errors.NoServersError):
                self._last_failure = error
            return
        self.refusal = one_line(error)
        for call in list(self._pending.values()):
            if f'"{call.subject.lower()}"' in text:
                self._end(call, Unavailable(Cause.SERVICE_ERROR, one_line(error)))
        if self._wake is not None:
            self._wake.set()

    def _expire(self, call: Call) -> None:
        if call.sent:
            self._pending.pop(call.token, None)
            reason = f"no answer within {call.timeout:g} s" + (f" ({self.refusal})" if self.refusal else "")
            call.settle(Unavailable(Cause.TIMEOUT, reason, slow=True))
        elif self._client is not None:
            call.settle(Unavailable(Cause.TIMEOUT, f"it was not its turn within {call.timeout:g} s"))
        else:
            why = self.problem or "no answer from the server yet"
            reason = f"no connection within {call.timeout:g} s: {why}"
            call.settle(Unavailable(Cause.DISCONNECTED, reason, slow=True))
        if self._wake is not None:
            self._wake.set()

    def _abandon(self, why: str, everything: bool) -> None:
        """Ends the calls that wait for a connection."""
        calls = list(self._waiting)
        self._waiting.clear()
        if everything:
            with self._lock:
                calls += list(self._inbox)
                self._inbox.clear()
            calls += list(self._pending.values())
            self._pending.clear()
        for call in calls:
            call.settle(Unavailable(Cause.DISCONNECTED, why))


async def _ended(client: Client) -> None:
    """Waits for the end of the client's reader, which can end without closing the connection."""
    reader: Any = getattr(client, "_reading_task", None)
    if reader is None:
        await asyncio.Event().wait()
    await asyncio.wait([reader])


async def _close(client: Client) -> None:
    try:
        await asyncio.wait_for(client.close(), CLOSE_TIMEOUT)
    except Exception:
        pass


async def _until(event: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except asyncio.TimeoutError:
        pass


def one_line(error: BaseException) -> str:
    """An error for people: one line, with its type where it says nothing itself."""
    text = " ".join(str(error).split())
    return text[:400] if text else type(error).__name__
