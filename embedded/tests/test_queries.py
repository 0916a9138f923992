"""Queries: formats, parameters, settings, databases, streaming, errors."""

from __future__ import annotations

import gzip
import http.client
import json
import re
import threading
import time
from typing import Callable, Dict

import lz4.frame
import pytest

from service import DEADLINE, Service, until


def test_health(service: Service) -> None:
    for path in ("/ping", "/replicas_status", "/"):
        answer = service.get(path)
        assert (answer.status, answer.text) == (200, "Ok.\n")
    assert service.request("HEAD", path="/ping").content == b""
    missing = service.get("/nowhere")
    assert missing.status == 404 and "/ping" in missing.text


def test_ready_line(service: Service) -> None:
    assert service.ready["ready"] is True
    assert service.ready["host"] == "127.0.0.1"
    assert service.ready["pid"] == service.process.pid
    assert service.ready["data"] == str(service.data)
    assert service.ready["version"] == service.sql("SELECT version()")


def test_where_the_query_is(service: Service) -> None:
    assert service.get(query="SELECT 1").text == "1\n"
    assert service.post(b"SELECT 2").text == "2\n"
    assert service.post(b"+ 2", query="SELECT 1").text == "3\n"  # joined by a line end
    assert service.post(b"", query="SELECT 4").text == "4\n"


def test_headers(service: Service) -> None:
    answer = service.post(b"SELECT number FROM numbers(10)", query_id="my-id")
    assert answer.headers["X-ClickHouse-Query-Id"] == "my-id"
    assert answer.headers["X-ClickHouse-Format"] == "TabSeparated"
    assert answer.headers["X-ClickHouse-Timezone"] == "UTC"
    assert answer.headers["X-ClickHouse-Server-Display-Name"]
    assert answer.headers["Content-Type"] == "text/tab-separated-values; charset=UTF-8"
    summary = json.loads(service.post(b"SELECT 1 FORMAT JSON").headers["X-ClickHouse-Summary"])
    assert summary["result_rows"] == "1"


def test_query_id_can_not_split_the_answer(service: Service) -> None:
    answer = service.post(b"SELECT 1", query_id="a\r\nX-Evil: 1")
    assert answer.status == 200 and "X-Evil" not in answer.headers


FORMATS: Dict[str, bytes] = {
    "TabSeparated": b"0\tx\n1\tx\n",
    "TSVWithNamesAndTypes": b"n\ts\nUInt64\tString\n0\tx\n1\tx\n",
    "CSV": b'0,"x"\n1,"x"\n',
    "CSVWithNames": b'"n","s"\n0,"x"\n1,"x"\n',
    "JSONEachRow": b'{"n":0,"s":"x"}\n{"n":1,"s":"x"}\n',
    "JSONCompactEachRowWithNames": b'["n", "s"]\n[0, "x"]\n[1, "x"]\n',
    "RowBinary": b"\0" * 8 + b"\x01x" + b"\x01" + b"\0" * 7 + b"\x01x",
    "RowBinaryWithNamesAndTypes": b"\x02\x01n\x01s\x06UInt64\x06String"
    + b"\0" * 8 + b"\x01x" + b"\x01" + b"\0" * 7 + b"\x01x",
    "Values": b"(0,'x'),(1,'x')",
    "Null": b"",
}


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_formats(service: Service, name: str) -> None:
    """By clause and by default_format; in one chunk and in one chunk per row."""
    sql = "SELECT number AS n, 'x' AS s FROM numbers(2)"
    for block in ("65409", "1"):
        by_clause = service.post(f"{sql} FORMAT {name}".encode(), max_block_size=block)
        assert (by_clause.status, by_clause.content) == (200, FORMATS[name])
        assert by_clause.headers["X-ClickHouse-Format"] == name
        by_default = service.post(sql.encode(), default_format=name, max_block_size=block)
        assert by_default.content == FORMATS[name]


