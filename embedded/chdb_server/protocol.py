"""The request body as HTTP/1.1 frames it: by length, in chunks, or not at all.

An insert is acknowledged only when its body arrived whole. A body that ends
before its announced length, or before the terminating chunk, raises ClientGone.
"""

from __future__ import annotations

import re
import socket
from email.message import Message
from typing import BinaryIO, Iterator, Tuple

from .errors import (
    BAD_ARGUMENTS,
    NOT_IMPLEMENTED,
    TOO_MANY_BYTES,
    ClickHouseError,
    ClientGone,
)

READ_SIZE = 256 * 1024
_MAX_LINE = 8 * 1024
_MAX_TRAILERS = 64
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r\n\Z")
_QUICKACK = getattr(socket, "TCP_QUICKACK", None)


def framing(headers: Message) -> Tuple[bool, int]:
    """(chunked, length) of the body; refuses what two parsers could read differently."""
    encodings = headers.get_all("Transfer-Encoding") or []
    lengths = headers.get_all("Content-Length") or []
    if encodings:
        if lengths:
            raise _bad_framing("both Transfer-Encoding and Content-Length are given")
        if [value.strip().lower() for value in encodings] != ["chunked"]:
            raise ClickHouseError(NOT_IMPLEMENTED, f"Transfer-Encoding {encodings!r} is not supported.")
        return True, 0
    if not lengths:
        return False, 0
    if len(lengths) > 1 or not re.fullmatch(r"[0-9]{1,18}", lengths[0].strip()):
        raise _bad_framing(f"Content-Length is {lengths!r}")
    return False, int(lengths[0])


def _bad_framing(what: str) -> ClickHouseError:
    return ClickHouseError(BAD_ARGUMENTS, f"Malformed request: {what}.", status=400)


class BodyReader:
    """Reads one request's body, once, bounded."""

    def __init__(self, rfile: BinaryIO, sock: socket.socket, headers: Message, limit: int) -> None:
        self._rfile = rfile
        self._sock = sock
        self._limit = limit
        self._taken = 0
        self.chunked, self._left = framing(headers)
        self.finished = not self.chunked and self._left == 0
        self._first = True

    def too_large(self) -> bool:
        """Known to exceed the limit before a byte was read."""
        return not self.chunked and self._left > self._limit

    def chunks(self) -> Iterator[bytes]:
        """The body's bytes; raises when there are more than the limit allows."""
        while True:
            if self.too_large():
                raise self._too_many()
            data = self._read_some()
            if not data:
                return
            self._taken += len(data)
            if self._taken > self._limit:
                raise self._too_many()
            yield data

    def drain(self, budget: int) -> bool:
        """Read the rest away, so that the client can read the answer. False: too much, or gone."""
        if not self.chunked and self._left > budget:
            return False
        try:
            while budget > 0:
                data = self._read_some()
                if not data:
                    return True
                budget -= len(data)
        except (ClientGone, OSError):
            pass
        return False

    def _too_many(self) -> ClickHouseError:
        return ClickHouseError(
            TOO_MANY_BYTES,
            f"The request body is larger than {self._limit} bytes; send less at once, or raise --max-body-bytes.",
            status=413,
        )

    def _read_some(self) -> bytes:
        if self.finished:
            return b""
        if self.chunked and self._left == 0:
            self._left = self._next_chunk()
            if self._left == 0:
                self.finished = True
                return b""
        self._quickack()
        data = self._rfile.read1(min(self._left, READ_SIZE))  # type: ignore[attr-defined]
        if not data:
            raise ClientGone(f"the body ended {self._left} bytes early")
        self._left -= len(data)
        if self._left == 0 and not self.chunked:
            self.finished = True
        return data

    def _next_chunk(self) -> int:
        """The size of the next chunk, after the end of the one before; 0 ends the body."""
        if not self._first and self._line() != b"\r\n":
            raise ClientGone("a chunk does not end where it said")
        self._first = False
        found = _CHUNK_SIZE.match(self._line())
        if not found:
            raise ClientGone("malformed chunk size")
        size = int(found.group(1), 16)
        if size == 0:
            for _ in range(_MAX_TRAILERS):
                if self._line() == b"\r\n":
                    return 0
            raise ClientGone("too many trailers")
        return size

    def _line(self) -> bytes:
        self._quickack()
        line = self._rfile.readline(_MAX_LINE)
        if not line.endswith(b"\r\n"):
            raise ClientGone("the chunked body ended without its terminating chunk")
        return line

    def _quickack(self) -> None:
        """A client with Nagle's algorithm on waits for our delayed ACK: 40 ms per small chunk."""
        if _QUICKACK is not None:
            self._sock.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
