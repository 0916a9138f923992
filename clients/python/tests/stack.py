"""Real servers for the tests: NATS, a worker, or all of it. Each has its own port and folder."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any, Awaitable, Callable, Dict, List, Optional, TypeVar

import nats
from nats.aio.client import Client
from nats.js.api import AckPolicy, ConsumerConfig

ROOT = Path(__file__).resolve().parents[3]
SOURCES = ROOT / "clients" / "python" / "src"
DEADLINE = 60.0
T = TypeVar("T")


def binary() -> str:
    """The product's program: from the environment, else as cargo built it."""
    target = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
    found = os.environ.get("SLUICEGATE_BINARY") or str(target / "debug" / "sluicegate")
    assert os.access(found, os.X_OK), f"{found} is missing: cargo build, or set SLUICEGATE_BINARY"
    return found


def tools() -> Path:
    """The folder of nats-server and ClickHouse's engine."""
    return Path(os.environ.get("SLUICEGATE_EMBEDDED_TOOLS") or ROOT / ".sluicegate" / "tools").absolute()


def nats_server() -> str:
    """The pinned nats-server, else the one on the PATH."""
    pinned = tools() / "bin" / "nats-server"
    found = str(pinned) if pinned.exists() else shutil.which("nats-server")
    assert found, "nats-server is missing: run make setup"
    return found


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(what: str, condition: Callable[[], T], deadline: float = DEADLINE) -> T:
    """Polls until the condition holds; fails with its name where it does not in time."""
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"{what}: not within {deadline} s")