def test_formats_that_are_one_document(service: Service) -> None:
    answer = service.post(b"SELECT number AS n FROM numbers(100) FORMAT JSON", max_block_size="1")
    assert [row["n"] for row in json.loads(answer.text)["data"]] == list(range(100))
    assert answer.headers["Content-Type"].startswith("application/json")
    parquet = service.post(b"SELECT number FROM numbers(100) FORMAT Parquet", max_block_size="1").content
    assert parquet.startswith(b"PAR1") and parquet.endswith(b"PAR1") and parquet.count(b"PAR1") == 2
    array = service.post(
        b"SELECT number AS n FROM numbers(3) FORMAT JSONEachRow",
        max_block_size="1", output_format_json_array_of_rows="1",
    )
    assert json.loads(array.text) == [{"n": 0}, {"n": 1}, {"n": 2}]
    totals = service.sql("SELECT number, count() FROM numbers(2) GROUP BY number WITH TOTALS ORDER BY number")
    assert totals == "0\t1\n1\t1\n\n0\t2"


def test_a_document_is_its_own_until_it_is_sent(service: Service) -> None:
    """Results that are not streamed are sent from the engine's memory: later ones must not write over it."""
    sql = "SELECT {first:UInt64} + number AS n FROM numbers(1000000) FORMAT JSONCompact"
    slow = service.socket()
    text = sql.replace("{first:UInt64}", "5000000").encode()
    slow.sendall(b"POST / HTTP/1.1\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(text) + text)
    content = slow.recv(1)  # it is being sent, and is much larger than what a socket holds
    for first in ("1000000", "2000000", "3000000", "4000000"):
        rows = json.loads(service.post(sql.encode(), param_first=first).text)["data"]
        assert rows[0] == [int(first)] and rows[-1] == [int(first) + 999_999]
    content += b"".join(iter(lambda: slow.recv(1 << 20), b""))
    assert json.loads(content.partition(b"\r\n\r\n")[2])["data"] == [[5_000_000 + n] for n in range(1_000_000)]


def test_empty_results_keep_their_header(service: Service) -> None:
    sql = "SELECT number AS n FROM numbers(0) FORMAT "
    assert service.post((sql + "CSVWithNames").encode()).text == '"n"\n'
    assert service.post((sql + "RowBinaryWithNamesAndTypes").encode()).content == b"\x01\x01n\x06UInt64"
    assert service.post((sql + "RowBinary").encode()).content == b""


@pytest.mark.parametrize("wait", ["0", "1"])
@pytest.mark.parametrize("encoding", ["identity", "gzip", "lz4"])
def test_big_results(service: Service, encoding: str, wait: str) -> None:
    """Streamed, and held back whole with wait_end_of_query; as they are, and compressed."""
    answer = service.post(
        b"SELECT number AS n, toString(number) AS s FROM numbers(300000) FORMAT TSVWithNames",
        headers={"Accept-Encoding": encoding}, wait_end_of_query=wait,
    )
    assert answer.status == 200
    assert ("Transfer-Encoding" in answer.headers) == (wait == "0")
    unpack: Dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.decompress, "lz4": lz4.frame.decompress}
    packed = answer.headers.get("Content-Encoding")
    if wait == "0":
        assert packed == (None if encoding == "identity" else encoding)
    content = unpack[packed](answer.content) if packed else answer.content
    assert content == b"n\ts\n" + b"".join(b"%d\t%d\n" % (n, n) for n in range(300000))


def test_compression_of_whole_results(service: Service) -> None:
    sql = b"SELECT repeat('x', 5000)"
    answer = service.post(sql, headers={"Accept-Encoding": "gzip, lz4"})
    assert answer.headers["Content-Encoding"] == "lz4"
    assert lz4.frame.decompress(answer.content) == b"x" * 5000 + b"\n"
    off = service.post(sql, headers={"Accept-Encoding": "lz4"}, enable_http_compression="0")
    assert "Content-Encoding" not in off.headers
    refused = service.post(sql, headers={"Accept-Encoding": "lz4;q=0"})
    assert "Content-Encoding" not in refused.headers
    assert service.post(sql, compress="1").failure == (501, 48)


def test_error_in_the_middle_of_a_stream(service: Service) -> None:
    """200 is said already: the error follows the data, and the body never ends well."""
    sql = b"SELECT throwIf(number = 900000, 'boom') FROM numbers(1000000)"
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=DEADLINE)
    connection.request("POST", "/?max_block_size=1000", sql)
    answer = connection.getresponse()
    assert answer.status == 200
    tag = answer.headers["X-ClickHouse-Exception-Tag"].encode()
    with pytest.raises(http.client.IncompleteRead) as failed:
        answer.read()
    content = failed.value.partial
    connection.close()
    mark = b"\r\n__exception__\r\n"
    data, block = content.split(mark + tag + b"\r\n")
    assert set(data) == set(b"0\n")
    found = re.fullmatch(rb"(Code: 395\. DB::Exception: .*boom.*\n)([0-9]+) " + tag + mark, block, re.DOTALL)
    assert found and len(found.group(1)) == int(found.group(2))
    held = service.post(sql, max_block_size="1000", wait_end_of_query="1")
    assert held.failure == (500, 395)


