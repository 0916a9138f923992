"""Starting the service and speaking HTTP to it, down to single bytes where a test needs it."""

from __future__ import annotations

import http.client
import json
import os
import queue
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple
from urllib.parse import urlencode

EMBEDDED = Path(__file__).resolve().parent.parent
DEADLINE = 30.0


def command(data: Path, *flags: str) -> List[str]:
    return [sys.executable, "-m", "chdb_server", "--data", str(data), *flags]


def environment(**extra: str) -> Dict[str, str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith("SLUICEGATE_")}
    return {**env, "PYTHONPATH": str(EMBEDDED), "PYTHONDONTWRITEBYTECODE": "1", **extra}


def until(what: str, condition: Callable[[], Any], deadline: float = DEADLINE) -> Any:
    """Poll until the condition holds; fails with its name when it does not in time."""
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"{what}: not within {deadline} s")


class Response:
    """An answer, read to its end."""

    def __init__(self, raw: http.client.HTTPResponse) -> None:
        self.status = raw.status
        self.headers: Mapping[str, str] = raw.headers
        self.content = raw.read()

    @property
    def text(self) -> str:
        return self.content.decode()

    @property
    def code(self) -> Optional[int]:
        value = self.headers.get("X-ClickHouse-Exception-Code")
        return int(value) if value else None

    @property
    def failure(self) -> Tuple[int, Optional[int]]:
        """(HTTP status, ClickHouse's code)"""
        return self.status, self.code


class Service:
    """A running chdb_server."""

    def __init__(self, data: Path, flags: Sequence[str] = (), env: Optional[Dict[str, str]] = None) -> None:
        self.data = data
        if "--port" not in flags:
            flags = (*flags, "--port", "0")
        self.process = subprocess.Popen(
            command(data, *flags),
            env=environment(**(env or {})),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.log: List[str] = []
        self._stdout: "queue.Queue[str]" = queue.Queue()
        threading.Thread(target=self._collect_log, daemon=True).start()
        threading.Thread(target=self._collect_stdout, daemon=True).start()
        self.ready: Dict[str, Any] = {}

    def _collect_log(self) -> None:
        assert self.process.stderr is not None
        self.log.extend(iter(self.process.stderr.readline, ""))

    def _collect_stdout(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._stdout.put(line)
        self._stdout.put("")

    def wait_ready(self) -> None:
        line = self._stdout.get(timeout=DEADLINE)
        assert line, f"ended with {self.process.wait()}: {self.log}"
        self.ready = json.loads(line)

    @property
    def port(self) -> int:
        return int(self.ready["port"])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(DEADLINE)

    def terminate(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE)

    # requests

    def request(
        self,
        method: str,
        params: Optional[Mapping[str, str]] = None,
        body: Any = None,
        headers: Optional[Mapping[str, str]] = None,
        path: str = "/",
        chunked: bool = False,
    ) -> Response:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)
        try:
            query = "?" + urlencode(params) if params else ""
            connection.request(method, path + query, body, dict(headers or {}), encode_chunked=chunked)
            return Response(connection.getresponse())
        finally:
            connection.close()

    def get(self, path: str = "/", headers: Optional[Mapping[str, str]] = None, **params: str) -> Response:
        return self.request("GET", params, path=path, headers=headers)

    def post(self, body: Any = b"", headers: Optional[Mapping[str, str]] = None, **params: str) -> Response:
        return self.request("POST", params, body, headers)

    def sql(self, text: str, **params: str) -> str:
        """Run a statement that must work; returns its output without the last line end."""
        answer = self.post(text.encode(), **params)
        assert answer.status == 200, answer.text
        return answer.text.rstrip("\n")

    def insert(self, query: str, data: bytes, headers: Optional[Mapping[str, str]] = None, **params: str) -> Response:
        return self.request("POST", {"query": query, **params}, data, headers)

    def insert_chunked(self, query: str, chunks: Iterable[bytes], **params: str) -> Response:
        """As the Rust crate does: the query in the URL, the data in chunks."""
        headers = {"Transfer-Encoding": "chunked"}
        return self.request("POST", {"query": query, **params}, iter(chunks), headers, chunked=True)

    def count(self, table: str = "t") -> int:
        return int(self.sql(f"SELECT count() FROM {table}"))

    def socket(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE)

    def running(self, marker: str) -> int:
        """How many queries with this text run now."""
        return int(
            self.sql(
                "SELECT count() FROM system.processes WHERE position(query, {m:String}) > 0 "
                "AND position(query, 'system.processes') = 0",
                param_m=marker,
            )
        )


def head(query: str, framing: str, **params: str) -> bytes:
    """The head of an insert, for tests that write the body themselves."""
    url = urlencode({"query": query, **params})
    return f"POST /?{url} HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n\r\n".encode()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def row_binary(a: int, b: bytes) -> bytes:
    """A row of `t (a UInt32, b String)`."""
    size = len(b)
    length = bytes([size]) if size < 128 else bytes([size & 127 | 128, size >> 7])
    return struct.pack("<I", a) + length + b
