"""Sockets: how many clients, how long they may idle or dawdle, and how they are sent home."""

from __future__ import annotations

import logging
import socket
import socketserver
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Dict, Iterator, Optional, Tuple, Type

from .auth import Authenticator
from .errors import TOO_MANY_SIMULTANEOUS_QUERIES, ClickHouseError
from .execution import Executor

log = logging.getLogger(__name__)

_REFUSAL = b"Too many connections.\n"

IDLE, READING_HEAD, BUSY = "idle", "reading head", "busy"


@dataclass(frozen=True)
class Limits:
    """What one client, and all together, may take."""

    max_connections: int
    max_concurrent: int
    queue_seconds: float
    max_body_bytes: int
    socket_timeout: float


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """One thread per connection; a bounded number of connections and of running requests."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    # set before the first connection is served
    executor: Executor
    authenticator: Authenticator
    common_headers: Dict[str, str]

    def __init__(self, host: str, port: int, handler: Type[socketserver.BaseRequestHandler], limits: Limits) -> None:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        self.address_family = family
        self.limits = limits
        self.draining = False
        self._places = threading.BoundedSemaphore(limits.max_concurrent)
        self._connections: Dict[socket.socket, Tuple[str, float]] = {}
        self._changed = threading.Condition()
        super().__init__((str(address[0]), int(address[1])), handler)

    @property
    def port(self) -> int:
        return int(self.socket.getsockname()[1])

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place among the running requests, waited for a bounded time."""
        if not self._places.acquire(timeout=self.limits.queue_seconds):
            raise ClickHouseError(
                TOO_MANY_SIMULTANEOUS_QUERIES,
                f"Too many simultaneous queries: {self.limits.max_concurrent} are running, and none ended within "
                f"{self.limits.queue_seconds:g} s; try again, or raise --max-concurrent.",
                status=503,
            )
        try:
            yield
        finally:
            self._places.release()

    # connections

    def mark(self, connection: socket.socket, state: str) -> None:
        """Note what a connection is doing."""
        with self._changed:
            if connection in self._connections:
                self._connections[connection] = (state, time.monotonic())
                self._changed.notify_all()

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Admit a connection, if there is room."""
        with self._changed:
            if len(self._connections) < self.limits.max_connections:
                self._connections[request] = (IDLE, time.monotonic())
                return True
        log.warning("refused a connection: %d are open already", self.limits.max_connections)
        try:
            request.settimeout(1)
            request.sendall(
                b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=UTF-8\r\n"
                b"Retry-After: 1\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(_REFUSAL), _REFUSAL)
            )
        except OSError:
            pass
        return False

    def shutdown_request(self, request: Any) -> None:
        with self._changed:
            self._connections.pop(request, None)
            self._changed.notify_all()
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.exception("a connection's thread failed")

    def _cut(self, *states: str, older_than: Optional[float] = None) -> None:
        """Shut down the connections in these states; their threads then end by themselves."""
        now = time.monotonic()
        with self._changed:
            for connection, (state, since) in self._connections.items():
                if state in states and (older_than is None or now - since > older_than):
                    try:
                        connection.shutdown(socket.SHUT_RDWR)
                    except OSError:
                        pass

    def watch_heads(self) -> None:
        """Cut clients that take too long to send a request's head: a timeout per read lets them drip."""

        def watch() -> None:
            while True:
                time.sleep(1)
                self._cut(READING_HEAD, older_than=self.limits.socket_timeout)

        threading.Thread(target=watch, name="heads", daemon=True).start()

    # shutdown

    def drain(self, deadline: float) -> bool:
        """Stop accepting, let running requests end; True when all did before the deadline."""
        self.draining = True
        self.shutdown()
        self.server_close()
        self._cut(IDLE, READING_HEAD)
        return self.wait_idle(deadline)

    def wait_idle(self, deadline: float) -> bool:
        with self._changed:
            while self._connections:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(left)
        return True

    def cut_all(self) -> None:
        self._cut(IDLE, READING_HEAD, BUSY)