@pytest.mark.parametrize(
    "sql, status, code",
    [
        ("SELECT * FROM nosuch", 404, 60),
        ("SELECT nosuch", 404, 47),
        ("SELECT nosuch(1)", 404, 46),
        ("SELECT 1 FORMAT NoSuch", 404, 73),
        ("SLECT 1", 400, 62),
        ("1", 400, 62),
        ("", 400, 62),
        ("SELECT 1; SELECT 2", 400, 62),
        ("DROP TABLE t; )(", 400, 62),
        ("CREATE TABLE u (a UInt8) ENGINE = Memory; DROP TABLE t", 400, 62),
        ("SELECT toUInt8('x')", 400, 6),
        ("SELECT {p:UInt8}", 500, 456),
        ("SELECT throwIf(1)", 500, 395),
        ("INSERT INTO t SELECT * FROM input('a UInt32, b String') FORMAT CSV\n1,x", 501, 48),
    ],
)
def test_errors(table: Service, sql: str, status: int, code: int) -> None:
    answer = table.post(sql.encode())
    assert answer.failure == (status, code), answer.text
    assert answer.text.startswith(f"Code: {code}. DB::Exception: ")
    assert answer.text.endswith(f"(version {table.ready['version']})\n")
    assert table.count() == 0


def test_parameters(service: Service) -> None:
    sql = "SELECT {s:String}, {n:UInt8} + 1, {a:Array(String)}, {i:Identifier} FROM (SELECT 7 AS seven)"
    url = service.sql(sql, param_s="it's", param_n="41", param_a="['x','y\\'z']", param_i="seven")
    assert url == "it\\'s\t42\t['x','y\\'z']\t7"
    assert service.sql("SELECT length({s:String})", param_s="tab\\there") == "8"  # escaped, as TSV is
    # as no text it is not allowed to end the literal it becomes
    assert service.sql("SELECT {s:String} FORMAT RawBLOB", param_s="'; DROP TABLE t; --") == "'; DROP TABLE t; --"


def test_parameters_in_a_form(service: Service) -> None:
    boundary = "XBOUNDX"
    parts = {"query": "SELECT {s:String}, {n:UInt8} FORMAT JSONEachRow", "param_s": "a\\nb'c", "param_n": "5"}
    body = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in parts.items()
    ) + f"--{boundary}--\r\n"
    answer = service.post(body.encode(), headers={"Content-Type": f"multipart/form-data; boundary={boundary}"})
    assert list(json.loads(answer.text).values()) == ["a\nb'c", 5]
    cut = service.post(body.encode()[:-6], headers={"Content-Type": f"multipart/form-data; boundary={boundary}"})
    assert cut.failure == (400, 36)


def test_settings(service: Service) -> None:
    assert service.sql("SELECT getSetting('max_threads')", max_threads="1") == "1"
    assert service.sql("SELECT getSetting('max_threads') SETTINGS max_threads = 3") == "3"
    assert service.sql("SELECT getSetting('log_comment')", log_comment="it's \\ here\n") == "it\\'s \\\\ here\\n"
    assert service.post(b"SELECT 1", nosuch_setting="1").failure == (404, 115)
    assert service.post(b"SELECT 1", max_threads="many").status == 400
    # a setting holds for its request alone
    assert service.sql("SELECT getSetting('max_block_size')", max_block_size="7") == "7"
    assert service.sql("SELECT getSetting('max_block_size')") != "7"


def test_defaults(service: Service) -> None:
    assert service.sql("SELECT getSetting('async_insert'), getSetting('implicit_select')") == "false\tfalse"
    assert service.sql("SELECT timezone()") == "UTC"


def test_max_execution_time(service: Service) -> None:
    started = time.monotonic()
    answer = service.post(b"SELECT sum(sipHash64(number)) FROM numbers(100000000000)", max_execution_time="0.3")
    assert answer.failure == (408, 159)
    assert time.monotonic() - started < 10


