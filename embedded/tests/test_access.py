"""Who may ask, and what nobody may: passwords, browsers, injection, the machine's files."""

from __future__ import annotations

import base64
from typing import Callable, Dict

import pytest

from service import Service

BASIC = {"Authorization": "Basic " + base64.b64encode("ann:p:w é".encode()).decode()}
KEY = {"X-ClickHouse-User": "ann", "X-ClickHouse-Key": "pw"}


def test_passwords(start: Callable[..., Service]) -> None:
    service = start("--user", "ann", env={"SLUICEGATE_CHDB_PASSWORD": "pw"})
    assert service.post(b"SELECT 1", headers=KEY).text == "1\n"
    assert service.post(b"SELECT 1", user="ann", password="pw").text == "1\n"
    nobody = service.post(b"SELECT 1")
    assert nobody.failure == (401, 194) and nobody.headers["WWW-Authenticate"].startswith("Basic")
    for user, password in (("ann", "PW"), ("ann", ""), ("bob", "pw"), ("default", "pw")):
        assert service.post(b"SELECT 1", user=user, password=password).failure == (403, 516)
    assert service.post(b"SELECT 1", headers={**KEY, "X-ClickHouse-Key": "no"}, user="ann", password="pw").status == 403
    for damaged in ("Basic %%%", "Bearer token", "Basic", "Basic YQ=="):
        assert service.post(b"SELECT 1", headers={"Authorization": damaged}).failure == (403, 516)
    assert service.get("/ping").text == "Ok.\n"  # health needs no password
    assert service.get("/").failure == (401, 194)
    assert "pw" not in "".join(service.log)


def test_basic(start: Callable[..., Service]) -> None:
    service = start(env={"SLUICEGATE_CHDB_USER": "ann", "SLUICEGATE_CHDB_PASSWORD": "p:w é"})
    assert service.post(b"SELECT 1", headers=BASIC).text == "1\n"


def test_a_password_alone_is_for_the_default_user(start: Callable[..., Service]) -> None:
    service = start(env={"SLUICEGATE_CHDB_PASSWORD": "pw"})
    assert service.post(b"SELECT 1", user="default", password="pw").text == "1\n"
    assert service.post(b"SELECT 1", user="other", password="pw").status == 403


def test_a_refused_insert_adds_nothing(start: Callable[..., Service]) -> None:
    service = start(env={"SLUICEGATE_CHDB_PASSWORD": "pw"})
    key = {"X-ClickHouse-Key": "pw"}
    service.post(b"CREATE TABLE t (a UInt32) ENGINE = MergeTree ORDER BY a", headers=key)
    assert service.insert("INSERT INTO t FORMAT CSV", b"1\n").failure == (401, 194)
    assert service.post(b"SELECT count() FROM t", headers=key).text == "0\n"


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Host": "rebound.example:8123"},
        {"Host": "10.0.0.1"},
        {"Host": "[::zz"},
    ],
)
def test_foreign_pages_are_refused(service: Service, headers: Dict[str, str]) -> None:
    """Without a password, any page in a browser on this machine could post."""
    assert service.post(b"SELECT 1", headers=headers).status in (400, 403)


def test_local_names_are_welcome(service: Service) -> None:
    for host in ("localhost:8123", "127.0.0.1", "[::1]:8123"):
        headers = {"Host": host, "Origin": "http://localhost:8181", "Sec-Fetch-Site": "same-origin"}
        assert service.post(b"SELECT 1", headers=headers).text == "1\n"


@pytest.mark.parametrize(
    "name",
    [
        "max_threads = 1, readonly",
        "max_threads=1; DROP TABLE t; --",
        "max_threads`",
        "`max_threads`",
        "max threads",
        "max_threads\n",
        "max_threads--",
        "a.b",
        "ä",
        "1",
        "param_x = 1, max_threads",
        "param_",
        "param_1; DROP TABLE t",
    ],
)
def test_names_are_not_code(table: Service, name: str) -> None:
    answer = table.post(b"SELECT 1", **{name: "1"})
    assert answer.status in (400, 404, 500) and answer.code in (36, 62, 115, 457)
    assert table.count() == 0  # t is still there


