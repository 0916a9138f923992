"""Writing answers: headers, compression, chunks, and errors in the middle of a stream."""

from __future__ import annotations

import json
import secrets
import socket
import zlib
from http import HTTPStatus
from typing import BinaryIO, Callable, Dict, List, Optional, Union

import lz4.frame

from .errors import ClickHouseError
from .execution import StreamWriter, Whole
from .formats import content_type

_PIECE = 1024 * 1024
# Below this, compression costs more than it saves.
_WORTH_COMPRESSING = 1024
_MAX_EXCEPTION = 16 * 1024 - 256

Bytes = Union[bytes, memoryview]


class _Encoder:
    """Sends bytes as they are."""

    name = ""

    def encode(self, data: Bytes) -> bytes:
        return bytes(data)

    def end(self) -> bytes:
        return b""


class _Lz4(_Encoder):
    """The LZ4 frame format. Every call is flushed, so an error's text ends a block of its own."""

    name = "lz4"

    def __init__(self) -> None:
        self._compressor = lz4.frame.LZ4FrameCompressor(
            block_size=lz4.frame.BLOCKSIZE_MAX256KB, block_linked=False, auto_flush=True
        )
        self._head = self._compressor.begin()

    def encode(self, data: Bytes) -> bytes:
        head, self._head = self._head, b""
        return head + bytes(self._compressor.compress(data))

    def end(self) -> bytes:
        head, self._head = self._head, b""
        return head + bytes(self._compressor.flush())


class _Gzip(_Encoder):
    name = "gzip"

    def __init__(self) -> None:
        self._compressor = zlib.compressobj(3, zlib.DEFLATED, zlib.MAX_WBITS | 16)

    def encode(self, data: Bytes) -> bytes:
        return self._compressor.compress(data) + self._compressor.flush(zlib.Z_SYNC_FLUSH)

    def end(self) -> bytes:
        return self._compressor.flush()


def choose_encoding(accepted: str) -> str:
    """The best of what the client accepts and we know; empty for none."""
    names = set()
    for item in accepted.lower().split(","):
        name, _, weight = item.partition(";")
        if weight.replace(" ", "") not in ("q=0", "q=0.0"):
            names.add(name.strip())
    return next((name for name in ("lz4", "gzip") if name in names), "")


def _encoder(name: str) -> _Encoder:
    return {"lz4": _Lz4, "gzip": _Gzip}.get(name, _Encoder)()


