"""The decorator: what kinds of functions it takes, and what it reports of their calls."""

from __future__ import annotations

import asyncio
import inspect
import logging
from functools import partial
from typing import Any, AsyncIterator, Callable, Dict, Iterator, List

import pytest

from sluicegate import (
    AsyncPolicyClient,
    Cause,
    PolicyClient,
    PolicyDeniedError,
    configure,
    current_context,
    enforce_policy,
    enforced,
    policy_context,
    report_cost,
)
from stack import Nats, Up, Worker, stored, until

Make = Callable[..., PolicyClient]
DENIED: Dict[str, Any] = {"estimated_cost_usd": 5, "budget": {"remaining_usd": 1}}
PACKAGE = "cmbagent.cost_control"


def events(url: str, subject: str, **members: Any) -> List[Dict[str, Any]]:
    return [one for one in stored(url, subject) if all(one.get(k) == v for k, v in members.items())]


def inputs(up: Up, action: str, count: int = 1) -> List[Dict[str, Any]]:
    subject = f"policy.decision.*.{action}"
    found = until(
        "the decisions are recorded", lambda: (f := stored(up.url, subject)) and len(f) >= count and f
    )
    return [one["input"] for one in found or []]


def test_functions_methods_and_their_resources(up: Up, make: Make) -> None:
    client = make(up.url)

    class Files:
        @enforce_policy("method_read", client=client)
        def read(self, path: str, *, size: int = 3) -> str:
            return path * size

        @classmethod
        @enforce_policy("class_read", client=client)
        def shared(cls, path: str) -> str:
            return path

        @staticmethod
        @enforce_policy("static_read", client=client)
        def plain(path: str, handle: object) -> str:
            return path

    assert (
        Files().read("a", size=2) == "aa" and Files.shared("b") == "b" and Files.plain("c", object()) == "c"
    )
    assert inputs(up, "method_read")[0]["resource"] == {"path": "a", "size": 2}
    assert inputs(up, "class_read")[0]["resource"] == {"path": "b"}
    described = inputs(up, "static_read")[0]["resource"]
    assert described["path"] == "c" and described["handle"].startswith("<object object")
    assert client.stats().unchecked == 0


def test_the_context_is_ambient_nests_and_may_be_the_calls_own(up: Up, make: Make) -> None:
    @enforce_policy("nest", lambda *_, **__: {"n": 1}, context={"task_priority": "low"}, client=make(up.url))
    def call(x: int) -> int:
        return x

    with policy_context(agent="outer", session_id="s-1"):
        with policy_context({"agent": "inner"}, run_id="r-1"):
            call(1)
        assert current_context() == {"agent": "outer", "session_id": "s-1"}
        call(2, context={"task_priority": "high"})  # type: ignore[call-arg]
    assert current_context() == {}
    first, second = (one["context"] for one in inputs(up, "nest", 2))
    assert first == {"agent": "inner", "session_id": "s-1", "run_id": "r-1", "task_priority": "low"}
    assert second == {"agent": "outer", "session_id": "s-1", "task_priority": "high"}


def test_a_generator_is_checked_at_its_first_step_and_stays_one(up: Up, make: Make) -> None:
    client = make(up.url)
    closed: List[str] = []

    def count() -> Iterator[Any]:
        try:
            got = yield 1
            try:
                yield got
            except KeyError:
                yield "caught"
        finally:
            closed.append("yes")

    allowed = enforce_policy("stream", client=client)(count)
    assert inspect.isgeneratorfunction(allowed)
    running: Any = allowed()
    assert (next(running), running.send("sent"), running.throw(KeyError("x"))) == (1, "sent", "caught")
    running.close()
    assert closed == ["yes"]
    denied = enforce_policy("stream", context=DENIED, package=PACKAGE, client=client)(count)()
    with pytest.raises(PolicyDeniedError):
        next(denied)
    client.flush()
    found = until("the outcome", lambda: events(up.url, "policy.outcome", action="stream"))
    assert [one["outcome"] for one in found] == ["cancelled"]


def test_async_functions_and_async_generators(up: Up, make: Make) -> None:
    client = AsyncPolicyClient(settings=make(up.url).settings)
    closed: List[str] = []

    @enforce_policy("async_call", client=client, cost=lambda value: 0.25)
    async def call(n: int) -> int:
        await asyncio.sleep(0)
        return n + 1

    @enforce_policy("async_stream", client=client)
    async def stream(n: int) -> AsyncIterator[int]:
        try:
            for i in range(n):
                report_cost(i / 10)
                yield i
        finally:
            closed.append("yes")

    @enforce_policy("async_call", context=DENIED, package=PACKAGE, client=client)
    async def never() -> None:
        raise AssertionError("it must not run")

    async def main() -> None:
        assert inspect.iscoroutinefunction(call) and inspect.isasyncgenfunction(stream)
        assert await call(1) == 2
        assert [one async for one in stream(3)] == [0, 1, 2]
        part: Any = stream(9)
        assert await part.__anext__() == 0
        await part.aclose()
        assert closed == ["yes", "yes"]
        with pytest.raises(PolicyDeniedError):
            await never()
        await client.flush()

    asyncio.run(main())
    found = until("three outcomes", lambda: (f := events(up.url, "policy.outcome")) and _of(f, "async_", 3))
    by_action = {(one["action"], one["outcome"]): one["cost_usd"] for one in found}
    assert by_action == {
        ("async_call", "ok"): 0.25,
        ("async_stream", "ok"): 0.2,
        ("async_stream", "cancelled"): 0.0,
    }


