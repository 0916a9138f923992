"""Flags and environment to a checked configuration."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from typing import List, Optional

from .auth import is_loopback
from .server import Limits

ENV_USER = "SLUICEGATE_CHDB_USER"
ENV_PASSWORD = "SLUICEGATE_CHDB_PASSWORD"

_EPILOG = f"""\
environment:
  {ENV_USER}, {ENV_PASSWORD}
                        the user and password, out of sight of the process list

exit codes:
  0   stopped by a signal, or with its parent
  1   the engine could not be started
  2   wrong flags
  97  the data directory can't be used, or is in use
  98  the port is taken

When ready, one line of JSON goes to stdout; all logs go to stderr.
"""


@dataclass(frozen=True)
class Config:
    data: Path
    host: str
    port: int
    user: Optional[str]
    password: Optional[str]
    limits: Limits
    max_result_bytes: int
    drain_seconds: float
    exit_with_parent: bool
    log_level: str


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="chdb_server",
        description="ClickHouse's engine (chDB) behind ClickHouse's HTTP interface, for one machine.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--data", required=True, type=Path, metavar="DIR",
        help="data directory; made if missing; one process at a time")
    add("--host", default="127.0.0.1", help="address to listen on (default %(default)s); another needs a password")
    add("--port", default=8123, type=_port, help="port to listen on (default %(default)s); 0 picks a free one")
    add("--user", help=f"the only user admitted (default: anyone; with a password: 'default'); or {ENV_USER}")
    add("--password", help=f"that user's password; better {ENV_PASSWORD}, which the process list does not show")
    add("--max-concurrent", default=16, type=_positive, metavar="N",
        help="requests running at once (default %(default)s)")
    add("--queue-seconds", default=10.0, type=_seconds, metavar="S",
        help="how long a further one waits before it gets a 503 (default %(default)s)")
    add("--max-connections", default=256, type=_positive, metavar="N", help="open connections (default %(default)s)")
    add("--max-body-bytes", default=1 << 30, type=_positive, metavar="N",
        help="largest request body, also after unpacking (default 1 GiB); an insert is held in memory until written")
    add("--max-result-bytes", default=512 << 20, type=_positive, metavar="N",
        help="largest result in a format that can't be streamed, such as JSON or Parquet (default 512 MiB)")
    add("--socket-timeout-seconds", default=30.0, type=_seconds, metavar="S",
        help="how long a client may be silent, also between requests (default %(default)s)")
    add("--drain-seconds", default=10.0, type=_seconds, metavar="S",
        help="how long running requests may go on after SIGTERM (default %(default)s)")
    add("--exit-with-parent", action="store_true", help="stop when the process that started this one ends")
    add("--log-level", default="info", choices=("debug", "info", "warning", "error"), help="(default %(default)s)")
    return parser


def _port(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 65535:
        raise argparse.ArgumentTypeError(f"{value} is not between 0 and 65535")
    return value


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1e6:
        raise argparse.ArgumentTypeError("must be a number of seconds, 0 or more")
    return value


def parse(arguments: Optional[List[str]] = None) -> Config:
    """The configuration, or exit code 2 with a text that names the flag."""
    parser = _parser()
    given = parser.parse_args(arguments)
    # taken out of the environment, where every library in the process could read it
    user = given.user or os.environ.pop(ENV_USER, "") or None
    password = given.password or os.environ.pop(ENV_PASSWORD, "") or None
    if not password and not is_loopback(given.host):
        parser.error(f"--host {given.host} can be reached from other machines: set {ENV_PASSWORD} (or --password)")
    return Config(
        data=given.data,
        host=given.host,
        port=given.port,
        user=user,
        password=password,
        limits=Limits(
            max_connections=given.max_connections,
            max_concurrent=given.max_concurrent,
            queue_seconds=given.queue_seconds,
            max_body_bytes=given.max_body_bytes,
            socket_timeout=max(given.socket_timeout_seconds, 0.1),
        ),
        max_result_bytes=given.max_result_bytes,
        drain_seconds=given.drain_seconds,
        exit_with_parent=given.exit_with_parent,
        log_level=given.log_level,
    )


def main(arguments: Optional[List[str]] = None) -> int:
    """Parse, then run until stopped."""
    config = parse(arguments)
    from .app import run  # the engine's libraries load only when they are needed

    return run(config)