@pytest.mark.parametrize(
    "value", ["1'; DROP TABLE t; --", "1\\", "1\\'; DROP TABLE t; --", "1' , readonly = '1", "\0", "'", "\\'"]
)
def test_values_are_not_code(table: Service, value: str) -> None:
    assert table.post(b"SELECT 1", max_threads=value).status in (400, 500)
    assert table.sql("SELECT getSetting('log_comment') FORMAT RawBLOB", log_comment=value) == value
    assert table.sql("SELECT Settings['log_comment'] FROM system.processes FORMAT RawBLOB", query_id=value) == value
    assert table.post(b"SELECT 1", database=value).failure == (404, 81)
    assert table.count() == 0


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM file('/etc/passwd', 'LineAsString')",
        "SELECT file('/etc/passwd')",
        "SELECT `file`('/etc/passwd')",
        "SELECT file /* x */ ('/etc/passwd')",
        "CREATE FUNCTION f AS x -> file(x)",
        "CREATE TABLE x (a String DEFAULT file('/etc/passwd')) ENGINE = Memory",
        "CREATE VIEW x AS SELECT file('/etc/passwd')",
        "SELECT {f:Identifier}('/etc/passwd')",
        "INSERT INTO t VALUES (1, file('/etc/passwd'))",
        "SELECT * FROM `/etc/passwd`",
        "SELECT * FROM _files.`/etc/passwd`",
        "SELECT * FROM url('http://127.0.0.1:1/', 'CSV', 'a String')",
        "SELECT * FROM url('file:///etc/passwd', 'LineAsString', 'a String')",
        "SELECT * FROM remote('127.0.0.1', 'system', 'one')",
        "SELECT * FROM sqlite('/tmp/x', 'y')",
        "SELECT * FROM executable('ls', 'CSV', 'a String')",
        "SELECT * FROM python(os)",
        "SELECT * FROM python(os) SETTINGS allow_python_table_function = 1",
        "INSERT INTO t FROM INFILE '/etc/passwd' FORMAT LineAsString",
        "INSERT INTO t (a) FROM/**/INFILE '/etc/passwd' FORMAT LineAsString",
        "INSERT INTO FUNCTION file('{out}', 'CSV', 'a Int8') VALUES (1)",
        "INSERT INTO FUNCTION file('{out}', 'CSV', 'a Int8') SELECT 1",
        "SELECT 1 INTO OUTFILE '{out}'",
        "SELECT 1 INTO/**/OUTFILE '{out}' FORMAT CSV",
        "CREATE TABLE x (a String) ENGINE = File(CSV, '/etc/passwd')",
        "CREATE TABLE x (a Int8) ENGINE = MergeTree ORDER BY a SETTINGS disk = disk(type = local, path = '{out}/')",
        "BACKUP TABLE t TO File('{out}')",
        "CREATE USER x",
        "SYSTEM SHUTDOWN",
        "SYSTEM KILL",
    ],
)
def test_the_machine_is_out_of_reach(table: Service, sql: str) -> None:
    out = table.data.parent / "out"
    answer = table.post(sql.replace("{out}", str(out)).encode(), param_f="file")
    assert answer.status >= 400, answer.text
    assert "root:" not in answer.text
    assert not out.exists() or not any(out.iterdir())  # the engine makes a disk's directory before it asks
    assert table.count() == 0


def test_text_about_files_is_no_call(table: Service) -> None:
    table.sql("INSERT INTO t VALUES (1, 'open file(x) into outfile')")
    assert table.sql("SELECT count() FROM t WHERE b LIKE '%file(x)%' -- file(x)") == "1"
    assert table.sql("SELECT {s:String}", param_s="file(x)") == "file(x)"
    assert table.sql("SELECT file FROM (SELECT 1 AS file) WHERE file IN (1)") == "1"
