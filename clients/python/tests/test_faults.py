"""What goes wrong around a check: nobody there, nobody answering, nonsense, no permission."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Awaitable, Callable, Dict, Iterator, Optional

import nats
import pytest
from nats.aio.msg import Msg

from sluicegate import Cause, PolicyClient, PolicyServiceError
from stack import DEADLINE, Nats, Worker, free_port, until

Make = Callable[..., PolicyClient]


class Responder:
    """A program on the subject of checks that answers as the test wants."""

    def __init__(self, url: str, answer: Callable[[Msg], Awaitable[None]]) -> None:
        self._stop: Optional[asyncio.Event] = None
        self._loop = asyncio.new_event_loop()
        ready = threading.Event()

        async def live() -> None:
            self._stop = asyncio.Event()
            client = await nats.connect(url)
            await client.subscribe("policy.check", cb=answer)
            await client.flush()
            ready.set()
            await self._stop.wait()
            await client.close()

        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(live()))
        self._thread.start()
        assert ready.wait(DEADLINE)

    def end(self) -> None:
        assert self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()


@pytest.fixture
def respond(nats_server: Nats) -> Iterator[Callable[..., Responder]]:
    running = []

    def start(answer: Callable[[Msg], Awaitable[None]]) -> Responder:
        running.append(Responder(nats_server.url, answer))
        return running[-1]

    yield start
    for one in running:
        one.end()


def test_no_server_allows_with_a_reason_and_soon_without_waiting(make: Make) -> None:
    client = make(f"nats://127.0.0.1:{free_port()}", timeout=1.0)
    first = client.check_permission("llm_call", {"model": "m"})
    assert first.allowed and first.error and first.cause == Cause.DISCONNECTED and first.decision_id
    assert "not checked" in first.reason and first["decision"] == "allow"
    until("it is known to be down", lambda: client.stats().connection == "down")
    begin = time.perf_counter()
    for _ in range(300):
        client.check_permission("llm_call", {"model": "m"})
    # If each had waited for its timeout these would be 300 s. What they cost: bench/overhead.py.
    assert time.perf_counter() - begin < 60
    assert client.stats().causes == {Cause.DISCONNECTED: 301} and client.stats().coverage == 0.0


def test_fail_closed_denies(make: Make) -> None:
    client = make(f"nats://127.0.0.1:{free_port()}", timeout=0.3, fail_mode="closed")
    answer = client.check_permission("llm_call", {"model": "m"})
    assert not answer.allowed and answer["decision"] == "deny" and answer.error
    assert answer.deny_reasons[0].startswith("not_checked: ")


def test_one_line_of_log_for_a_thousand_calls(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    client = make(f"nats://127.0.0.1:{free_port()}", timeout=0.3)
    with caplog.at_level(logging.DEBUG, "sluicegate"):
        for _ in range(1000):
            client.check_permission("llm_call", {"model": "m"})
    assert len(caplog.records) == 1 and "not checked" in caplog.records[0].getMessage()


def test_no_worker(nats_server: Nats, make: Make) -> None:
    client = make(nats_server.url)
    begin = time.monotonic()
    answer = client.check_permission("llm_call", {"model": "m"})
    assert answer.allowed and answer.cause == Cause.NO_RESPONDERS and time.monotonic() - begin < 4
    with pytest.raises(PolicyServiceError) as caught:
        client.get_active_policies()
    assert caught.value.cause == Cause.NO_RESPONDERS
    running = Worker(nats_server)
    assert not client.check_permission("llm_call", {"model": "m"}).error
    running.end()


def test_a_server_that_stops_and_comes_back(nats_server: Nats, make: Make) -> None:
    running = Worker(nats_server)
    client = make(nats_server.url, timeout=1.0)
    assert not client.check_permission("a", "b").error
    nats_server.stop()
    assert client.check_permission("a", "b").cause == Cause.DISCONNECTED
    nats_server.start()
    until("checks are answered again", lambda: not client.check_permission("a", "b").error)
    assert client.stats().connection == "connected"
    running.end()


def test_a_paused_server_opens_the_breaker_and_a_probe_closes_it(
    nats_server: Nats, worker: Worker, make: Make
) -> None:
    client = make(nats_server.url, timeout=0.2, probe_interval=3.0, ping_interval=600.0)
    assert not client.check_permission("a", "b").error
    nats_server.pause()
    causes = [client.check_permission("a", "b").cause for _ in range(3)]
    assert causes == [Cause.TIMEOUT] * 3 and client.stats().breaker == "open"
    refused = [client.check_permission("a", "b") for _ in range(50)]
    assert {one.cause for one in refused} == {Cause.CIRCUIT_OPEN}
    assert "no answer within 0.2 s" in refused[0].reason
    until("a probe goes", lambda: client.check_permission("a", "b").cause == Cause.TIMEOUT)
    nats_server.resume()
    until("a probe closes it", lambda: not client.check_permission("a", "b").error)
    assert client.stats().breaker == "closed" and client.stats().breaker_opened == 1


def test_a_silent_server_is_noticed_by_pings(nats_server: Nats, worker: Worker, make: Make) -> None:
    client = make(nats_server.url, timeout=0.2, ping_interval=0.2, connect_timeout=0.3)
    assert not client.check_permission("a", "b").error
    nats_server.pause()
    until("the connection is given up", lambda: client.stats().connection != "connected")
    nats_server.resume()
    until("checks are answered again", lambda: not client.check_permission("a", "b").error)


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"nonsense",
        b"[]",
        b"{}",
        b'{"allowed": "yes"}',
        b"\xff\xfe",
        b"[" * 200_000,
        b'{"allowed": null}',
    ],
    ids=["empty", "text", "array", "object", "string", "bytes", "deep", "null"],
)
def test_an_answer_that_is_none(
    nats_server: Nats, respond: Callable[..., Responder], make: Make, reply: bytes
) -> None:
    async def answer(message: Msg) -> None:
        await message.respond(reply)

    respond(answer)
    result = make(nats_server.url).check_permission("a", "b")
    assert result.allowed and result.error and result.cause == Cause.INVALID_REPLY, result


def test_a_newer_server_and_strange_members(
    nats_server: Nats, respond: Callable[..., Responder], make: Make
) -> None:
    async def answer(message: Msg) -> None:
        body: Dict[str, Any] = {"allowed": False, "obligations": [{"log": True}], "deny_reasons": ["x", 7]}
        body.update(warnings="none", duration_us="fast", policies=[1, {"name": "p", "decision": "deny"}])
        await message.respond(json.dumps(body).encode())

    respond(answer)
    result = make(nats_server.url).check_permission("a", "b")
    assert not result.allowed and result["obligations"] == [{"log": True}] and result.deny_reasons == ["x"]
    assert result.warnings == [] and result.duration_ms == 0.0 and result.policy == "p"


def test_an_answer_that_comes_late(nats_server: Nats, respond: Callable[..., Responder], make: Make) -> None:
    release = threading.Event()

    async def answer(message: Msg) -> None:
        await asyncio.get_running_loop().run_in_executor(None, release.wait)
        await message.respond(b'{"allowed": false}')

    respond(answer)
    client = make(nats_server.url, timeout=0.2)
    result = client.check_permission("a", "b")
    assert result.allowed and result.cause == Cause.TIMEOUT
    release.set()
    until("the late answer is counted", lambda: client.stats().late_replies == 1)
    until("the next one is in time", lambda: not client.check_permission("a", "b").error)


def test_an_overloaded_worker(nats_server: Nats, respond: Callable[..., Responder], make: Make) -> None:
    async def answer(message: Msg) -> None:
        headers = {"Nats-Service-Error-Code": "503", "Nats-Service-Error": "unavailable"}
        body = b'{"error": {"code": 503, "message": "overloaded"}}'
        await message._client.publish(message.reply, body, headers=headers)

    respond(answer)
    result = make(nats_server.url).check_permission("a", "b")
    assert result.allowed and result.cause == Cause.SERVICE_ERROR and result.error_code == 503


def test_wrong_credentials(tmp_path: Path, make: Make) -> None:
    server = Nats(tmp_path / "auth", 'authorization { user: "agent", password: "right" }')
    try:
        client = make(server.url, user="agent", password="wrong", timeout=1.0)
        result = client.check_permission("a", "b")
        assert result.allowed and result.cause == Cause.DISCONNECTED
        until("it says why", lambda: "authorization" in client.stats().connection_problem.lower())
        assert "wrong" not in client.stats().connection_problem
        assert (
            make(server.url, user="agent", password="right").check_permission("a", "b").cause
            == Cause.NO_RESPONDERS
        )
    finally:
        server.stop()


def test_a_subject_without_permission(tmp_path: Path, make: Make) -> None:
    users = (
        '{user: "a", password: "p", permissions: {publish: ["policy.check.mine"], subscribe: ["_INBOX.>"]}}'
    )
    server = Nats(tmp_path / "auth", f"authorization {{ users: [{users}] }}")
    try:
        client = make(server.url, user="a", password="p")
        begin = time.monotonic()
        result = client.check_permission("a", "b")
        assert result.allowed and result.cause == Cause.SERVICE_ERROR and "ermissions" in result.reason
        assert time.monotonic() - begin < 4
    finally:
        server.stop()


def test_resources_that_are_no_json_or_too_large(nats_server: Nats, worker: Worker, make: Make) -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    loop: Dict[str, Any] = {}
    loop["self"] = loop
    client = make(nats_server.url)
    for bad in (
        object(),
        {"x": Broken()},
        loop,
        {"x": float("nan")},
        {"x": "\ud800"},
        {"x": 10**5000},
        {"x": b"\xff"},
    ):
        result = client.check_permission("a", bad)
        assert result.allowed and result.error and result.cause == Cause.UNSERIALIZABLE, (bad, result)
    large = client.check_permission("a", {"text": "x" * 300_000, "name": "kept"})
    assert large.cause == Cause.UNSERIALIZABLE and "300" in large.reason
    assert not client.check_permission("a", {"path": Path("/x"), "tags": {"a"}, "id": uuid.uuid4()}).error
    assert client.check_permission(3, "x").error_code == 400  # type: ignore[arg-type]


def test_many_threads_while_the_server_comes_and_goes(nats_server: Nats, make: Make) -> None:
    running = Worker(nats_server)
    client = make(nats_server.url, timeout=1.0, probe_interval=0.1)
    done = threading.Event()

    def ask() -> int:
        count = 0
        while not done.is_set():
            assert client.check_permission("a", "b").allowed
            count += 1
        return count

    with ThreadPoolExecutor(8) as pool:
        asking = [pool.submit(ask) for _ in range(8)]
        for _ in range(3):
            seen = client.stats().checked
            until("checks go on", lambda seen=seen: client.stats().checked > seen + 50)  # type: ignore[misc]
            nats_server.stop(9)
            seen = client.stats().unchecked
            until("checks fail", lambda seen=seen: client.stats().unchecked > seen + 50)  # type: ignore[misc]
            nats_server.start()
        done.set()
        total = sum(one.result(DEADLINE) for one in asking)
    stats = client.stats()
    assert stats.checked + stats.unchecked == total and stats.lost == 0
    assert 0 < stats.coverage < 1
    running.end()
