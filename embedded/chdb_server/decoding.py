"""Undoing what the client did to the body: Content-Encoding, and ClickHouse's own frames.

Each decoder takes and gives an iterator of byte chunks, counts what it makes
against the body limit (a small body may unpack to a huge one), and refuses
input that ends in the middle.
"""

from __future__ import annotations

import struct
import zlib
from typing import Iterator

import lz4.block
import lz4.frame

from .errors import (
    CANNOT_DECOMPRESS,
    CANNOT_READ_ALL_DATA,
    NOT_IMPLEMENTED,
    TOO_MANY_BYTES,
    UNKNOWN_COMPRESSION_METHOD,
    ClickHouseError,
)

Chunks = Iterator[bytes]

_PIECE = 1024 * 1024
# checksum (CityHash128), method, size of the packed block with these last 9 bytes, size unpacked
_HEADER = struct.Struct("<16sBII")
_METHOD_NONE = 0x02
_METHOD_LZ4 = 0x82
_METHOD_ZSTD = 0x90
_MAX_FRAME = 256 * 1024 * 1024


def content_encoding(chunks: Chunks, name: str, limit: int) -> Chunks:
    """Decode an HTTP Content-Encoding."""
    name = name.strip().lower()
    if name in ("", "identity"):
        return chunks
    if name in ("gzip", "x-gzip"):
        return _bounded(_zlib(chunks, zlib.MAX_WBITS | 16), limit)
    if name == "deflate":
        return _bounded(_zlib(chunks, zlib.MAX_WBITS), limit)
    if name == "lz4":
        return _bounded(_lz4_frames(chunks), limit)
    raise ClickHouseError(
        NOT_IMPLEMENTED, f"Content-Encoding '{name}' is not supported here; use lz4, gzip or deflate."
    )


def native_frames(chunks: Chunks, limit: int) -> Chunks:
    """Decode `decompress=1`. The checksum is not verified: TCP and LZ4's bounds guard the data."""
    return _bounded(_native_frames(chunks), limit)


def _bounded(chunks: Chunks, limit: int) -> Chunks:
    total = 0
    for chunk in chunks:
        total += len(chunk)
        if total > limit:
            raise ClickHouseError(
                TOO_MANY_BYTES,
                f"The request body unpacks to more than {limit} bytes; send less at once, or raise --max-body-bytes.",
                status=413,
            )
        yield chunk


def _native_frames(chunks: Chunks) -> Chunks:
    held = bytearray()
    for chunk in chunks:
        held += chunk
        start = 0
        while len(held) - start >= _HEADER.size:
            _, method, packed, raw = _HEADER.unpack_from(held, start)
            if packed < 9 or packed > _MAX_FRAME or raw > _MAX_FRAME:
                raise _corrupt(f"a compressed block of {packed} bytes unpacking to {raw}")
            end = start + 16 + packed
            if len(held) < end:
                break
            yield _unpack(method, bytes(held[start + _HEADER.size:end]), raw)
            start = end
        del held[:start]
    if held:
        raise ClickHouseError(
            CANNOT_READ_ALL_DATA, "The body ends in the middle of a compressed block.", status=400
        )


def _unpack(method: int, packed: bytes, raw: int) -> bytes:
    if method == _METHOD_LZ4:
        try:
            data = lz4.block.decompress(packed, uncompressed_size=raw)
        except lz4.block.LZ4BlockError as error:
            raise _corrupt(str(error)) from error
    elif method == _METHOD_NONE:
        data = packed
    else:
        hint = " (ZSTD; use LZ4)" if method == _METHOD_ZSTD else ""
        raise ClickHouseError(
            UNKNOWN_COMPRESSION_METHOD, f"Unknown compression method 0x{method:02x}{hint}.", status=400
        )
    if len(data) != raw:
        raise _corrupt(f"a block unpacked to {len(data)} bytes where {raw} were announced")
    return data


def _corrupt(what: str) -> ClickHouseError:
    return ClickHouseError(CANNOT_DECOMPRESS, f"Cannot decompress the body: {what}.", status=400)


def _zlib(chunks: Chunks, window: int) -> Chunks:
    decoder = zlib.decompressobj(window)
    fresh = True
    for data in chunks:
        while data:
            if decoder.eof:  # a further gzip member
                decoder = zlib.decompressobj(window)
            try:
                piece = decoder.decompress(data, _PIECE)
            except zlib.error as error:
                raise _corrupt(str(error)) from error
            fresh = False
            data = decoder.unused_data if decoder.eof else decoder.unconsumed_tail
            if piece:
                yield piece
    if not fresh and not decoder.eof:
        raise _corrupt("the stream ends early")


def _lz4_frames(chunks: Chunks) -> Chunks:
    decoder = lz4.frame.LZ4FrameDecompressor()
    fresh = True
    for data in chunks:
        while data or not (decoder.needs_input or decoder.eof):
            if decoder.eof:  # a further frame
                decoder = lz4.frame.LZ4FrameDecompressor()
            try:
                piece = decoder.decompress(data, max_length=_PIECE)
            except RuntimeError as error:
                raise _corrupt(str(error)) from error
            fresh = False
            data = decoder.unused_data or b"" if decoder.eof else b""
            if piece:
                yield piece
    if not fresh and not decoder.eof:
        raise _corrupt("the stream ends early")
