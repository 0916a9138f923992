"""What a request asks for in its URL, headers and form: transport keys apart from settings.

Names become part of a SET statement, so they must be identifiers; values are
quoted. Whether a setting exists, and what it accepts, the engine says.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from email.message import Message
from typing import Dict, Iterable, Optional, Tuple
from urllib.parse import parse_qsl

from .errors import (
    BAD_ARGUMENTS,
    BAD_QUERY_PARAMETER,
    NOT_IMPLEMENTED,
    UNKNOWN_ROLE,
    UNKNOWN_SETTING,
    ClickHouseError,
)

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MAX_FIELDS = 1000

# Understood or of no meaning here, and never settings. No sessions, quotas or
# roles are kept; `client_protocol_version` stays 0, which every client reads.
_IGNORED = frozenset(
    {
        "", "user", "password", "quota_key", "stacktrace", "buffer_size", "session_timeout",
        "session_check", "close_session", "client_protocol_version",
    }
)


@dataclass
class RequestOptions:
    """One request, before its SQL is looked at."""

    query: bytes = b""
    database: str = ""
    default_format: str = ""
    query_id: str = ""
    session_id: str = ""
    decompress: bool = False
    wait_end_of_query: bool = False
    http_compression: bool = True
    settings: Dict[str, str] = field(default_factory=dict)
    params: Dict[str, str] = field(default_factory=dict)


def parse_query_string(raw: str) -> "list[Tuple[str, str]]":
    """The URL's parameters. Text that is not UTF-8 is kept byte for byte (surrogates)."""
    try:
        return parse_qsl(raw, keep_blank_values=True, errors="surrogateescape", max_num_fields=_MAX_FIELDS)
    except ValueError as error:
        raise ClickHouseError(BAD_ARGUMENTS, f"Malformed URL: {error}.", status=400) from error


def parse(fields: Iterable[Tuple[str, str]], headers: Message) -> RequestOptions:
    """Sort fields into transport keys, query parameters and settings."""
    options = RequestOptions(
        database=headers.get("X-ClickHouse-Database", ""),
        default_format=headers.get("X-ClickHouse-Format", ""),
        query_id=headers.get("X-ClickHouse-Query-Id", ""),
    )
    for name, value in fields:
        _take(options, name, value)
    if not options.settings.get("log_comment") and options.query_id:
        # the engine names queries itself; this finds one in system.processes by the client's id
        options.settings["log_comment"] = options.query_id
    return options


def _take(options: RequestOptions, name: str, value: str) -> None:
    if name in _IGNORED:
        return
    if name == "query":
        options.query += value.encode("utf-8", "surrogateescape")
    elif name in ("database", "default_format", "query_id", "session_id"):
        if value:
            setattr(options, name, value)
    elif name == "decompress":
        options.decompress = _flag(name, value)
    elif name == "wait_end_of_query":
        options.wait_end_of_query = _flag(name, value)
    elif name == "compress":
        if _flag(name, value):
            raise ClickHouseError(
                NOT_IMPLEMENTED, "compress=1 is not supported here; send the header Accept-Encoding: lz4 or gzip."
            )
    elif name == "role":
        raise ClickHouseError(UNKNOWN_ROLE, f"There is no role `{value}`: this service keeps no roles.")
    elif name.startswith("param_"):
        if not _IDENTIFIER.fullmatch(name):
            raise ClickHouseError(BAD_QUERY_PARAMETER, f"Query parameter {name!r} is not an identifier.", status=400)
        options.params[name] = value
    else:
        if not _IDENTIFIER.fullmatch(name):
            raise ClickHouseError(UNKNOWN_SETTING, f"Unknown setting {name!r}: not an identifier.")
        options.settings[name] = value
        if name == "enable_http_compression":
            options.http_compression = _flag(name, value)


def _flag(name: str, value: str) -> bool:
    if value.lower() in ("1", "true"):
        return True
    if value.lower() in ("", "0", "false"):
        return False
    raise ClickHouseError(BAD_ARGUMENTS, f"{name} must be 0 or 1, not {value!r}.", status=400)


def set_statement(settings: Dict[str, str], params: Optional[Dict[str, str]] = None) -> bytes:
    """One SET for settings and query parameters; empty when there are none."""
    pairs = {**settings, **(params or {})}
    if not pairs:
        return b""
    return b"SET " + b", ".join(name.encode("ascii") + b" = " + quote(value) for name, value in pairs.items())


def quote(value: str) -> bytes:
    """A string literal that holds exactly `value`."""
    raw = value.encode("utf-8", "surrogateescape")
    raw = raw.replace(b"\\", b"\\\\").replace(b"'", b"\\'").replace(b"\0", b"\\0")
    return b"'" + raw + b"'"


def quote_identifier(value: str) -> bytes:
    """A quoted identifier that names exactly `value`."""
    raw = value.encode("utf-8", "surrogateescape")
    return b"`" + raw.replace(b"\\", b"\\\\").replace(b"`", b"\\`") + b"`"
