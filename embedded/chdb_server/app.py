"""The life of the process: start, signals, drain, exit."""

from __future__ import annotations

import ctypes
import errno
import json
import logging
import os
import signal
import sys
import threading
import time
from typing import Optional

from .auth import Authenticator
from .cli import Config
from .datadir import DataDir, DataDirError
from .engine import Engine
from .errors import ClickHouseError
from .execution import Executor
from .http_handler import Handler
from .server import Server

EXIT_ENGINE = 1
EXIT_DATA = 97
EXIT_PORT = 98

_PR_SET_PDEATHSIG = 1
# How long requests that were cut at the deadline get to let go of the engine.
_LAST_SECONDS = 3.0

log = logging.getLogger("chdb_server")


class _OneLine(logging.Formatter):
    """One line each, whatever the message holds: a log line can't be forged."""

    converter = time.gmtime  # type: ignore[assignment]

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _log_to_stderr(level: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        _OneLine("%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s", datefmt="%Y-%m-%dT%H:%M:%S")
    )
    logging.basicConfig(level=level.upper(), handlers=[handler])


def run(config: Config) -> int:
    """Serve until told to stop. Does not return to a process that could go on: the engine's threads stay."""
    _log_to_stderr(config.log_level)
    stop = _StopRequest()
    if config.exit_with_parent:
        stop.watch_parent()
    try:
        data = DataDir(config.data)
    except DataDirError as error:
        log.error("%s", error)
        return EXIT_DATA
    server = _listen(config)
    if server is None:
        return EXIT_PORT
    engine = _start_engine(data)
    if engine is None:
        return EXIT_ENGINE
    _serve(config, data, engine, server)
    stop.wait()
    _shut_down(config, data, engine, server, stop)
    sys.stderr.flush()
    # Not `return 0`: a thread that is still inside the engine would crash the interpreter's end.
    os._exit(0)


class _StopRequest:
    """Made by SIGTERM, SIGINT, SIGHUP or the parent's end; a second one ends the drain.

    Signal handlers interrupt each other, so they only set plain attributes: a lock or a log line in
    one could wait for itself for ever. Whoever waits looks every now and then.
    """

    _LOOK_SECONDS = 0.05

    def __init__(self) -> None:
        self.reason = ""
        self.hurry = False
        self._parent = os.getppid()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, _frame: object) -> None:
        if self.reason:
            self.hurry = True
        else:
            self.reason = signal.Signals(number).name

    def wait(self) -> None:
        """Wait until somebody asks to stop."""
        while not self.reason:
            time.sleep(self._LOOK_SECONDS)
        log.info("%s: stopping", self.reason)

    def watch_parent(self) -> None:
        """Stop when the parent ends.

        The kernel's signal comes when the *thread* that started us ends, so it
        only makes us look; and not every system has it, so we look every second.
        """
        signal.signal(signal.SIGUSR1, lambda *_: self._look_for_parent())
        try:
            ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGUSR1, 0, 0, 0)
        except (OSError, AttributeError):
            pass

        def poll() -> None:
            while not self.reason:
                time.sleep(1)
                self._look_for_parent()

        threading.Thread(target=poll, name="parent", daemon=True).start()

    def _look_for_parent(self) -> None:
        if os.getppid() != self._parent and not self.reason:
            self.reason = f"the parent process {self._parent} ended"


def _listen(config: Config) -> Optional[Server]:
    """Take the port before the engine starts: clients may connect, and are served when it is up."""
    try:
        return Server(config.host, config.port, Handler, config.limits)
    except OSError as error:
        reason = "is taken by another process" if error.errno == errno.EADDRINUSE else f"can't be used: {error}"
        log.error(
            "port %d on %s %s; choose another with --port (0 picks a free one)", config.port, config.host, reason
        )
        return None


def _start_engine(data: DataDir) -> Optional[Engine]:
    try:
        return Engine(data.prepare_engine())
    except (ClickHouseError, ImportError, OSError) as error:
        text = error.text if isinstance(error, ClickHouseError) else str(error)
        log.error("the engine did not start on %s: %s", data.path, text)
        return None


def _serve(config: Config, data: DataDir, engine: Engine, server: Server) -> None:
    spool = data.path / "tmp"
    spool.mkdir(exist_ok=True, mode=0o700)
    server.executor = Executor(engine, server.place, spool, config.max_result_bytes)
    server.authenticator = Authenticator(config.user, config.password)
    server.common_headers = {
        "X-ClickHouse-Server-Display-Name": "sluicegate-chdb",
        "X-ClickHouse-Timezone": engine.timezone,
    }
    data.note(host=config.host, port=server.port)
    server.watch_heads()
    threading.Thread(target=server.serve_forever, args=(0.1,), name="accept", daemon=True).start()
    ready = {
        "ready": True,
        "host": config.host,
        "port": server.port,
        "pid": os.getpid(),
        "version": engine.version,
        "data": str(data.path),
    }
    log.info("serving ClickHouse %s on %s:%d from %s", engine.version, config.host, server.port, data.path)
    try:
        print(json.dumps(ready), flush=True)
    except OSError as error:
        log.warning("nobody reads the ready line: %s", error)


def _shut_down(config: Config, data: DataDir, engine: Engine, server: Server, stop: _StopRequest) -> None:
    """Stop intake, let requests finish, cut what is left, close the engine."""
    deadline = time.monotonic() + config.drain_seconds
    done = server.drain(time.monotonic())
    while not done and time.monotonic() < deadline and not stop.hurry:
        done = server.wait_idle(min(deadline, time.monotonic() + 0.2))
    if not done:
        log.warning("requests still run after %.0f s: cutting them off", config.drain_seconds)
        engine.kill_queries()
        server.cut_all()
        done = server.wait_idle(time.monotonic() + _LAST_SECONDS)
    if done:
        engine.close()
        log.info("stopped")
    else:
        log.warning("a request does not let go of the engine: leaving as in a crash, which loses nothing acknowledged")
    data.release()
