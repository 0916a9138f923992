"""chDB, and nothing of HTTP. The only module that touches the engine.

What was found by experiment, and is relied on here:
* connections may be used from any thread, one thread at a time; calls release
  the GIL, and several connections work at once;
* opening one costs 0.1 ms; settings, the database and the output left behind by
  a failed statement belong to it, so every request gets a new one;
* the engine lives as long as any connection does: the anchor keeps it alive.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import sys
import threading
import time
import types
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Generator, Iterator, Optional

from .errors import (
    BAD_ARGUMENTS,
    LOGICAL_ERROR,
    UNKNOWN_DATABASE,
    ClickHouseError,
    set_engine_version,
)
from .settings import quote, quote_identifier, set_statement

log = logging.getLogger(__name__)

_NOT_STREAMABLE = "Streaming query is not supported"


def _import_chdb() -> Any:
    """chDB's extension module alone: importing the package would open a database in memory."""
    os.environ["TZ"] = "UTC"  # the engine's server time zone, as in ClickHouse's images; read on loading
    time.tzset()
    spec = importlib.util.find_spec("chdb")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(
            "chDB is missing: pip install -r embedded/requirements.txt, then "
            "pip install --no-deps -r embedded/requirements-nodeps.txt"
        )
    package = types.ModuleType("chdb")
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules["chdb"] = package
    module = importlib.import_module("chdb._chdb")
    module.set_signal_handlers_enabled(0)  # signals are ours
    return module


@dataclass
class Stats:
    """What a statement did, for X-ClickHouse-Summary."""

    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    result_rows: int = 0
    result_bytes: int = 0
    elapsed_ns: int = 0

    @classmethod
    def of(cls, result: Any) -> "Stats":
        return cls(
            read_rows=result.storage_rows_read(),
            read_bytes=result.storage_bytes_read(),
            written_rows=result.rows_written(),
            written_bytes=result.bytes_written(),
            result_rows=result.rows_read(),
            result_bytes=result.size(),
            elapsed_ns=int(result.elapsed() * 1e9),
        )

    def as_fields(self) -> Dict[str, str]:
        return {name: str(value) for name, value in vars(self).items()}


class Result:
    """The whole output of a statement.

    `data` points into the engine's memory and is valid only while this object
    lives: the view itself holds nothing.
    """

    def __init__(self, raw: Any) -> None:
        self.stats = Stats.of(raw)
        self._owner = raw.get_memview()
        self.data: memoryview = self._owner.view()


class Connection:
    """One request's connection."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    def query(self, sql: bytes, output_format: str) -> Result:
        """Run a statement to its end."""
        with _translated():
            return Result(_checked(self._raw.query(sql, output_format)))

    def stream(self, sql: bytes, output_format: str) -> Optional[Generator[bytes, None, None]]:
        """A query's output in formatted chunks; None when the engine can't stream the statement."""
        try:
            with _translated():
                stream = _checked(self._raw.send_query(sql, output_format))
        except ClickHouseError as error:
            if error.code == BAD_ARGUMENTS and _NOT_STREAMABLE in error.text:
                return None
            raise
        return self._chunks(stream)

    def _chunks(self, stream: Any) -> Generator[bytes, None, None]:
        ended = False
        try:
            while True:
                with _translated():
                    result = _checked(self._raw.streaming_fetch_result(stream))
                if result is None or (result.size() == 0 and result.rows_read() == 0):
                    ended = True
                    return
                if result.size():
                    yield result.bytes()
        except ClickHouseError:
            ended = True
            raise
        finally:
            if not ended:  # the reader went away
                self._raw.streaming_cancel_query(stream)

    def insert(self, statement: bytes, settings: bytes, input_format: str, path: Path) -> Stats:
        """Add the rows in a file.

        Not `send_insert`, by which rows could be streamed: its `insert_done` reports success also
        when the table refused the rows (a constraint, too many partitions, a full disk).
        """
        sql = b"%s FROM INFILE %s COMPRESSION 'none' %s FORMAT %s" % (
            statement,
            quote(str(path)),
            settings,
            input_format.encode(),
        )
        return self.query(sql, "Null").stats

    def classify(self, sql: bytes) -> "tuple[str, int]":
        """(class, number of statements); UNKNOWN and 0 when the engine can't parse it."""
        with _translated():
            found = self._raw.classify_query(sql)
        return found["query_class"].name, found["statement_count"]


class Engine:
    """The engine on one data directory."""

    def __init__(self, connection_string: str) -> None:
        self._string = connection_string
        self._chdb = _import_chdb()
        self._anchor_lock = threading.Lock()
        with _translated():
            self._anchor = self._chdb.connect(connection_string)
        self.version = self._ask("SELECT version()")
        self.timezone = self._ask("SELECT timezone()")
        set_engine_version(self.version)

    def _ask(self, sql: str) -> str:
        with self._anchor_lock, _translated():
            answer: bytes = _checked(self._anchor.query(sql, "TabSeparatedRaw")).bytes()
        return answer.decode().strip()

    @contextmanager
    def connection(self, database: str, settings: Dict[str, str], params: Dict[str, str]) -> Iterator[Connection]:
        """A connection set up for one request. `readonly`, if set, takes effect last."""
        raw = self._open()
        try:
            if database and database != "default":
                with _translated():
                    _checked(raw.query(b"USE " + quote_identifier(database), "Null"))
            plain = {name: value for name, value in settings.items() if name != "readonly"}
            last = {name: value for name, value in settings.items() if name == "readonly"}
            for statement in (set_statement(plain, params), set_statement(last)):
                if statement:
                    with _translated():
                        _checked(raw.query(statement, "Null"))
            yield Connection(raw)
        finally:
            raw.close()

    def _open(self) -> Any:
        try:
            with _translated():
                return self._chdb.connect(self._string)
        except ClickHouseError as error:
            if error.code != UNKNOWN_DATABASE:
                raise
        # somebody dropped `default`, without which the engine takes no connections
        self._ask("CREATE DATABASE IF NOT EXISTS default ENGINE = Atomic")
        with _translated():
            return self._chdb.connect(self._string)

    def kill_queries(self) -> None:
        """Ask everything that runs to stop."""
        try:
            self._ask("KILL QUERY WHERE 1 ASYNC FORMAT Null")
        except ClickHouseError as error:
            log.warning("cannot stop running queries: %s", error)

    def close(self) -> None:
        with self._anchor_lock:
            self._anchor.close()


def _checked(result: Any) -> Any:
    """chDB raises most errors; some results carry theirs."""
    if result is not None and result.has_error():
        raise ClickHouseError.from_engine(RuntimeError(result.error_message()))
    return result


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise ClickHouseError.from_engine(error) from None
    except UnicodeDecodeError as error:  # an engine's message that quotes bytes of a row
        raise ClickHouseError.from_engine(RuntimeError(error.object.decode(errors="replace"))) from None
    except (TypeError, ValueError, UnicodeError) as error:  # from the binding itself
        raise ClickHouseError(LOGICAL_ERROR, f"The engine's binding refused a call: {error}") from error