def _of(found: List[Dict[str, Any]], prefix: str, count: int) -> List[Dict[str, Any]]:
    chosen = [one for one in found if one["action"].startswith(prefix)]
    return chosen if len(chosen) == count else []


def test_an_outcome_says_how_the_call_ended(up: Up, make: Make) -> None:
    client = make(up.url)

    @enforce_policy("fails", client=client)
    def fails() -> None:
        report_cost(1.5)
        raise ValueError("no")

    with (
        policy_context(agent="planner", user="alice", session_id="s-9", step_id="st"),
        pytest.raises(ValueError),
    ):
        fails()
    client.flush()
    (found,) = until("the outcome", lambda: events(up.url, "policy.outcome", action="fails"))
    assert found["outcome"] == "error" and found["exception_type"] == "builtins.ValueError"
    assert found["cost_usd"] == 1.5 and 0 <= found["duration_seconds"] < 5 and found["_id"] == found["id"]
    assert (found["agent"], found["user"], found["session_id"], found["step_id"]) == (
        "planner",
        "alice",
        "s-9",
        "st",
    )
    assert found["run_id"] == "" and found["schema"] == 1
    decision = stored(up.url, "policy.decision.allow.fails")[0]
    assert found["decision_id"] == decision["id"]


def test_cancellation_ends_the_call_and_is_reported(up: Up, make: Make) -> None:
    client = make(up.url)
    started: List[asyncio.Event] = []

    @enforce_policy("slow", client=client)
    async def slow() -> None:
        started[0].set()
        await asyncio.sleep(60)

    async def main() -> None:
        started.append(asyncio.Event())
        task = asyncio.ensure_future(slow())
        await started[0].wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    client.flush()
    (found,) = until("the outcome", lambda: events(up.url, "policy.outcome", action="slow"))
    assert found["outcome"] == "cancelled" and found["exception_type"].endswith("CancelledError")


def test_a_check_that_is_cancelled_leaves_nothing_behind(nats_server: Nats, make: Make) -> None:
    nats_server.pause()
    client = AsyncPolicyClient(settings=make(nats_server.url, timeout=30.0).settings)

    async def main() -> None:
        task = asyncio.ensure_future(client.check_permission("a", "b"))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert client.stats().unchecked == 0 and client.stats().spooled == 0
    nats_server.resume()


def test_an_extractor_that_fails_is_a_call_without_a_check(
    nats_server: Nats, worker: Worker, make: Make
) -> None:
    def broken(*_: Any) -> Any:
        raise KeyError("model")

    open_client, closed_client = make(nats_server.url), make(nats_server.url, fail_mode="closed")
    assert enforce_policy("call", broken, client=open_client)(lambda x: x)(5) == 5
    assert open_client.stats().causes == {Cause.UNSERIALIZABLE: 1}
    with pytest.raises(PolicyDeniedError) as caught:
        enforce_policy("call", broken, client=closed_client)(lambda x: x)(5)
    assert "KeyError" in str(caught.value)


def test_tools_stay_what_they_are(up: Up, make: Make) -> None:
    client = make(up.url)

    def search(query: str, limit: int = 3) -> str:
        """Searches."""
        return query * limit

    class Tool:
        name = "fetch"
        description = "Fetches."

        def __call__(self, url: str) -> str:
            return url

    class AsyncTool:
        async def __call__(self, url: str) -> str:
            return url

    wrapped = enforced(search, client=client)
    assert (wrapped.__name__, wrapped.__doc__, wrapped("a")) == ("search", "Searches.", "aaa")
    assert inspect.signature(wrapped) == inspect.signature(search)
    tool = enforced(Tool(), client=client)
    assert (tool.name, tool.description, tool("u")) == ("fetch", "Fetches.", "u")
    assert asyncio.run(enforced(AsyncTool(), client=client)("v")) == "v"
    assert enforced(partial(search, limit=1), client=client)("b") == "b"
    found = inputs(up, "tool_call", 4)
    assert found[0]["resource"] == {"name": "search", "arguments": {"query": "a"}}
    assert found[1]["resource"] == {"name": "fetch", "arguments": {"url": "u"}}
    assert found[2]["resource"]["name"] == "AsyncTool" and found[3]["resource"]["arguments"] == {"query": "b"}


def test_warnings_are_logged(up: Up, make: Make, caplog: pytest.LogCaptureFixture) -> None:
    @enforce_policy("external_api_call", lambda u: {"url": u}, client=make(up.url))
    def call(url: str) -> str:
        return url

    with caplog.at_level(logging.WARNING, "sluicegate"):
        call("http://example.org/")
    assert any("external_api_call_not_https" in one.getMessage() for one in caplog.records), caplog.records


def test_without_a_client_the_environment_says_where(up: Up, monkeypatch: pytest.MonkeyPatch) -> None:
    @enforce_policy("by_environment")
    def call() -> int:
        return 1

    monkeypatch.setenv("SLUICEGATE_NATS_URL", up.url)
    configure(timeout=5.0)
    assert call() == 1 and len(inputs(up, "by_environment")) == 1
    monkeypatch.setenv("POLICY_ENFORCEMENT_ENABLED", "0")
    configure()
    assert call() == 1 and len(inputs(up, "by_environment")) == 1