class Responder:
    """Answers one request on a socket."""

    def __init__(
        self, sock: socket.socket, head_only: bool, http_1_0: bool, stopping: Callable[[], bool] = lambda: True
    ) -> None:
        self._sock = sock
        self._head_only = head_only
        self._http_1_0 = http_1_0
        self._stopping = stopping
        self.headers: Dict[str, str] = {}
        self.encoding = ""
        self.close_connection = False
        self.started = False

    def text(self, status: int, body: bytes, extra: Optional[Dict[str, str]] = None) -> None:
        """A short plain answer, never compressed."""
        self._send(status, {"Content-Type": "text/plain; charset=UTF-8", **(extra or {})}, body)

    def error(self, error: ClickHouseError) -> None:
        extra = {"X-ClickHouse-Exception-Code": str(error.code)}
        if error.status == HTTPStatus.UNAUTHORIZED:
            extra["WWW-Authenticate"] = 'Basic realm="ClickHouse server HTTP API"'
        if error.status == HTTPStatus.SERVICE_UNAVAILABLE:
            extra["Retry-After"] = "1"
        self.text(error.status, error.body(), extra)

    def whole(self, answer: Whole) -> None:
        """A finished result."""
        headers = self._result_headers(answer.format)
        if answer.stats is not None:
            headers["X-ClickHouse-Summary"] = json.dumps(answer.stats.as_fields())
        if answer.file is not None:
            with answer.file:
                self._send_file(headers, answer.file, answer.length)
            return
        body: Bytes = answer.data if answer.result is None else answer.result.data
        if self.encoding and len(body) >= _WORTH_COMPRESSING:
            encoder = _encoder(self.encoding)
            headers["Content-Encoding"] = encoder.name
            body = encoder.encode(body) + encoder.end()
        self._send(HTTPStatus.OK, headers, body)

    def begin(self, output_format: str) -> StreamWriter:
        """Start a long answer: 200 is said now, whatever comes."""
        tag = secrets.token_hex(8)
        headers = {**self._result_headers(output_format), "X-ClickHouse-Exception-Tag": tag}
        encoder = _encoder(self.encoding)
        if encoder.name:
            headers["Content-Encoding"] = encoder.name
        if self._http_1_0:
            self.close_connection = True
        else:
            headers["Transfer-Encoding"] = "chunked"
        self._put(self._head(HTTPStatus.OK, headers))
        return _Stream(self, encoder, tag, chunked=not self._http_1_0, mute=self._head_only)

    def _result_headers(self, output_format: str) -> Dict[str, str]:
        return {"Content-Type": content_type(output_format), "X-ClickHouse-Format": output_format}

    def _send(self, status: int, headers: Dict[str, str], body: Bytes) -> None:
        head = self._head(status, {**headers, "Content-Length": str(len(body))})
        if self._head_only:
            self._put(head)
        elif len(body) <= _PIECE:
            self._put(head + bytes(body))  # one packet where it fits
        else:
            self._put(head)
            self._put(body)

    def _send_file(self, headers: Dict[str, str], file: BinaryIO, length: int) -> None:
        self._put(self._head(HTTPStatus.OK, {**headers, "Content-Length": str(length)}))
        while not self._head_only:
            piece = file.read(_PIECE)
            if not piece:
                return
            self._put(piece)

    def _head(self, status: int, headers: Dict[str, str]) -> bytes:
        self.started = True
        self.close_connection = self.close_connection or self._stopping()
        lines: List[str] = [f"HTTP/1.1 {int(status)} {HTTPStatus(status).phrase}"]
        merged = {**self.headers, **headers, "Connection": "close" if self.close_connection else "keep-alive"}
        for name, value in merged.items():
            lines.append(f"{name}: {_header_value(value)}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")

    def _put(self, data: Bytes) -> None:
        """Send, in pieces: the socket's timeout is for one call, not for a whole result."""
        view = memoryview(data)
        for start in range(0, len(view), _PIECE):
            self._sock.sendall(view[start:start + _PIECE])


class _Stream(StreamWriter):
    """A long answer under way."""

    def __init__(self, responder: Responder, encoder: _Encoder, tag: str, chunked: bool, mute: bool) -> None:
        self._responder = responder
        self._encoder = encoder
        self._tag = tag.encode()
        self._chunked = chunked
        self._mute = mute

    def write(self, data: bytes) -> None:
        for start in range(0, len(data), _PIECE):
            self._put(self._encoder.encode(memoryview(data)[start:start + _PIECE]))

    def finish(self) -> None:
        self._put(self._encoder.end())
        if self._chunked and not self._mute:
            self._responder._put(b"0\r\n\r\n")

    def fail(self, error: ClickHouseError) -> None:
        """Say the error after the data, then break off: without the last chunk no client takes it for all."""
        message = error.body()[:_MAX_EXCEPTION].rstrip(b"\n") + b"\n"
        mark = b"\r\n__exception__\r\n"
        self._put(
            self._encoder.encode(b"".join([mark, self._tag, b"\r\n", message, b"%d " % len(message), self._tag, mark]))
        )
        self._responder.close_connection = True

    def _put(self, data: bytes) -> None:
        if self._mute or not data:
            return
        if self._chunked:
            data = b"".join((b"%x\r\n" % len(data), data, b"\r\n"))
        self._responder._put(data)


def _header_value(value: str) -> str:
    """Values may come from the client (the query id): never a line end, never endless."""
    return "".join(c if c.isprintable() else "?" for c in value)[:1024]
