"""Servers for the tests, and clients that leave nothing behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Iterator

import pytest

import sluicegate
from sluicegate import PolicyClient, Settings
from stack import Nats, Up, Worker


@pytest.fixture(scope="session")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """Everything, once for all tests that harm nothing."""
    whole = Up(tmp_path_factory.mktemp("up"))
    yield whole
    whole.end()


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[Nats]:
    """A NATS server to harm."""
    server = Nats(tmp_path / "nats")
    yield server
    server.stop()


@pytest.fixture
def worker(nats_server: Nats) -> Iterator[Worker]:
    """A worker on it."""
    running = Worker(nats_server)
    yield running
    running.end()


@pytest.fixture(autouse=True)
def _connections(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("POLICY_ENFORCEMENT_ENABLED", "SLUICEGATE_ENFORCEMENT_ENABLED", "SLUICEGATE_NATS_URL"):
        monkeypatch.delenv(name, raising=False)
    yield
    sluicegate.shutdown(1.0)


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., PolicyClient]:
    """Makes clients whose spool is in the test's folder."""

    def client(url: str, **arguments: Any) -> PolicyClient:
        arguments.setdefault("spool_folder", str(tmp_path / "spool"))
        arguments.setdefault("timeout", 5.0)
        return PolicyClient(settings=Settings.load(url=url, **arguments))

    return client
