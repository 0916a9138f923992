"""What is too much: bodies, queries, connections, slowness."""

from __future__ import annotations

import gzip
import http.client
import struct
import threading
from typing import Callable

import lz4.block
import pytest

from service import DEADLINE, Service, chunk, head, until

INSERT = "INSERT INTO t FORMAT CSV"


def with_table(service: Service) -> Service:
    service.sql("CREATE TABLE t (a UInt32) ENGINE = MergeTree ORDER BY a")
    return service


def test_bodies_that_are_too_big(start: Callable[..., Service]) -> None:
    """By length, in chunks, unpacked from gzip or from frames: 413, nothing added, connection in order."""
    service = with_table(start("--max-body-bytes", "10000"))
    body = b"1\n" * 5001
    assert service.insert(INSERT, body).failure == (413, 307)
    assert service.insert_chunked(INSERT, [body[:6000], body[6000:]]).failure == (413, 307)
    assert service.insert(INSERT, gzip.compress(body), headers={"Content-Encoding": "gzip"}).failure == (413, 307)
    packed = lz4.block.compress(body, store_size=False)
    frame = b"\0" * 16 + struct.pack("<BII", 0x82, len(packed) + 9, len(body)) + packed
    assert service.insert(INSERT, frame, decompress="1").failure == (413, 307)
    assert service.count() == 0
    assert service.insert(INSERT, body[:10000]).status == 200
    assert service.count() == 5000


def test_a_body_far_too_big_is_not_read(start: Callable[..., Service]) -> None:
    """The answer comes at once, and the connection is closed."""
    service = with_table(start("--max-body-bytes", "10000"))
    for expect in ("", "\r\nExpect: 100-continue"):
        sock = service.socket()
        sock.sendall(head(INSERT, f"Content-Length: {10**12}{expect}"))
        answer = b"".join(iter(lambda: sock.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 413") and b"Connection: close" in answer


def test_expect_100(start: Callable[..., Service]) -> None:
    service = with_table(start())
    sock = service.socket()
    sock.sendall(head(INSERT, "Content-Length: 4\r\nExpect: 100-continue"))
    assert sock.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
    sock.sendall(b"1\n2\n")
    assert sock.recv(1000).startswith(b"HTTP/1.1 200")


def test_queries_that_are_too_big(service: Service) -> None:
    assert service.post(b"SELECT 1 -- " + b"x" * 9_000_000).failure == (413, 229)
    assert service.post(b"SELECT 1 -- " + b"x" * 100_000).text == "1\n"


@pytest.mark.parametrize(
    "request_head, status",
    [
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 0x5\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (b"PATCH / HTTP/1.1\r\n\r\n", 501),
        (b"nonsense\r\n\r\n", 400),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"X: 1\r\n" * 200 + b"\r\n", 431),
        (b"GET /?" + b"&".join(b"a%d=1" % n for n in range(2000)) + b" HTTP/1.1\r\nConnection: close\r\n\r\n", 400),
    ],
)
def test_malformed_requests(service: Service, request_head: bytes, status: int) -> None:
    sock = service.socket()
    sock.sendall(request_head)
    answer = b"".join(iter(lambda: sock.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 %d" % status), answer[:200]
    assert b"Traceback" not in answer
    assert service.sql("SELECT 1") == "1"


def test_too_many_at_once(start: Callable[..., Service]) -> None:
    """The one that finds no place in time is told so, with 503; health still answers."""
    service = start("--max-concurrent", "1", "--queue-seconds", "0.2")
    long = threading.Thread(target=service.post, args=(b"SELECT sleepEachRow(1) FROM numbers(3)",))
    long.start()
    until("a request finds no place", lambda: service.post(b"SELECT 1").failure == (503, 202))
    refused = service.post(b"SELECT 1")
    assert refused.headers["Retry-After"] == "1" and "--max-concurrent" in refused.text
    assert service.get("/ping").status == 200
    long.join(DEADLINE)
    assert service.sql("SELECT 1") == "1"


def test_a_further_one_waits_for_its_place(start: Callable[..., Service]) -> None:
    service = start("--max-concurrent", "1", "--queue-seconds", "20")
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(service.sql("SELECT sleep(0.3)"))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert answers == ["0"] * 4


def test_slow_senders_take_no_place(start: Callable[..., Service]) -> None:
    """An insert that is not yet sent does not keep others from running."""
    service = with_table(start("--max-concurrent", "1", "--queue-seconds", "0.2"))
    socks = [service.socket() for _ in range(3)]
    for sock in socks:
        sock.sendall(head(INSERT, "Transfer-Encoding: chunked") + chunk(b"1\n"))
    assert service.sql("SELECT 1") == "1"
    for sock in socks:
        sock.sendall(b"0\r\n\r\n")
        assert sock.recv(1000).startswith(b"HTTP/1.1 200")
    assert service.count() == 3


def test_too_many_connections(start: Callable[..., Service]) -> None:
    service = start("--max-connections", "3")
    held = [service.socket() for _ in range(3)]
    for sock in held:
        sock.sendall(b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert sock.recv(1000).startswith(b"HTTP/1.1 200")
    assert service.get("/ping").status == 503
    held[0].close()
    until("there is room again", lambda: service.get("/ping").status == 200)


def test_silent_clients_are_cut(start: Callable[..., Service]) -> None:
    """Idle, in the middle of a head, in the middle of a body: and what was sent adds nothing."""
    service = with_table(start("--socket-timeout-seconds", "0.5"))
    for sent in (b"", b"POST / HTTP/1.1\r\nHost:", head(INSERT, "Content-Length: 10") + b"1\n"):
        sock = service.socket()
        sock.sendall(sent)
        assert sock.recv(1000) == b""
    assert service.count() == 0


def test_a_dripping_head_is_cut(start: Callable[..., Service]) -> None:
    """Each byte comes in time, the whole never does."""
    service = start("--socket-timeout-seconds", "1")
    sock = service.socket()
    sock.sendall(b"GET / HTTP/1.1\r\nX: ")

    def cut() -> bool:
        try:
            sock.sendall(b"x")
            sock.settimeout(0.2)
            return sock.recv(10) == b""
        except TimeoutError:
            return False
        except OSError:
            return True

    until("the client is cut", cut, deadline=10)


def test_pipelined_requests(service: Service) -> None:
    sock = service.socket()
    one = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8\r\n\r\nSELECT %d"
    sock.sendall(one % 1 + one % 2)
    seen = b""
    while seen.count(b"HTTP/1.1 200") < 2 or not seen.endswith(b"2\n"):
        part = sock.recv(65536)
        assert part
        seen += part
    assert http.client.responses[200] == "OK" and b"\r\n\r\n1\n" in seen
