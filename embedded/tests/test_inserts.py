"""Inserts: every way data arrives, and that what did not arrive whole adds nothing."""

from __future__ import annotations

import gzip
import json
import struct
import threading
import zlib
from typing import Callable, Iterator, List

import lz4.block
import lz4.frame
import pytest

from service import DEADLINE, Service, chunk, head, row_binary, until

INSERT = "INSERT INTO t (a, b) FORMAT RowBinary"
ROWS = [row_binary(n, b"row %d" % n) for n in range(1000)]


def native_frame(data: bytes, method: int = 0x82) -> bytes:
    """A block as `decompress=1` takes it (the checksum is not looked at)."""
    packed = lz4.block.compress(data, store_size=False) if method == 0x82 else data
    return b"\0" * 16 + struct.pack("<BII", method, len(packed) + 9, len(data)) + packed


def test_by_length(table: Service) -> None:
    answer = table.insert(INSERT, b"".join(ROWS))
    assert (answer.status, answer.content) == (200, b"")
    assert json.loads(answer.headers["X-ClickHouse-Summary"])["written_rows"] == "1000"
    assert table.sql("SELECT count(), sum(a), any(b) LIKE 'row %' FROM t") == "1000\t499500\t1"


def test_in_chunks(table: Service) -> None:
    whole = b"".join(ROWS)
    answer = table.insert_chunked(INSERT, (whole[i:i + 777] for i in range(0, len(whole), 777)))
    assert answer.status == 200
    assert table.count() == 1000


def test_in_chunks_with_extensions_and_trailers(table: Service) -> None:
    sock = table.socket()
    body = b"".join(ROWS)
    sock.sendall(head(INSERT, "Transfer-Encoding: chunked"))
    sock.sendall(b"%x;name=value\r\n%s\r\n0\r\nX-Trailer: 1\r\n\r\n" % (len(body), body))
    assert sock.recv(1000).startswith(b"HTTP/1.1 200")
    assert table.count() == 1000


def test_native_compression(table: Service) -> None:
    """Frames cut anywhere by the chunks that carry them."""
    body = native_frame(b"".join(ROWS[:500])) + native_frame(b"".join(ROWS[500:]), method=0x02)
    assert table.insert(INSERT, body, decompress="1").status == 200
    assert table.insert_chunked(INSERT, (body[i:i + 11] for i in range(0, len(body), 11)), decompress="1").status == 200
    assert table.count() == 2000


@pytest.mark.parametrize(
    "encoding, pack",
    [("gzip", gzip.compress), ("deflate", zlib.compress), ("lz4", lz4.frame.compress)],
)
def test_content_encoding(table: Service, encoding: str, pack: Callable[[bytes], bytes]) -> None:
    body = pack(b"".join(ROWS[:500])) + (pack(b"".join(ROWS[500:])) if encoding != "deflate" else b"")
    answer = table.insert(INSERT, body, headers={"Content-Encoding": encoding})
    assert answer.status == 200, answer.text
    assert table.count() == (1000 if encoding != "deflate" else 500)
    for damaged in (body[:-3], b"nonsense"):
        assert table.insert(INSERT, damaged, headers={"Content-Encoding": encoding}).failure == (400, 271)
    assert table.insert(INSERT, body, headers={"Content-Encoding": "br"}).failure == (501, 48)
    assert table.count() == (1000 if encoding != "deflate" else 500)