def environment(**extra: str) -> Dict[str, str]:
    """This environment without settings, with the package importable."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SLUICEGATE_", "POLICY_"))}
    return {**kept, "PYTHONPATH": str(SOURCES), **extra}


def listening(port: int) -> bool:
    """Whether somebody takes connections there."""
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Process:
    """A server of ours: what it says goes to a file."""

    def __init__(self, command: List[str], log: Path, **extra: str) -> None:
        self.log = log
        with open(log, "ab") as output:
            self.process = subprocess.Popen(
                command,
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                env=environment(**extra),
                cwd=ROOT,
            )

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self, number: int = signal.SIGTERM) -> None:
        """Ends it, for good after ten seconds."""
        if self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGCONT)
        self.process.send_signal(number)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Nats:
    """A nats-server that can be stopped, paused and started again on its port."""

    def __init__(self, folder: Path, configuration: str = "") -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self._file = folder / "nats.conf"
        self._file.write_text(
            f'listen: "127.0.0.1:{self.port}"\njetstream {{ store_dir: "{folder}/js" }}\n{configuration}\n'
        )
        self.process: Optional[Process] = None
        self.start()

    def start(self) -> None:
        self.process = Process([nats_server(), "-c", str(self._file)], self.folder / "nats.log")
        until("nats-server listens", lambda: listening(self.port))

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.end(number)
            self.process = None

    def pause(self) -> None:
        assert self.process is not None
        self.process.send(signal.SIGSTOP)
        # A signal takes a moment.
        os.waitid(os.P_PID, self.process.process.pid, os.WSTOPPED | os.WNOWAIT)

    def resume(self) -> None:
        assert self.process is not None
        self.process.send(signal.SIGCONT)

    def run(self, work: Callable[[Client], Awaitable[T]], **options: Any) -> T:
        """Runs something over a plain connection."""
        return over(self.url, work, **options)

    def stream(self, name: str, *subjects: str) -> None:
        """Makes a stream of these subjects."""

        async def make(client: Client) -> None:
            await client.jetstream().add_stream(name=name, subjects=list(subjects))

        self.run(make)

    def events(self, subject: str, **options: Any) -> List[Dict[str, Any]]:
        """All events that streams hold on a subject."""
        return stored(self.url, subject, **options)


def over(url: str, work: Callable[[Client], Awaitable[T]], **options: Any) -> T:
    """Runs something over a plain connection to this server."""

    async def main() -> T:
        client = await nats.connect(url, allow_reconnect=False, **options)
        try:
            return await work(client)
        finally:
            await client.close()

    return asyncio.run(main())


def stored(url: str, subject: str, **options: Any) -> List[Dict[str, Any]]:
    """All events that streams hold on a subject."""

    async def read(client: Client) -> List[Dict[str, Any]]:
        stream = client.jetstream()
        name = await stream.find_stream_name_by_subject(subject)
        found: List[Dict[str, Any]] = []
        unacknowledged = ConsumerConfig(ack_policy=AckPolicy.NONE)
        subscription = await stream.pull_subscribe(subject, stream=name, config=unacknowledged)
        pending = (await subscription.consumer_info()).num_pending or 0
        while len(found) < pending:
            for message in await subscription.fetch(min(pending - len(found), 200), timeout=5):
                event = json.loads(message.data)
                event["_id"] = (message.headers or {}).get("Nats-Msg-Id")
                found.append(event)
        await subscription.unsubscribe()
        return found

    return over(url, read, **options)


class Worker:
    """A worker on a NATS server, with a policy folder of its own where one is given."""

    def __init__(self, server: Nats, *settings: str) -> None:
        command = [binary(), "worker", "--nats-url", server.url, "--set", "audit.spill_folder="]
        for one in settings:
            command += ["--set", one]
        self.process = Process(command, server.folder / "worker.log")
        until("the worker answers", lambda: self._answers(server))

    def _answers(self, server: Nats) -> bool:
        async def ask(client: Client) -> bool:
            body = b'{"action": "ready", "resource": {}}'
            answer = await client.request("policy.check", body, timeout=2)
            return "Nats-Service-Error-Code" not in (answer.headers or {})

        try:
            return server.run(ask)
        except (OSError, asyncio.TimeoutError, nats.errors.Error):
            return False

    def end(self) -> None:
        self.process.end()


class Up:
    """Everything, as `sluicegate up` starts it."""

    def __init__(self, folder: Path) -> None:
        self.port, clickhouse, console = free_port(), free_port(), free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self.clickhouse = f"http://127.0.0.1:{clickhouse}"
        settings = (
            f"embedded.data={folder}/data",
            f"embedded.tools={tools()}",
            f"nats.url={self.url}",
            f"clickhouse.url={self.clickhouse}",
            f"http.listen=127.0.0.1:{console}",
            f"audit.spill_folder={folder}/spill",
        )
        command = [binary(), "up", "--quiet"]
        for one in settings:
            command += ["--set", one]
        self.process = Process(command, folder / "up.log")
        try:
            until("all of it is up", lambda: self._ready(), 90)
        except AssertionError:
            self.end()
            raise AssertionError((folder / "up.log").read_text()[-3000:]) from None

    def _ready(self) -> bool:
        assert self.process.process.poll() is None, self.process.log.read_text()[-3000:]
        run = subprocess.run(
            [binary(), "check", "--nats-url", self.url, "--action", "ready", "--resource", "x", "--json"],
            capture_output=True,
            env=environment(),
            cwd=ROOT,
        )
        return run.returncode == 0

    def rows(self, sql: str) -> List[Dict[str, Any]]:
        """What ClickHouse answers."""
        query = f"{sql} FORMAT JSONEachRow".encode()
        with urllib.request.urlopen(f"{self.clickhouse}/?database=sluicegate", query, DEADLINE) as answer:
            return [json.loads(line) for line in answer.read().splitlines()]

    def product(self, *arguments: str) -> Any:
        """What a command of the product prints as JSON; 1 says that something wants a look."""
        servers = ("--nats-url", self.url, "--clickhouse-url", self.clickhouse, "--json")
        run = subprocess.run(
            [binary(), *arguments, *servers], capture_output=True, env=environment(), cwd=ROOT, text=True
        )
        assert run.returncode in (0, 1), run.stdout + run.stderr
        return json.loads(run.stdout)

    def end(self) -> None:
        self.process.end(signal.SIGINT)


def python(program: str, **extra: str) -> subprocess.Popen[str]:
    """A Python of its own that runs a program with the package."""
    return subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
        env=environment(**extra),
    )
