"""Starting, stopping, crashing, and being one of a kind."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Callable, List

import pytest

from service import DEADLINE, EMBEDDED, Service, chunk, command, environment, head, row_binary, until


def failing(*arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
    """Run to the end; it must not become ready."""
    done = subprocess.run(
        [sys.executable, "-m", "chdb_server", *arguments],
        check=False, env=environment(**env), capture_output=True, text=True, timeout=DEADLINE,
    )
    assert done.stdout == ""
    return done


def test_kill_9_keeps_every_acknowledged_row(start: Callable[..., Service]) -> None:
    """Killed under load, three times: acknowledged batches are there, and every batch is whole."""
    acknowledged: List[int] = []
    unknown: List[int] = []
    number = 0
    service = start()
    service.sql("CREATE TABLE t (a UInt32, b String) ENGINE = MergeTree ORDER BY a")
    for _ in range(3):
        enough = len(acknowledged) + 20

        def kill_under_load(victim: Service = service, enough: int = enough) -> None:
            until("enough inserts", lambda: len(acknowledged) >= enough)
            victim.kill()

        killer = threading.Thread(target=kill_under_load)
        killer.start()
        while killer.is_alive():
            number += 1
            data = b"".join(row_binary(number * 100 + i, b"x") for i in range(100))
            try:
                if service.insert_chunked("INSERT INTO t FORMAT RowBinary", [data]).status == 200:
                    acknowledged.append(number)
            except (OSError, http.client.HTTPException):
                unknown.append(number)
        service = start()
        stored = set(map(int, service.sql("SELECT DISTINCT intDiv(a, 100) FROM t").split()))
        assert set(acknowledged) <= stored <= set(acknowledged) | set(unknown)
        partial = "SELECT intDiv(a, 100) n FROM t GROUP BY n HAVING count() != 100"
        assert service.sql(f"SELECT count() FROM ({partial})") == "0"


def test_restart_keeps_tables(start: Callable[..., Service]) -> None:
    service = start()
    service.sql("CREATE DATABASE d")
    service.sql("CREATE TABLE d.t (a UInt32) ENGINE = MergeTree ORDER BY a")
    service.sql("INSERT INTO d.t VALUES (1)")
    assert service.terminate() == 0
    assert start().sql("SELECT * FROM d.t") == "1"


def test_one_process_per_directory(start: Callable[..., Service]) -> None:
    service = start()
    second = failing("--data", str(service.data), "--port", "0")
    assert second.returncode == 97
    assert f'"pid": {service.process.pid}' in second.stderr and f'"port": {service.port}' in second.stderr
    assert service.sql("SELECT 1") == "1"


def test_a_directory_that_can_not_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = failing("--data", str(tmp_path / "file"))
    assert done.returncode == 97 and "--data" in done.stderr
    assert failing("--data", str(tmp_path / "a?b")).returncode == 97


def test_the_directory_is_private(service: Service) -> None:
    assert service.data.stat().st_mode & 0o777 == 0o700


def test_a_taken_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = failing("--data", str(tmp_path / "data"), "--port", str(port))
    assert done.returncode == 98
    assert str(port) in done.stderr and "--port" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_open_address_needs_a_password(tmp_path: Path) -> None:
    done = failing("--data", str(tmp_path / "data"), "--host", "0.0.0.0", "--port", "0")
    assert done.returncode == 2 and "SLUICEGATE_CHDB_PASSWORD" in done.stderr
    assert not (tmp_path / "data").exists()


def test_an_open_address_with_a_password(start: Callable[..., Service]) -> None:
    service = start("--host", "0.0.0.0", env={"SLUICEGATE_CHDB_PASSWORD": "secret"})
    assert service.ready["host"] == "0.0.0.0"
    assert service.post(b"SELECT 1", user="default", password="secret").text == "1\n"


def test_run_as_a_directory(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-B", str(EMBEDDED / "chdb_server"), "--help"],
        check=False, capture_output=True, text=True, timeout=DEADLINE,
    )
    assert done.returncode == 0
    assert "--max-body-bytes" in done.stdout and "SLUICEGATE_CHDB_PASSWORD" in done.stdout


def test_sigterm_lets_requests_finish(table: Service) -> None:
    """A query runs on, an insert may send its rest; a new connection is refused; then it ends with 0."""
    answers = []
    query = threading.Thread(
        target=lambda: answers.append(table.sql("SELECT sum(sleepEachRow(0.1)) FROM numbers(20)", max_block_size="1"))
    )
    query.start()
    until("the query runs", lambda: table.running("sleepEachRow"))
    sock = table.socket()
    sock.sendall(head("INSERT INTO t FORMAT CSV", "Transfer-Encoding: chunked") + chunk(b"1,a\n"))
    idle = table.socket()
    idle.sendall(b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert idle.recv(1000)
    table.process.send_signal(signal.SIGTERM)
    assert idle.recv(1000) == b""  # an idle connection is closed
    until("no new connections", lambda: refused(table.port))
    sock.sendall(chunk(b"2,b\n") + b"0\r\n\r\n")
    answer = sock.recv(1000)
    assert answer.startswith(b"HTTP/1.1 200") and b"Connection: close" in answer
    query.join(DEADLINE)
    assert answers == ["0"]
    assert table.process.wait(DEADLINE) == 0


def refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except ConnectionError:
        return True
    return False


def test_the_drain_ends(start: Callable[..., Service]) -> None:
    """What still runs at the deadline is cut off, and an unfinished insert adds nothing."""
    service = start("--drain-seconds", "0.5")
    service.sql("CREATE TABLE t (a UInt32, b String) ENGINE = MergeTree ORDER BY a")
    sock = service.socket()
    sock.sendall(head("INSERT INTO t FORMAT CSV", "Transfer-Encoding: chunked") + chunk(b"1,a\n"))
    query = threading.Thread(target=ignore, args=(service, b"SELECT sum(sipHash64(number)) FROM numbers(100000000000)"))
    query.start()
    until("the query runs", lambda: service.running("sipHash64"))
    started = time.monotonic()
    assert service.terminate() == 0
    assert time.monotonic() - started < 8
    query.join(DEADLINE)
    assert start().count() == 0


def ignore(service: Service, sql: bytes) -> None:
    try:
        service.post(sql)
    except Exception:  # cut off, one way or another
        pass


def test_sigterm_before_anything(start: Callable[..., Service]) -> None:
    service = start()
    assert service.terminate() == 0
    assert any("stopped" in line for line in service.log)


def test_exit_with_parent(tmp_path: Path) -> None:
    """The parent is killed, and can't stop it any more."""
    code = (
        "import subprocess, sys, time\n"
        f"p = subprocess.Popen({command(tmp_path / 'data', '--port', '0', '--exit-with-parent')!r},"
        " stdout=subprocess.PIPE, text=True)\n"
        "print(p.stdout.readline(), end='', flush=True)\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert parent.stdout is not None
    ready = json.loads(parent.stdout.readline())
    parent.kill()
    parent.wait(DEADLINE)
    until("the service ends", lambda: not alive(ready["pid"]))


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_logs_are_one_line_each(service: Service) -> None:
    service.post(b"SELECT throwIf(1, 'a\nb')")
    until("it is logged", lambda: any("395" in line for line in service.log))
    assert all(line[:4].isdigit() and ("INFO" in line or "WARNING" in line) for line in service.log)


def test_a_closed_stdout_is_no_reason_to_die(tmp_path: Path) -> None:
    process = subprocess.Popen(
        command(tmp_path / "data", "--port", "0"),
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    try:
        until("it serves", lambda: "serving" in process.stderr.readline())
        assert process.poll() is None
    finally:
        process.kill()
        process.wait(DEADLINE)


@pytest.mark.parametrize("flags", [("--port", "99999"), ("--max-concurrent", "0"), ("--nonsense",), ()])
def test_wrong_flags(tmp_path: Path, flags: "tuple[str, ...]") -> None:
    data = ("--data", str(tmp_path / "data")) if flags else ()
    assert failing(*data, *flags).returncode == 2
