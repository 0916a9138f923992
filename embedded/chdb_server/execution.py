"""From a request's options and body to what the engine does with them.

An INSERT whose data follows is held in a file until it is whole, and inserted
from there. Anything else is a query: read whole, run, and its result streamed
when the format allows it.
"""

from __future__ import annotations

import errno
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Callable, ContextManager, Iterator, List, Optional, Tuple

from . import sqltext
from .engine import Connection, Engine, Result, Stats
from .errors import (
    ACCESS_DENIED,
    INTO_OUTFILE_NOT_ALLOWED,
    LOGICAL_ERROR,
    NOT_ENOUGH_SPACE,
    NOT_IMPLEMENTED,
    QUERY_IS_TOO_LARGE,
    SYNTAX_ERROR,
    ClickHouseError,
)
from .formats import DEFAULT, HeaderLength, header_length
from .settings import RequestOptions

# How much of a body is searched for an INSERT's head, and how much of an
# INSERT's data is held in memory before it goes to a file.
_HEAD = 256 * 1024
_PREFETCH = 4 * 1024 * 1024
_MAX_QUERY = 8 * 1024 * 1024
# A result up to this size is answered whole, with its length and summary.
_WHOLE = 1024 * 1024

# One block whatever its size, so that an INSERT is one part per partition: all
# of it or nothing. With the defaults, a large one would leave the blocks behind
# that were written before it was aborted.
_ONE_BLOCK = {
    "max_insert_block_size": "1000000000",
    "min_insert_block_size_rows": "1000000000",
    "min_insert_block_size_bytes": "1000000000000",
}

_ROWS = (b"SELECT", b"WITH", b"FROM")
_WITH_OUTPUT = (*_ROWS, b"SHOW", b"DESCRIBE", b"DESC", b"EXPLAIN", b"EXISTS", b"CHECK")


@dataclass
class Whole:
    """A finished answer: bytes, the engine's result, or a file of `length` bytes."""

    data: bytes = b""
    result: Optional[Result] = None
    format: str = DEFAULT
    stats: Optional[Stats] = None
    file: Optional[BinaryIO] = None
    length: int = 0


class StreamWriter:
    """What the HTTP side gives us to write a long answer to."""

    def write(self, data: bytes) -> None:
        raise NotImplementedError

    def finish(self) -> None:
        raise NotImplementedError

    def fail(self, error: ClickHouseError) -> None:
        raise NotImplementedError


BeginStream = Callable[[str], StreamWriter]