def test_databases(service: Service) -> None:
    service.sql("CREATE DATABASE `od``d`")
    service.sql("CREATE TABLE x (a UInt8) ENGINE = Memory", database="od`d")
    assert service.sql("SELECT currentDatabase()", database="od`d") == "od`d"
    assert service.post(b"SELECT currentDatabase()", headers={"X-ClickHouse-Database": "od`d"}).text == "od`d\n"
    assert service.sql("SHOW TABLES") == ""
    assert service.post(b"SELECT 1", database="nosuch").failure == (404, 81)
    assert service.sql("SELECT engine FROM system.databases WHERE name = 'default'") == "Atomic"


def test_the_default_database_can_be_dropped(service: Service) -> None:
    """The engine takes no connection without it, so it comes back, empty."""
    service.sql("CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a")
    service.sql("DROP DATABASE default SYNC")
    assert service.sql("SHOW TABLES") == ""


def test_get_reads_only(table: Service) -> None:
    for sql in ("DROP TABLE t", "INSERT INTO t VALUES (1, 'x')", "CREATE TABLE u (a UInt8) ENGINE = Memory"):
        assert table.get(query=sql).failure == (500, 164)
        for value in ("0", "00", "false", " 0"):
            assert table.get(query=sql, readonly=value).failure == (500, 164)
    assert table.get(query="SELECT count() FROM t").text == "0\n"
    assert table.get(query="SELECT getSetting('max_threads')", max_threads="1").text == "1\n"
    assert table.post(b"DROP TABLE t", readonly="1").failure == (500, 164)


def test_no_sessions(service: Service) -> None:
    """Refused rather than silently forgotten."""
    assert service.sql("SELECT 1", session_id="s", session_timeout="60", session_check="0") == "1"
    for sql in (b"SET max_threads = 1", b"USE system", b"CREATE TEMPORARY TABLE x (a UInt8)"):
        assert service.post(sql, session_id="s").failure == (501, 48)


def test_kill_query(service: Service) -> None:
    """A query is found by the client's id, in its log_comment."""
    answers = []
    sql = b"SELECT sum(sipHash64(number)) FROM numbers(100000000001)"
    runner = threading.Thread(target=lambda: answers.append(service.post(sql, query_id="long one")))
    runner.start()
    until("the query runs", lambda: service.running("100000000001"))
    service.sql("KILL QUERY WHERE Settings['log_comment'] = 'long one' SYNC")
    runner.join(DEADLINE)
    assert answers[0].failure == (500, 394)


def test_results_that_are_too_big_to_hold(start: Callable[..., Service]) -> None:
    service = start("--max-result-bytes", "1000000")
    assert service.post(b"SELECT number FROM numbers(1000000) FORMAT JSON").failure == (500, 396)
    assert len(service.sql("SELECT number FROM numbers(1000000)")) > 6_000_000  # streamed


def test_queries_that_are_not_utf8(service: Service) -> None:
    assert service.post(b"SELECT length('\xff\xfe'), 'x' -- \xff").text == "2\tx\n"


def test_keep_alive_after_errors(service: Service) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=DEADLINE)
    for sql, status in ((b"SELECT 1", 200), (b"SELECT nosuch", 404), (b"SELECT throwIf(1)", 500), (b"SELECT 2", 200)):
        connection.request("POST", "/", sql)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == status
        sock = connection.sock
    assert sock is connection.sock is not None
    connection.close()


def test_client_leaves_during_a_stream(service: Service) -> None:
    sock = service.socket()
    sock.sendall(b"POST / HTTP/1.1\r\nContent-Length: 41\r\n\r\nSELECT number FROM numbers(100000000000) ")
    assert sock.recv(100).startswith(b"HTTP/1.1 200")
    sock.close()
    until("the query ends", lambda: service.running("numbers(100000000000)") == 0)
    assert service.sql("SELECT 1") == "1"


def test_http_1_0(service: Service) -> None:
    sock = service.socket()
    sock.sendall(b"GET /?query=SELECT+number+FROM+numbers(500000) HTTP/1.0\r\n\r\n")
    content = b"".join(iter(lambda: sock.recv(1 << 20), b""))
    head, _, body = content.partition(b"\r\n\r\n")
    assert b"Transfer-Encoding" not in head
    assert body == b"".join(b"%d\n" % n for n in range(500000))
