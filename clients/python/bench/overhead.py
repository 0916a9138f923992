"""What a check costs from Python, beside what nothing and what a bare request cost, in one run.

    python bench/overhead.py --url nats://127.0.0.1:4222
    python bench/overhead.py --json

The cases take turns in small rounds, so that what else the machine does touches all of them alike.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import statistics
import time
from typing import Any, Awaitable, Callable, Dict, List

import nats

from sluicegate import AsyncPolicyClient, PolicyClient, Settings, configure, enforce_policy

ACTION, RESOURCE = "llm_call", {"model": "gpt-4", "prompt_length": 1234}
CONTEXT = {"agent": "bench", "session_id": "s-1"}
DEAD = "nats://127.0.0.1:9"
LABELS = {
    "bare_function": "a bare function",
    "enforcement_off": "the decorator, enforcement off",
    "nats_request": "a bare nats-py request of the same check",
    "async_client": "AsyncPolicyClient.check_permission",
    "sync_client": "PolicyClient.check_permission",
    "decorator": "the decorator on a function, with its outcome",
    "async_decorator": "the decorator on an async function, with its outcome",
    "dead_server": "the decorator, no server",
}


def function(model: str, prompt_length: int) -> int:
    """What is guarded: nothing."""
    return prompt_length


async def async_function(model: str, prompt_length: int) -> int:
    """The same, async."""
    return prompt_length


def measure(url: str, calls: int, rounds: int) -> Dict[str, Dict[str, float]]:
    """Microseconds of each case."""
    configure(url=url, timeout=5.0)
    client = PolicyClient(url, timeout=5.0)
    dead = PolicyClient(DEAD, timeout=0.2, spool_folder="", spool_memory_bytes=1, log_period=3600.0)
    off = PolicyClient(settings=Settings.load(url=url, enabled=False))
    async_client = AsyncPolicyClient(url, timeout=5.0)
    guard: Any = {"resource_extractor": lambda *_: RESOURCE, "context": CONTEXT}
    guarded = enforce_policy(ACTION, client=client, **guard)(function)
    guarded_async = enforce_policy(ACTION, client=async_client, **guard)(async_function)
    guarded_dead = enforce_policy(ACTION, client=dead, **guard)(function)
    guarded_off = enforce_policy(ACTION, client=off, **guard)(function)
    body = json.dumps({"action": ACTION, "resource": RESOURCE, "context": CONTEXT}).encode()
    spans: Dict[str, List[float]] = {name: [] for name in LABELS}

    def time_all(name: str, call: Callable[[], Any]) -> None:
        for _ in range(calls):
            begin = time.perf_counter()
            call()
            spans[name].append(time.perf_counter() - begin)

    async def time_each(name: str, call: Callable[[], Awaitable[Any]]) -> None:
        for _ in range(calls):
            begin = time.perf_counter()
            await call()
            spans[name].append(time.perf_counter() - begin)

    async def asynchronous(connection: Any) -> None:
        await time_each("nats_request", lambda: connection.request("policy.check", body, timeout=5))
        await time_each("async_client", lambda: async_client.check_permission(ACTION, RESOURCE, CONTEXT))
        await time_each("async_decorator", lambda: guarded_async("gpt-4", 1234))

    if client.check_permission(ACTION, RESOURCE, CONTEXT).error:
        raise SystemExit(f"no worker answers on {url}: start one with `sluicegate up`")
    while dead.stats().connection != "down":
        dead.check_permission(ACTION, RESOURCE)
    loop = asyncio.new_event_loop()
    connection = loop.run_until_complete(nats.connect(url))
    for turn in range(rounds + 1):
        loop.run_until_complete(asynchronous(connection))
        time_all("bare_function", lambda: function("gpt-4", 1234))
        time_all("enforcement_off", lambda: guarded_off("gpt-4", 1234))
        time_all("sync_client", lambda: client.check_permission(ACTION, RESOURCE, CONTEXT))
        time_all("decorator", lambda: guarded("gpt-4", 1234))
        time_all("dead_server", lambda: guarded_dead("gpt-4", 1234))
        if turn == 0:
            # The first one warms up.
            spans = {name: [] for name in LABELS}
    loop.run_until_complete(connection.close())
    loop.close()
    assert client.stats().unchecked == 0, client.stats()
    return {name: figures(values) for name, values in spans.items()}


def figures(values: List[float]) -> Dict[str, float]:
    """p50, p90, p99 and the mean, in microseconds."""
    cuts = statistics.quantiles(values, n=100)
    return {
        "p50_us": round(statistics.median(values) * 1e6, 2),
        "p90_us": round(cuts[89] * 1e6, 2),
        "p99_us": round(cuts[98] * 1e6, 2),
        "mean_us": round(statistics.fmean(values) * 1e6, 2),
        "calls": len(values),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument(
        "--url", default=Settings.load().url, help="NATS server with a worker [default: %(default)s]"
    )
    parser.add_argument("--calls", type=int, default=100, help="calls of each case in a round")
    parser.add_argument("--rounds", type=int, default=20, help="rounds, after one that warms up")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    cases = measure(options.url, options.calls, options.rounds)
    p50 = {name: one["p50_us"] for name, one in cases.items()}
    differences = {
        "decorator_over_bare_function_us": round(p50["decorator"] - p50["bare_function"], 2),
        "decorator_over_nats_request_us": round(p50["decorator"] - p50["nats_request"], 2),
        "async_client_over_nats_request_us": round(p50["async_client"] - p50["nats_request"], 2),
        "sync_over_async_client_us": round(p50["sync_client"] - p50["async_client"], 2),
    }
    if options.json:
        machine = {"python": platform.python_version(), "system": platform.platform()}
        print(json.dumps({"cases": cases, "differences_of_p50": differences, **machine}, indent=2))
        return
    print(f"{'microseconds':56} {'p50':>9} {'p90':>9} {'p99':>9}")
    for name, one in cases.items():
        print(f"{LABELS[name]:56} {one['p50_us']:9.1f} {one['p90_us']:9.1f} {one['p99_us']:9.1f}")
    print()
    for name, value in differences.items():
        print(f"{name.replace('_us', '').replace('_', ' '):56} {value:+9.1f}")


if __name__ == "__main__":
    main()
