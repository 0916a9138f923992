"""clickhouse-connect and curl, as their users use them."""

from __future__ import annotations

import datetime
import shutil
import subprocess
import uuid
from typing import Callable

import pytest

from service import Service

clickhouse_connect = pytest.importorskip("clickhouse_connect")


def test_clickhouse_connect(start: Callable[..., Service]) -> None:
    service = start(env={"SLUICEGATE_CHDB_USER": "ann", "SLUICEGATE_CHDB_PASSWORD": "pw"})
    client = clickhouse_connect.get_client(host="127.0.0.1", port=service.port, username="ann", password="pw")
    assert client.server_version == service.ready["version"]
    client.command("CREATE DATABASE d")
    client.command(
        "CREATE TABLE d.t (id UUID, at DateTime64(6, 'UTC'), tags Array(String), agent LowCardinality(String), "
        "level Enum8('low' = 1, 'high' = 2), note Nullable(String)) ENGINE = MergeTree ORDER BY at"
    )
    at = datetime.datetime(2026, 1, 2, 3, 4, 5, 678901)
    rows = [
        [uuid.uuid4(), at + datetime.timedelta(seconds=n), ["a'b", "ü"], f"agent{n % 3}", "low", None]
        for n in range(500)
    ]
    done = client.insert("t", rows, database="d", column_names=["id", "at", "tags", "agent", "level", "note"])
    assert done.written_rows == 500
    seen = client.query("SELECT id, tags, level, note FROM d.t ORDER BY at").result_rows
    assert seen == [(row[0], row[2], row[4], row[5]) for row in rows]
    found = client.query("SELECT count() FROM d.t WHERE agent = {a:String}", parameters={"a": "agent1"})
    assert found.result_rows == [(167,)]
    many = client.query("SELECT number, toString(number) FROM numbers(500000)")
    assert many.row_count == 500_000 and many.result_rows[-1] == (499999, "499999")
    raw = client.raw_query("SELECT 1 AS x", fmt="JSONEachRow")
    assert raw == b'{"x":1}\n'
    client.raw_insert("d.t", ["agent"], b"x\ny\n", fmt="CSV")
    assert client.command("SELECT count() FROM d.t") == 502
    with pytest.raises(clickhouse_connect.driver.exceptions.DatabaseError, match="UNKNOWN_TABLE"):
        client.query("SELECT * FROM nosuch")
    with pytest.raises(clickhouse_connect.driver.exceptions.DatabaseError, match="no sessions"):
        client.command("CREATE TEMPORARY TABLE x (a UInt8)")
    client.close()


@pytest.mark.parametrize("compress", [False, "lz4", "gzip"])
def test_clickhouse_connect_compression(service: Service, compress: object) -> None:
    client = clickhouse_connect.get_client(host="127.0.0.1", port=service.port, compress=compress)
    client.command("CREATE TABLE t (a UInt64, b String) ENGINE = MergeTree ORDER BY a")
    client.insert("t", [[n, "x" * 100] for n in range(20_000)])
    assert client.query("SELECT sum(a), sum(length(b)) FROM t").result_rows == [(199990000, 2000000)]
    assert len(client.query("SELECT a, b FROM t ORDER BY a").result_rows) == 20_000
    client.close()


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")
def test_curl(service: Service) -> None:
    def curl(*arguments: str, data: bytes = b"") -> str:
        return subprocess.run(
            ["curl", "-sS", "--fail-with-body", *arguments], input=data, check=True, capture_output=True
        ).stdout.decode()

    curl(service.url, "-d", "CREATE TABLE t (a UInt32, b String) ENGINE = MergeTree ORDER BY a")
    lines = b"".join(b"%d\tx\n" % n for n in range(300_000))
    insert = (f"{service.url}/?query=INSERT+INTO+t+FORMAT+TSV", "--data-binary", "@-")
    curl(*insert, data=lines)
    curl("-H", "Transfer-Encoding: chunked", *insert, data=lines)
    assert curl(f"{service.url}/?query=SELECT+count()+FROM+t") == "600000\n"
    assert curl("--compressed", service.url, "-d", "SELECT a FROM t ORDER BY a LIMIT 300000").count("\n") == 300_000
