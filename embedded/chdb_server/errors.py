"""Errors as ClickHouse tells them: a code, a name, a text and an HTTP status."""

from __future__ import annotations

import re
from typing import Optional

# Codes this service raises itself, with ClickHouse's names for them.
UNEXPECTED_END_OF_FILE = 3
CANNOT_READ_ALL_DATA = 33
BAD_ARGUMENTS = 36
NOT_IMPLEMENTED = 48
LOGICAL_ERROR = 49
SYNTAX_ERROR = 62
UNKNOWN_COMPRESSION_METHOD = 89
UNKNOWN_SETTING = 115
UNKNOWN_DATABASE = 81
REQUIRED_PASSWORD = 194
TOO_MANY_SIMULTANEOUS_QUERIES = 202
SOCKET_TIMEOUT = 209
QUERY_IS_TOO_LARGE = 229
ABORTED = 236
CANNOT_DECOMPRESS = 271
TOO_MANY_BYTES = 307
INTO_OUTFILE_NOT_ALLOWED = 358
FUNCTION_NOT_ALLOWED = 446
BAD_QUERY_PARAMETER = 457
ACCESS_DENIED = 497
UNKNOWN_ROLE = 511
AUTHENTICATION_FAILED = 516
UNKNOWN_EXCEPTION = 1002

_NAMES = {
    code: name
    for name, code in list(globals().items())
    if name.isupper() and isinstance(code, int)
}

_BAD_REQUEST = (
    6, 8, 15, 25, 26, 27, 36, 37, 38, 41, 44, 53, 62, 72, 117, 123,
    167, 168, 223, 321, 376, 427, 441, 675, 676,
)
_NOT_FOUND = (46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 152, 336, 511)

# As ClickHouse's HTTP handler maps its codes; what is not listed is a 500.
_STATUS = {
    **dict.fromkeys(_BAD_REQUEST, 400),
    194: 401,
    **dict.fromkeys((192, 193, 497, 512, 516), 403),
    **dict.fromkeys(_NOT_FOUND, 404),
    159: 408,
    381: 411,
    229: 413,
    779: 415,
    48: 501,
    **dict.fromkeys((76, 209, 439), 503),
}

_CODE = re.compile(r"Code: (\d+)")
_PREFIX = re.compile(r"^Failed to create connection: ")

_engine_version = ""


def set_engine_version(version: str) -> None:
    """The version that ends every error text, as in ClickHouse's own answers."""
    global _engine_version
    _engine_version = version


class ClickHouseError(Exception):
    """An error to be told to the client. `status` overrides ClickHouse's mapping."""

    def __init__(self, code: int, message: str, status: Optional[int] = None) -> None:
        super().__init__(message)
        self.code = code
        self.status = status or _STATUS.get(code, 500)
        self.text = message if _CODE.match(message) else self._compose(code, message)

    @staticmethod
    def _compose(code: int, message: str) -> str:
        name = _NAMES.get(code, "UNKNOWN_EXCEPTION")
        return f"Code: {code}. DB::Exception: {message} ({name})"

    def body(self) -> bytes:
        """The text as sent: one line, ending in the version as clients expect."""
        text = self.text.rstrip()
        if not text.endswith(")") or "(version " not in text[-60:]:
            text += f" (version {_engine_version})"
        return (text + "\n").encode("utf-8", "replace")

    @classmethod
    def from_engine(cls, error: BaseException) -> "ClickHouseError":
        """Translate what chDB raises: a RuntimeError with ClickHouse's text."""
        text = _PREFIX.sub("", str(error))
        found = _CODE.search(text)
        code = int(found.group(1)) if found else UNKNOWN_EXCEPTION
        return cls(code, text[found.start():] if found else text)


class ClientGone(Exception):
    """The client went away or broke the framing: nobody is left to answer."""