def test_where_the_data_is(table: Service) -> None:
    """In the body behind the query, in the URL, in both."""
    table.sql("INSERT INTO t FORMAT CSV\n1,a\n2,b\n")
    table.sql("INSERT INTO t FORMAT JSONEachRow {\"a\":3,\"b\":\"c\"}")
    table.sql("INSERT INTO t (a, b) VALUES (4, 'it''s'), (2 + 3, upper('e'));")
    table.sql("/* comment */ insert into default.t -- FORMAT TSV\n values (6, 'f')")
    assert table.insert("INSERT INTO t FORMAT CSV 7,g", b"8,h\n").status == 200
    assert table.insert("INSERT INTO t VALUES (9, 'i')", b"").status == 200
    assert table.insert("INSERT INTO t FORMAT CSV;", b"10,j\n").status == 200
    assert table.insert("INSERT INTO t", b"FORMAT CSV\n11,k\n").status == 200
    assert table.insert("INSERT INTO t SETTINGS max_threads = 1 FORMAT TSV", b"12\tl\n").status == 200
    assert table.sql("SELECT groupArray(a), groupArray(b) FROM (SELECT * FROM t ORDER BY a)") == (
        "[1,2,3,4,5,6,7,8,9,10,11,12]\t['a','b','c','it\\'s','E','f','g','h','i','j','k','l']"
    )


def test_blank_bytes_are_data(service: Service) -> None:
    """A RowBinary row may look like white space."""
    service.sql("CREATE TABLE u (a UInt8) ENGINE = MergeTree ORDER BY a")
    assert service.insert("INSERT INTO u FORMAT RowBinary", b"\n \t;").status == 200
    service.post(b"INSERT INTO u FORMAT RowBinary\n\n\r")
    assert service.sql("SELECT groupArray(a) FROM (SELECT a FROM u ORDER BY a)") == "[9,10,10,13,32,59]"


def test_no_rows(table: Service) -> None:
    assert table.insert(INSERT, b"").status == 200
    assert table.insert_chunked(INSERT, []).status == 200
    assert table.count() == 0


def test_parameters(table: Service) -> None:
    assert table.insert("INSERT INTO {t:Identifier} FORMAT CSV", b"1,a\n", param_t="t").status == 200
    assert table.post(b"INSERT INTO t VALUES ({n:UInt32}, {s:String})", param_n="2", param_s="it's").status == 200
    assert table.sql("SELECT * FROM t ORDER BY a") == "1\ta\n2\tit\\'s"


def test_insert_select(table: Service) -> None:
    answer = table.post(b"INSERT INTO t SELECT number, 'x' FROM numbers(10)")
    assert answer.status == 200
    assert json.loads(answer.headers["X-ClickHouse-Summary"])["written_rows"] == "10"
    assert table.count() == 10


# what must add nothing


def test_truncated_chunks_add_nothing(table: Service) -> None:
    body = b"".join(ROWS)
    endings = [
        chunk(body),  # no terminating chunk
        chunk(body) + b"0\r\n",  # half of one
        b"%x\r\n" % (len(body) + 10) + body,  # a chunk that is not full
        chunk(body) + b"zz\r\n",  # not a size
        chunk(body)[:-2] + b"XX0\r\n\r\n",  # a chunk longer than it said
    ]
    for ending in endings:
        sock = table.socket()
        sock.sendall(head(INSERT, "Transfer-Encoding: chunked") + ending)
        sock.shutdown(1)
        assert sock.recv(1000) == b""  # nobody is told of success
        sock.close()
    assert table.count() == 0


def test_a_cut_connection_adds_nothing(table: Service) -> None:
    body = b"".join(ROWS)
    for framing in (f"Content-Length: {len(body) + 1}", "Transfer-Encoding: chunked"):
        sock = table.socket()
        sock.sendall(head(INSERT, framing) + (chunk(body) if "chunked" in framing else body))
        sock.setsockopt(1, 13, struct.pack("ii", 1, 0))  # SO_LINGER: closing resets
        sock.close()
    until("both are noted", lambda: sum("nothing was added" in line for line in table.log) == 2)
    assert table.count() == 0


def big_rows(count: int) -> Iterator[bytes]:
    """Rows enough for several blocks of ClickHouse's usual size, in pieces of 50,000."""
    for start in range(0, count, 50_000):
        yield b"".join(row_binary(n, b"0123456789") for n in range(start, start + 50_000))


