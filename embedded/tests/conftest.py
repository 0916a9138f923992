"""Every test talks to a real service: its own process, a free port, a directory of its own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Callable, Iterator, List

import pytest

EMBEDDED = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(EMBEDDED), str(Path(__file__).resolve().parent)]

from service import Service  # noqa: E402  (the path must be set first)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Starts services; all are killed at the end."""
    running: List[Service] = []

    def start(*flags: str, data: str = "data", **options: object) -> Service:
        service = Service(tmp_path / data, flags, **options)  # type: ignore[arg-type]
        running.append(service)
        service.wait_ready()
        return service

    yield start
    for service in running:
        service.kill()


@pytest.fixture
def service(start: Callable[..., Service]) -> Service:
    """One service with the default flags."""
    return start()


@pytest.fixture
def table(service: Service) -> Service:
    """The same, with a table `t (a UInt32, b String)` in the database `default`."""
    service.sql("CREATE TABLE t (a UInt32, b String) ENGINE = MergeTree ORDER BY a")
    return service
