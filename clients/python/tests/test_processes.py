"""Many tasks, threads and processes on one client; forks, and the interpreter's end."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable, List

from sluicegate import AsyncPolicyClient, PolicyClient, enforce_policy
from stack import Nats, Up, Worker, free_port, python, stored, until

Make = Callable[..., PolicyClient]


def decided(up: Up, action: str) -> List[str]:
    return [one["id"] for one in stored(up.url, f"policy.decision.*.{action}")]


def same(number: int) -> int:
    return number


def outcomes(up: Up, action: str) -> List[str]:
    return [one["id"] for one in stored(up.url, "policy.outcome") if one["action"] == action]


def test_ten_thousand_checks_at_once(up: Up, make: Make) -> None:
    client = AsyncPolicyClient(settings=make(up.url, timeout=60.0).settings)

    async def main() -> List[str]:
        checks = [client.check_permission("crowd", {"n": n}) for n in range(10_000)]
        return [one.decision_id for one in await asyncio.gather(*checks) if not one.error]

    told = asyncio.run(main())
    assert len(set(told)) == 10_000 and client.stats().coverage == 1.0
    assert until("all are in the audit", lambda: len(decided(up, "crowd")) == 10_000)
    assert set(decided(up, "crowd")) == set(told)


def test_more_than_can_wait_are_answered_at_once(up: Up, make: Make) -> None:
    client = AsyncPolicyClient(settings=make(up.url, timeout=60.0, max_waiting=100).settings)

    async def main() -> List[Any]:
        return await asyncio.gather(*[client.check_permission("wait", {"n": n}) for n in range(1_000)])

    answers = asyncio.run(main())
    assert len(answers) == 1_000 and all(one.allowed for one in answers)
    assert any("max_waiting" in one.reason for one in answers) and client.stats().breaker == "closed"
    assert client.stats().checked + client.stats().unchecked == 1_000 and client.stats().checked >= 100


def test_threads_share_one_connection(up: Up, make: Make) -> None:
    client = make(up.url)
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda n: make(up.url).check_permission("threads", {"n": n}), range(1_000)))
    assert len({one.decision_id for one in answers}) == 1_000 and not any(one.error for one in answers)
    assert client.stats().checked == 1_000 and len(_open_sockets(up.port)) == 1
    assert len([one for one in threading.enumerate() if one.name == "sluicegate"]) == 1


def _open_sockets(port: int) -> List[int]:
    """Sockets of this process to a port."""
    mine = []
    table = Path("/proc/net/tcp").read_text().splitlines()[1:]
    inodes = {line.split()[9] for line in table if line.split()[2].endswith(f":{port:04X}")}
    for one in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{one}")
        except OSError:
            continue
        if target.startswith("socket:[") and target[8:-1] in inodes:
            mine.append(int(one))
    return mine


def test_a_child_of_fork_has_a_connection_of_its_own(up: Up, make: Make) -> None:
    client = make(up.url)
    call = enforce_policy("forked", client=client)(same)
    assert call(0) == 0
    children = []
    for n in range(1, 4):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                good = call(n) == n and client.stats().checked == 1 and len(_open_sockets(up.port)) == 1
                code = 0 if good and not client.check_permission("forked", {}).error else 2
            finally:
                os._exit(code)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(one, 0)[1]) for one in children] == [0, 0, 0]
    assert call(9) == 9 and client.stats().checked == 2 and client.stats().unchecked == 0
    assert until("all are in the audit", lambda: len(decided(up, "forked")) == 8)


def _in_a_child(client: PolicyClient, number: int) -> bool:
    return enforce_policy("spread", client=client)(same)(number) == number


def test_multiprocessing_takes_clients_along(up: Up, make: Make) -> None:
    client = make(up.url)
    client.check_permission("spread", "parent")
    assert pickle.loads(pickle.dumps(client)).settings == client.settings
    for method in ("fork", "spawn"):
        context: Any = multiprocessing.get_context(method)
        processes = [context.Process(target=_in_a_child, args=(client, n)) for n in range(3)]
        for one in processes:
            one.start()
        for one in processes:
            one.join(60)
        assert [one.exitcode for one in processes] == [0, 0, 0], method
    until("all are in the audit", lambda: len(decided(up, "spread")) == 7)
    # Children of multiprocessing end without atexit, and send their outcomes all the same.
    until("six outcomes", lambda: len(outcomes(up, "spread")) == 6)


def test_the_interpreter_ends_at_once_and_sends_what_waits(up: Up) -> None:
    program = f"""
import sluicegate
client = sluicegate.PolicyClient({up.url!r}, spool_folder="")
for n in range(200):
    sluicegate.enforce_policy("last", client=client)(lambda n: n)(n)
"""
    process = python(program)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 0 and errors == ""
    until("all outcomes", lambda: len(outcomes(up, "last")) == 200)


def test_the_interpreter_ends_though_the_server_is_dead(nats_server: Nats, worker: Worker) -> None:
    program = f"""
import atexit, sluicegate, sys
client = sluicegate.PolicyClient("nats://127.0.0.1:{nats_server.port}", spool_folder="")
call = sluicegate.enforce_policy("last", client=client)(lambda n: n)
atexit.register(lambda: call(3))
call(1)
print("up", flush=True)
sys.stdin.readline()
call(2)
"""
    process = python(program)
    assert process.stdout is not None and process.stdout.readline() == "up\n"
    nats_server.pause()
    begin = time.monotonic()
    process.communicate("go\n", timeout=30)
    assert process.returncode == 0 and time.monotonic() - begin < 15
    nats_server.resume()


def test_nothing_starts_before_the_first_check() -> None:
    program = """
import threading, sluicegate
client = sluicegate.PolicyClient()
sluicegate.enforce_policy("x")(print)
assert threading.active_count() == 1
"""
    process = python(program, SLUICEGATE_NATS_URL=f"nats://127.0.0.1:{free_port()}")
    assert process.communicate(timeout=30)[1] == "" and process.returncode == 0