def test_a_large_insert_that_is_cut_adds_nothing(table: Service) -> None:
    """More rows than a block: with ClickHouse's defaults the first blocks would stay."""
    sock = table.socket()
    sock.sendall(head(INSERT, "Transfer-Encoding: chunked"))
    for piece in big_rows(3_000_000):
        sock.sendall(chunk(piece))
    sock.close()
    until("the engine lets go", lambda: table.running("INSERT INTO t") == 0)
    assert table.count() == 0
    assert table.sql("SELECT count() FROM system.parts WHERE table = 't' AND rows > 0") == "0"


def test_a_large_insert_with_a_bad_end_adds_nothing(table: Service) -> None:
    def rows() -> Iterator[bytes]:
        yield from big_rows(2_500_000)
        yield b"\x01\x02"

    assert table.insert_chunked(INSERT, rows()).failure == (500, 33)
    assert table.count() == 0

    def lines() -> Iterator[bytes]:
        for start in range(0, 2_500_000, 50_000):
            yield b"".join(b'{"a":%d,"b":"x"}\n' % n for n in range(start, start + 50_000))
        yield b'{"a":"no number"}\n'

    assert table.insert_chunked("INSERT INTO t FORMAT JSONEachRow", lines()).failure == (400, 27)
    assert table.count() == 0


def test_a_large_insert_is_one_part(table: Service) -> None:
    assert table.insert_chunked(INSERT, big_rows(2_500_000)).status == 200
    assert table.sql("SELECT count(), sum(rows) FROM system.parts WHERE table = 't' AND active") == "1\t2500000"


@pytest.mark.parametrize(
    "query, data, status, code",
    [
        ("INSERT INTO t FORMAT CSV", b"1,a\nx,b\n", 400, 27),
        ("INSERT INTO t FORMAT JSONEachRow", b'{"a":1}\n{"a":', 500, 32),
        (INSERT, ROWS[0] + ROWS[1][:-1], 500, 33),
        ("INSERT INTO t FORMAT RowBinaryWithNamesAndTypes", b"\x01\x01a\x06UInt16\x01\x00", 400, 117),
        ("INSERT INTO nosuch FORMAT CSV", b"1,a\n", 404, 60),
        ("INSERT INTO nosuch.t FORMAT CSV", b"1,a\n", 404, 81),
        ("INSERT INTO t (nosuch) FORMAT CSV", b"1\n", 500, 16),
        ("INSERT INTO t FORMAT NoSuch", b"1\n", 404, 73),
        ("INSERT INTO t VALUES", b"(1, 'a'), (nosuch(2), 'b')", 404, 46),
    ],
)
def test_bad_data_adds_nothing(table: Service, query: str, data: bytes, status: int, code: int) -> None:
    for answer in (table.insert(query, data), table.insert_chunked(query, [data[:3], data[3:]])):
        assert answer.failure == (status, code), answer.text
    assert table.count() == 0


@pytest.mark.parametrize(
    "body, code",
    [
        (native_frame(b"".join(ROWS))[:-1], 33),
        (native_frame(b"".join(ROWS)) + b"\0" * 10, 33),
        (native_frame(b"".join(ROWS), method=0x90), 89),
        (b"\0" * 16 + struct.pack("<BII", 0x82, 20, 50) + b"\xff" * 11, 271),
        (b"\0" * 16 + struct.pack("<BII", 0x82, 3, 50) + b"\xff" * 40, 271),
        (b"\0" * 16 + struct.pack("<BII", 0x02, 14, 50) + b"\xff" * 5, 271),
    ],
)
def test_bad_frames_add_nothing(table: Service, body: bytes, code: int) -> None:
    assert table.insert(INSERT, body, decompress="1").failure == (400, code)
    assert table.count() == 0


