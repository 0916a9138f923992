"""Who may speak to the service. Users and passwords are the service's own, not the engine's."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
from email.message import Message
from typing import Iterable, Optional, Tuple
from urllib.parse import urlsplit

from .errors import (
    ACCESS_DENIED,
    AUTHENTICATION_FAILED,
    REQUIRED_PASSWORD,
    ClickHouseError,
)

DEFAULT_USER = "default"


def is_loopback(host: str) -> bool:
    """Is the host reachable from this machine only?"""
    if host.lower().rstrip(".") in ("localhost", "localhost.localdomain"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Authenticator:
    """One user with one password, or nobody to ask for."""

    def __init__(self, user: Optional[str], password: Optional[str]) -> None:
        self._open = not user and not password
        self._user = _digest(user or DEFAULT_USER)
        self._password = _digest(password or "")

    def check(self, headers: Message, fields: Iterable[Tuple[str, str]]) -> None:
        """Raise unless the request may go on."""
        if self._open:
            _refuse_browsers(headers)
            return
        user, password = _credentials(headers, dict(fields))
        good_user = hmac.compare_digest(_digest(user or DEFAULT_USER), self._user)
        good_password = hmac.compare_digest(_digest(password or ""), self._password)
        if good_user and good_password:
            return
        if user is None and password is None:
            raise ClickHouseError(
                REQUIRED_PASSWORD,
                "Authentication is required: give the user and password (Basic, X-ClickHouse-User and "
                "X-ClickHouse-Key, or user and password in the URL).",
            )
        raise ClickHouseError(
            AUTHENTICATION_FAILED, f"{user or DEFAULT_USER}: Authentication failed: wrong user or password."
        )


def _digest(value: str) -> bytes:
    """Equal lengths, so that the comparison takes equal time."""
    return hashlib.sha256(value.encode("utf-8", "surrogateescape")).digest()


def _credentials(headers: Message, fields: "dict[str, str]") -> Tuple[Optional[str], Optional[str]]:
    if "X-ClickHouse-User" in headers or "X-ClickHouse-Key" in headers:
        return headers.get("X-ClickHouse-User"), headers.get("X-ClickHouse-Key")
    scheme, _, encoded = headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            decoded = base64.b64decode(encoded.strip(), validate=True).decode("utf-8", "surrogateescape")
        except (binascii.Error, ValueError):
            return "", ""
        user, _, password = decoded.partition(":")
        return user, password
    if scheme:
        raise ClickHouseError(AUTHENTICATION_FAILED, f"Authorization by '{scheme}' is not supported; use Basic.")
    return fields.get("user"), fields.get("password")


def _refuse_browsers(headers: Message) -> None:
    """Without a password, a page in any browser on this machine could post to us.

    Browsers tell a foreign page by Origin, and a name that was bound to
    127.0.0.1 to trick them by Host.
    """
    host = urlsplit("//" + headers.get("Host", "localhost")).hostname or ""
    origin = headers.get("Origin")
    if not is_loopback(host) or (origin is not None and not is_loopback(urlsplit(origin).hostname or "")):
        raise ClickHouseError(
            ACCESS_DENIED,
            f"A request for host '{host}' from origin '{origin}' is refused while no password is set; "
            "use 127.0.0.1 or localhost, or set SLUICEGATE_CHDB_PASSWORD.",
        )
