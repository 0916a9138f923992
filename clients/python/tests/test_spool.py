"""Unchecked calls: kept through crashes, bounded, and sent when the server is back."""

from __future__ import annotations

import json
import os
import signal
import uuid
from pathlib import Path
from typing import Any, Callable, Dict, List

from sluicegate import PolicyClient, policy_context
from sluicegate.spool import Spool
from stack import Nats, free_port, python, until

Make = Callable[..., PolicyClient]
SUBJECT = "policy.unchecked"


def files(folder: Path) -> List[Path]:
    return sorted(folder.glob("**/unchecked-*.jsonl"))


def test_what_was_not_checked_is_sent_when_there_is_a_stream(
    nats_server: Nats, make: Make, tmp_path: Path
) -> None:
    nats_server.stop()
    client = make(nats_server.url, timeout=0.3)
    with policy_context(agent="planner"):
        told = [client.check_permission("act", {"n": n}, package="lab.x") for n in range(5)]
    assert client.stats().spooled == 5 and len(files(tmp_path / "spool")) == 1
    assert os.stat(files(tmp_path / "spool")[0]).st_mode & 0o077 == 0
    nats_server.start()
    nats_server.stream("UNCHECKED", SUBJECT)
    assert until("all is sent", lambda: client.stats().sent == 5) and client.stats().spooled == 0
    events = nats_server.events(SUBJECT)
    assert (
        [one["id"] for one in events] == [one.decision_id for one in told] == [one["_id"] for one in events]
    )
    first = events[0]
    assert uuid.UUID(first["id"]).version == 7 and first["schema"] == 1 and first["allowed"] is True
    assert (
        first["cause"] == "disconnected" and first["message"] and first["client"] == "sluicegate-python/0.1.0"
    )
    request = {"action": "act", "resource": {"n": 0}, "context": {"agent": "planner"}, "package": "lab.x"}
    assert first["request"] == request and first["timestamp"].endswith("Z")
    assert files(tmp_path / "spool")[0].stat().st_size == 0


def test_they_wait_for_a_stream_that_is_not_there_yet(nats_server: Nats, make: Make) -> None:
    client = make(nats_server.url, fail_mode="closed")
    assert client.check_permission("act", "x").cause == "no_responders"
    # Tried, and not taken by anybody.
    assert not client.flush(1.2) and client.stats().spooled == 1
    nats_server.stream("UNCHECKED", SUBJECT)
    until("it is sent", lambda: client.stats().sent == 1)
    assert nats_server.events(SUBJECT)[0]["allowed"] is False


def test_a_process_that_is_killed_leaves_its_calls_to_the_next(
    nats_server: Nats, make: Make, tmp_path: Path
) -> None:
    program = f"""
import sys, sluicegate
client = sluicegate.PolicyClient({nats_server.url!r}, timeout=0.2)
for n in range(20):
    print(client.check_permission("act", {{"n": n}}).decision_id, flush=True)
print("done", flush=True)
sys.stdin.read()
"""
    nats_server.stop()
    process = python(program, POLICY_CLIENT_SPOOL_FOLDER=str(tmp_path / "spool"))
    assert process.stdout is not None
    told = [process.stdout.readline().strip() for _ in range(20)]
    assert process.stdout.readline() == "done\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    left = files(tmp_path / "spool")
    assert len(left) == 1
    # A crash of the machine may also leave half a record, and a disk may turn a bit.
    lines = left[0].read_bytes().split(b"\n")
    lines[3] = lines[3].replace(b'"act"', b'"ant"')
    left[0].write_bytes(b"\n".join(lines) + b'deadbeef {"id": "cu')
    nats_server.start()
    nats_server.stream("UNCHECKED", SUBJECT)
    client = make(nats_server.url)
    client.check_permission("wake", "up")
    until("the rest is sent", lambda: client.stats().sent >= 19 and client.stats().spooled == 0)
    until("the file is gone", lambda: left[0] not in files(tmp_path / "spool"))
    sent = {one["id"] for one in nats_server.events(SUBJECT)}
    assert set(told) - sent == {told[3]} and client.stats().corrupt == 2 and client.stats().lost == 0


def test_a_living_process_keeps_its_file(nats_server: Nats, make: Make, tmp_path: Path) -> None:
    program = f"""
import sys, sluicegate
client = sluicegate.PolicyClient({nats_server.url!r}, timeout=0.2)
client.check_permission("act", "x")
print("done", flush=True)
sys.stdin.read()
"""
    nats_server.stop()
    process = python(program, POLICY_CLIENT_SPOOL_FOLDER=str(tmp_path / "spool"))
    assert process.stdout is not None and process.stdout.readline() == "done\n"
    spool = Spool(str(files(tmp_path / "spool")[0].parent), 1 << 20, 1 << 20)
    spool.adopt()
    assert spool.pending() == 0
    process.communicate("")
    assert process.returncode == 0
    spool.adopt()
    assert spool.pending() == 1
    spool.close()


def test_room_is_bounded_and_what_is_lost_is_counted(make: Make, tmp_path: Path) -> None:
    url = f"nats://127.0.0.1:{free_port()}"
    client = make(url, timeout=0.2, spool_max_bytes=4_000, spool_memory_bytes=2_000)
    for n in range(60):
        assert client.check_permission("act", {"n": n}).allowed
    stats = client.stats()
    assert 0 < stats.spooled < 30 and stats.lost == 60 - stats.spooled and "bound" in stats.spool_problem
    assert sum(one.stat().st_size for one in files(tmp_path / "spool")) <= 4_000


def test_without_a_writable_folder_they_wait_in_memory(nats_server: Nats, make: Make, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    nats_server.stop()
    for folder in (str(blocked / "spool"), ""):
        client = make(nats_server.url, timeout=0.2, spool_folder=folder)
        client.check_permission("act", {"folder": folder})
        assert client.stats().spooled == 1 and bool(client.stats().spool_problem) is bool(folder)
    nats_server.start()
    nats_server.stream("UNCHECKED", SUBJECT)
    until("both are sent", lambda: len(nats_server.events(SUBJECT)) == 2)


def test_what_is_too_large_or_no_json_is_kept_shortened(nats_server: Nats, make: Make) -> None:
    nats_server.stream("UNCHECKED", SUBJECT)
    client = make(nats_server.url)
    client.check_permission("big", {"model": "gpt-4", "text": "x" * 2_000_000}, {"agent": "planner"})
    client.check_permission("odd", {"model": "gpt-4", "handle": object()})
    until("both are sent", lambda: client.stats().sent == 2)
    found: Dict[str, Any] = {one["request"]["action"]: one["request"] for one in nats_server.events(SUBJECT)}
    assert found["big"]["resource"]["model"] == "gpt-4" and found["big"]["context"]["agent"] == "planner"
    assert found["big"]["resource"]["shortened_from_bytes"] > 2_000_000
    assert found["odd"]["resource"]["handle"].startswith("<object object") and len(json.dumps(found)) < 5_000
