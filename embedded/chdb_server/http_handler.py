"""One HTTP request after another on one connection."""

from __future__ import annotations

import logging
import socket
import time
import uuid
from io import BufferedReader
from http.server import BaseHTTPRequestHandler
from typing import Iterator, List, Optional, Tuple

from . import decoding, multipart, settings
from .errors import (
    BAD_ARGUMENTS,
    QUERY_IS_TOO_LARGE,
    UNKNOWN_EXCEPTION,
    ClickHouseError,
    ClientGone,
)
from .protocol import BodyReader
from .reply import Responder, choose_encoding
from .server import BUSY, IDLE, READING_HEAD, Server

log = logging.getLogger(__name__)

# After an error, this much of the body is read away so that the answer is seen;
# for more, the connection is closed instead.
_DRAIN = 64 * 1024 * 1024
_MAX_FORM = 8 * 1024 * 1024
_HEALTH = ("/ping", "/replicas_status")


class Handler(BaseHTTPRequestHandler):
    """Reads requests with the standard library, answers them as ClickHouse does."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    rbufsize = 64 * 1024
    rfile: BufferedReader
    server: Server
    responder: Responder

    def setup(self) -> None:
        self.timeout = self.server.limits.socket_timeout  # type: ignore[misc]  # read by super().setup()
        super().setup()

    def handle_one_request(self) -> None:
        self.server.mark(self.connection, IDLE)
        try:
            if self.server.draining or not self.rfile.peek(1):
                self.close_connection = True
                return
            self.server.mark(self.connection, READING_HEAD)
            super().handle_one_request()
        except (ClientGone, socket.timeout, OSError) as error:
            log.debug("connection ended: %s", error)
            self.close_connection = True

    def do_POST(self) -> None:
        self._answer(read_only=False)

    def do_GET(self) -> None:
        self._answer(read_only=True)

    do_HEAD = do_GET

    def handle_expect_100(self) -> bool:
        """Invite the body only when it is welcome; else the answer comes at once."""
        length = self.headers.get("Content-Length", "0")
        if length.isdigit() and int(length) > self.server.limits.max_body_bytes:
            return True
        return super().handle_expect_100()

    def send_error(self, code: int, message: Optional[str] = None, explain: Optional[str] = None) -> None:
        """What the standard library refuses (malformed or unknown), in plain text."""
        self.close_connection = True
        responder = Responder(self.connection, head_only=False, http_1_0=True)
        responder.text(code, f"{message or 'Bad request'}\n".encode("utf-8", "replace"))

    def log_message(self, format: str, *args: object) -> None:
        log.debug(format, *args)

    def _answer(self, read_only: bool) -> None:
        self.server.mark(self.connection, BUSY)
        started = time.monotonic()
        self.responder = Responder(
            self.connection,
            head_only=self.command == "HEAD",
            http_1_0=self.request_version == "HTTP/1.0",
            stopping=lambda: self.server.draining,
        )
        self.responder.headers = dict(self.server.common_headers)
        self.responder.close_connection = self.close_connection
        body: Optional[BodyReader] = None
        error: Optional[ClickHouseError] = None
        try:
            body = BodyReader(self.rfile, self.connection, self.headers, self.server.limits.max_body_bytes)
            self._serve(body, read_only)
        except ClickHouseError as raised:
            error = raised
        except (ClientGone, OSError) as lost:  # OSError: the socket's, time-outs among them
            doing = "its answer was under way" if self.responder.started else "it was read; nothing was added"
            log.info("client lost while %s: %s", doing, lost)
            self.responder.close_connection = True
        except Exception:
            log.exception("request failed")
            error = ClickHouseError(UNKNOWN_EXCEPTION, "Internal error; see the service's log.")
        if error is not None:
            self._answer_error(error, body)
        elif body is not None and not body.finished and not body.drain(_DRAIN):
            self.responder.close_connection = True
        self.close_connection = self.responder.close_connection or self.server.draining
        log.debug("%s in %.1f ms", self.requestline[:200], (time.monotonic() - started) * 1e3)

    def _answer_error(self, error: ClickHouseError, body: Optional[BodyReader]) -> None:
        if error.status >= 500:
            log.warning("answered %d: %s", error.status, error.text[:500])
        if self.responder.started:
            self.responder.close_connection = True
            return
        waiting = self.headers.get("Expect", "").lower() == "100-continue" and body is not None and body.too_large()
        drained = body is not None and not waiting and body.drain(_DRAIN)
        if not drained:
            self.responder.close_connection = True
        self.responder.error(error)
        if not drained:
            self._linger()

    def _linger(self) -> None:
        """Closing with unread input resets the connection, and the answer with it: read on for a moment."""
        try:
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(0.5)
            until = time.monotonic() + 2
            while time.monotonic() < until and self.connection.recv(256 * 1024):
                pass
        except OSError:
            pass

    def _serve(self, body: BodyReader, read_only: bool) -> None:
        path, _, raw = self.path.partition("?")
        if path in _HEALTH:
            self.responder.text(200, b"Ok.\n")
            return
        if path != "/":
            hint = f"There is no handle {path[:200]}\n\nUse / for queries, /ping for health checks.\n"
            self.responder.text(404, hint.encode())
            return
        fields = settings.parse_query_string(raw)
        try:
            self.server.authenticator.check(self.headers, fields)
        except ValueError as error:  # a Host or Origin that is no URL
            raise ClickHouseError(BAD_ARGUMENTS, f"Malformed request: {error}.", status=400) from error
        if read_only and not raw and body.finished:
            self.responder.text(200, b"Ok.\n")
            return
        self._query(fields, body, read_only)

    def _query(self, fields: List[Tuple[str, str]], body: BodyReader, read_only: bool) -> None:
        limit = self.server.limits.max_body_bytes
        chunks: Iterator[bytes] = decoding.content_encoding(
            body.chunks(), self.headers.get("Content-Encoding", ""), limit
        )
        mark = multipart.boundary(self.headers.get("Content-Type", ""))
        if mark is not None:
            fields = fields + multipart.parse(_whole_form(chunks), mark)
            chunks = iter(())
        options = settings.parse(fields, self.headers)
        if options.decompress and mark is None:
            chunks = decoding.native_frames(chunks, limit)
        if options.http_compression:
            self.responder.encoding = choose_encoding(self.headers.get("Accept-Encoding", ""))
        self.responder.headers["X-ClickHouse-Query-Id"] = options.query_id or str(uuid.uuid4())
        answer = self.server.executor.run(options, read_only, chunks, self.responder.begin)
        if answer is not None:
            self.responder.whole(answer)


def _whole_form(chunks: Iterator[bytes]) -> bytes:
    held = bytearray()
    for chunk in chunks:
        held += chunk
        if len(held) > _MAX_FORM:
            raise ClickHouseError(QUERY_IS_TOO_LARGE, f"The form is larger than {_MAX_FORM} bytes.")
    return bytes(held)