class Executor:
    """Runs requests on the engine, a bounded number at a time."""

    def __init__(
        self, engine: Engine, place: Callable[[], ContextManager[None]], spool_dir: Path, max_result_bytes: int
    ) -> None:
        self.engine = engine
        self._place = place
        self._spool_dir = spool_dir
        self._max_result_bytes = max_result_bytes

    def run(
        self, options: RequestOptions, read_only: bool, chunks: Iterator[bytes], begin: BeginStream
    ) -> Optional[Whole]:
        """Answer one request; None when the answer was streamed through `begin`."""
        if read_only and options.settings.get("readonly") != "1":
            options.settings["readonly"] = "2"  # as ClickHouse does for GET and HEAD
        insert, text, data = _split(options.query, chunks)
        if insert is not None:
            return self._insert(options, insert, data)
        return self._query(options, text, begin)

    def _insert(self, options: RequestOptions, insert: sqltext.DataInsert, data: Iterator[bytes]) -> Whole:
        held, more = _take(data, _PREFETCH)
        _refuse_file_calls(insert.statement)
        if insert.format.upper() == "VALUES":  # its data may hold expressions: all of it is looked at
            if more:
                raise ClickHouseError(
                    QUERY_IS_TOO_LARGE,
                    f"VALUES of more than {_PREFETCH} bytes are not taken; send them in a format such as CSV.",
                )
            _refuse_file_calls(held)
        settings = {**_ONE_BLOCK, **options.settings}
        # The body whole before the engine sees any of it: what is cut off adds nothing.
        with tempfile.NamedTemporaryFile(dir=self._spool_dir, prefix="insert-") as file:
            try:
                file.write(held)
                if more:
                    for chunk in data:
                        file.write(chunk)
                file.flush()
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                    raise
                raise ClickHouseError(NOT_ENOUGH_SPACE, f"The rows can't be held in a file: {error}.") from error
            with self._place(), self.engine.connection(options.database, settings, options.params) as connection:
                stats = connection.insert(insert.statement, insert.settings, insert.format, Path(file.name))
        return Whole(stats=stats)

    def _query(self, options: RequestOptions, text: bytes, begin: BeginStream) -> Optional[Whole]:
        if not text.strip(b" \t\r\n\f;"):
            raise ClickHouseError(SYNTAX_ERROR, "Empty query.")
        _refuse_file_calls(text)
        if sqltext.writes_outfile(text):
            raise _no_outfile()
        if sqltext.reads_infile(text):
            raise ClickHouseError(ACCESS_DENIED, "FROM INFILE is not available: send the rows in the request's body.")
        word = sqltext.first_word(text)
        if word == b"INSERT" and sqltext.reads_input(text):
            # the engine would accept it, and insert nothing
            raise ClickHouseError(NOT_IMPLEMENTED, "INSERT ... SELECT from input() is not supported here.")
        name = sqltext.output_format(text) or options.default_format or DEFAULT
        header = header_length(name, text + b" " + " ".join(options.settings).encode()) if word in _ROWS else None
        settings = options.settings
        if header is None:
            settings = {"max_result_bytes": str(self._max_result_bytes), **settings}
        with self._place(), self.engine.connection(options.database, settings, options.params) as connection:
            self._check_statement(connection, text, word, options)
            if header is not None:
                stream = connection.stream(text, name)
                if stream is not None:
                    with closing(stream):  # before its connection closes
                        return self._stream(_joined(stream, header), name, options.wait_end_of_query, begin)
            result = connection.query(text, name)
            return Whole(result=result, format=name, stats=result.stats)

    @staticmethod
    def _check_statement(connection: Connection, text: bytes, word: bytes, options: RequestOptions) -> None:
        effect, count = connection.classify(text)
        if count > 1 or (count == 0 and sqltext.has_several_statements(text)):
            raise ClickHouseError(SYNTAX_ERROR, "Syntax error: multi-statements are not allowed; send one at a time.")
        if effect == "CONTROL" and word in _WITH_OUTPUT:  # the engine's own word for it
            raise _no_outfile()
        if options.session_id and (word in (b"SET", b"USE") or sqltext.is_temporary(text)):
            raise ClickHouseError(
                NOT_IMPLEMENTED,
                "This service keeps no sessions: SET, USE and temporary tables end with their request. "
                "Give settings and the database in the URL.",
            )

    def _stream(self, chunks: Iterator[bytes], name: str, wait: bool, begin: BeginStream) -> Optional[Whole]:
        held, more = _take(chunks, _WHOLE)
        if not more:
            return Whole(held, format=name)
        if wait:
            return self._spool(held, chunks, name)
        writer = begin(name)
        writer.write(held)
        try:
            for chunk in chunks:
                writer.write(chunk)
        except ClickHouseError as error:
            writer.fail(error)
        else:
            writer.finish()
        return None

    def _spool(self, held: bytes, chunks: Iterator[bytes], name: str) -> Whole:
        """wait_end_of_query=1: nothing is sent before all is known to be well."""
        file = tempfile.TemporaryFile(dir=self._spool_dir)
        try:
            length = file.write(held)
            for chunk in chunks:
                length += file.write(chunk)
            file.seek(0)
        except OSError as error:
            file.close()
            raise ClickHouseError(NOT_ENOUGH_SPACE, f"The result can't be held in a file: {error}.") from error
        except BaseException:
            file.close()
            raise
        return Whole(format=name, file=file, length=length)


def _split(query: bytes, chunks: Iterator[bytes]) -> Tuple[Optional[sqltext.DataInsert], bytes, Iterator[bytes]]:
    """(insert, -, its data) or (None, the query's text, -)."""
    insert = sqltext.data_insert(query)
    if insert is not None:
        inline = query[insert.data_start:]
        return insert, b"", _chain([inline, b"\n"] if inline.strip(b" \t\r\n\f;") else [], chunks)
    head, more = _take(chunks, _HEAD)
    if query and head:
        head = query + b"\n" + head
    text = head or query
    insert = sqltext.data_insert(text)
    if insert is not None:
        return insert, b"", _chain([text[insert.data_start:]], chunks)
    if more:
        rest, more = _take(chunks, _MAX_QUERY)
        text += rest
    if more or len(text) > _MAX_QUERY:
        raise ClickHouseError(QUERY_IS_TOO_LARGE, f"The query is larger than {_MAX_QUERY} bytes.")
    return None, text, iter(())


def _take(chunks: Iterator[bytes], enough: int) -> Tuple[bytes, bool]:
    """At least `enough` bytes if there are so many, and whether there may be more."""
    held: List[bytes] = []
    size = 0
    for chunk in chunks:
        held.append(chunk)
        size += len(chunk)
        if size > enough:
            return b"".join(held), True
    return b"".join(held), False


def _chain(first: List[bytes], rest: Iterator[bytes]) -> Iterator[bytes]:
    yield from (chunk for chunk in first if chunk)
    yield from rest


def _refuse_file_calls(text: bytes) -> None:
    if sqltext.calls_file(text):
        raise ClickHouseError(ACCESS_DENIED, "The function file() is not allowed here.")


def _no_outfile() -> ClickHouseError:
    return ClickHouseError(INTO_OUTFILE_NOT_ALLOWED, "INTO OUTFILE is not allowed.", status=400)


def _joined(chunks: Iterator[bytes], header_of: HeaderLength) -> Iterator[bytes]:
    """Chunks as one document: without the header each of them but the first repeats."""
    header: Optional[bytes] = None
    for chunk in chunks:
        if header is None:
            header = chunk[: header_of(chunk)]
            yield chunk
            continue
        if not chunk.startswith(header):
            raise ClickHouseError(LOGICAL_ERROR, "The engine changed the header in the middle of a result.")
        yield chunk[len(header):]
