"""multipart/form-data, in which clients send a query with its parameters."""

from __future__ import annotations

import re
from typing import List, Optional, Tuple

from .errors import BAD_ARGUMENTS, NOT_IMPLEMENTED, ClickHouseError

_BOUNDARY = re.compile(r'boundary=(?:"([^"]{1,200})"|([^\s;,"]{1,200}))', re.IGNORECASE)
_NAME = re.compile(rb'(?:^|;)\s*name="([^"\r\n]*)"', re.IGNORECASE)
_FILENAME = re.compile(rb"(?:^|;)\s*filename\*?=", re.IGNORECASE)
_DISPOSITION = b"content-disposition:"
_MAX_PARTS = 1000


def boundary(content_type: str) -> Optional[bytes]:
    """The boundary if the request is a form; None for any other body."""
    if not content_type.lower().startswith("multipart/form-data"):
        return None
    found = _BOUNDARY.search(content_type)
    if found is None:
        raise _malformed("the boundary is missing")
    return (found.group(1) or found.group(2)).encode("latin-1")


def parse(body: bytes, mark: bytes) -> List[Tuple[str, str]]:
    """The form's fields, in order. Text that is not UTF-8 is kept byte for byte."""
    parts = (b"\r\n" + body).split(b"\r\n--" + mark)
    if len(parts) > _MAX_PARTS:
        raise _malformed(f"more than {_MAX_PARTS} parts")
    if len(parts) < 2 or not parts[-1].startswith(b"--"):
        raise _malformed("the closing boundary is missing")
    fields = []
    for part in parts[1:-1]:
        head, separator, value = part.partition(b"\r\n\r\n")
        if not separator:
            raise _malformed("a part has no end of headers")
        fields.append((_field_name(head), value.decode("utf-8", "surrogateescape")))
    return fields


def _field_name(head: bytes) -> str:
    for line in head.split(b"\r\n"):
        if not line.lower().startswith(_DISPOSITION):
            continue
        name = _NAME.search(line[len(_DISPOSITION):])
        if name is None:
            break
        text = name.group(1).decode("utf-8", "surrogateescape")
        # some clients give every field a file name; external tables are real files
        if _FILENAME.search(line) and text != "query" and not text.startswith("param_"):
            raise ClickHouseError(NOT_IMPLEMENTED, "External data (temporary tables in the form) is not supported here.")
        return text
    raise _malformed("a part has no name")


def _malformed(what: str) -> ClickHouseError:
    return ClickHouseError(BAD_ARGUMENTS, f"Malformed multipart/form-data: {what}.", status=400)