def test_the_answer_to_an_error_is_seen_by_a_client_that_still_sends(table: Service) -> None:
    """20 MB for a table that is not there: read away, then answered, and the connection kept."""
    piece = b"x" * 200_000
    sock = table.socket()
    sock.sendall(head("INSERT INTO nosuch FORMAT CSV", "Transfer-Encoding: chunked"))
    for _ in range(100):
        sock.sendall(chunk(piece))
    sock.sendall(b"0\r\n\r\n")
    assert sock.recv(1000).startswith(b"HTTP/1.1 404")
    sock.sendall(b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert sock.recv(1000).startswith(b"HTTP/1.1 200")


def test_deduplication_token(service: Service) -> None:
    """The same token twice is one set of rows; the same token with other rows adds nothing."""
    service.sql(
        "CREATE TABLE t (a UInt32, b String) ENGINE = MergeTree ORDER BY a "
        "SETTINGS non_replicated_deduplication_window = 100"
    )
    for token, data, count in (
        ("one", b"1,a\n2,b\n", 2),
        ("one", b"1,a\n2,b\n", 2),
        ("one", b"3,c\n", 2),
        ("two", b"1,a\n2,b\n", 4),
    ):
        answer = service.insert("INSERT INTO t FORMAT CSV", data, insert_deduplication_token=token)
        assert answer.status == 200
        assert service.count() == count
    assert service.terminate() == 0


def test_deduplication_outlives_kill_9(start: Callable[..., Service]) -> None:
    service = start()
    service.sql(
        "CREATE TABLE t (a UInt32, b String) ENGINE = MergeTree ORDER BY a "
        "SETTINGS non_replicated_deduplication_window = 100"
    )
    assert service.insert("INSERT INTO t FORMAT CSV", b"1,a\n", insert_deduplication_token="x").status == 200
    service.kill()
    service = start()
    assert service.insert("INSERT INTO t FORMAT CSV", b"1,a\n", insert_deduplication_token="x").status == 200
    assert service.count() == 1


def test_inserts_and_queries_at_once(table: Service) -> None:
    """Eight clients insert and count; every acknowledged row is there, once."""
    failures: List[object] = []

    def client(number: int) -> None:
        for batch in range(10):
            first = (number * 10 + batch) * 100
            data = b"".join(row_binary(first + i, b"x" * 100) for i in range(100))
            answer = table.insert_chunked(INSERT, [data[:5000], data[5000:]])
            if answer.status != 200:
                failures.append(answer.text)
            mine = "SELECT count() FROM t WHERE a >= {f:UInt32} AND a < {f:UInt32} + 100"
            seen = int(table.sql(mine, param_f=str(first)))
            if seen != 100:
                failures.append((first, seen))

    clients = [threading.Thread(target=client, args=(n,)) for n in range(8)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join(DEADLINE * 2)
    assert failures == []
    assert table.sql("SELECT count(), uniqExact(a) FROM t") == "8000\t8000"


@pytest.mark.parametrize("rows", [b"12345\t\xff\n", b"1\ta\n" * 3 + b"12345\t\xff\n"])
def test_rows_that_the_table_refuses_are_an_error_and_add_nothing(table: Service, rows: bytes) -> None:
    """The engine's streaming inserts report success here."""
    table.post(b"CREATE TABLE strict (n UInt32, s String, CONSTRAINT short CHECK n < 10000) ENGINE = MergeTree ORDER BY n")
    assert table.insert("INSERT INTO strict FORMAT TSV", rows).failure == (500, 469)
    assert table.post(b"SELECT count() FROM strict").text.strip() == "0"


def test_too_many_partitions_are_an_error_and_add_nothing(table: Service) -> None:
    table.post(b"CREATE TABLE parts (n UInt32) ENGINE = MergeTree PARTITION BY n ORDER BY n")
    rows = b"".join(b"%d\n" % n for n in range(200))
    assert table.insert("INSERT INTO parts FORMAT TSV", rows).failure == (500, 252)
    assert table.post(b"SELECT count() FROM parts").text.strip() == "0"
