"""Requests as JSON, whatever the caller hands over.

Paths, dates, numbers of numpy, dataclasses, sets and the like become the JSON that is usual for
them. Anything else is described by its ``repr``, shortened, and its path is named.
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import hashlib
import json
import math
import os
import uuid
from typing import Any, Callable, Dict, List, Mapping, Set, Tuple

#: Characters of a description.
MAX_DESCRIPTION = 200
#: Members and elements looked at where a value is no plain JSON; the rest is left out and listed.
MAX_NODES = 20_000
#: Levels of nesting that are sent; the server takes 64, of which the request itself is one.
MAX_DEPTH = 48
#: Paths listed as described.
MAX_DESCRIBED = 50


def describe(value: Any) -> str:
    """A short text for any object. An object whose ``repr`` fails is named by its type."""
    try:
        text = repr(value)
    except Exception as error:
        text = f"<{type(value).__name__}: repr failed with {type(error).__name__}>"
    text = text if len(text) <= MAX_DESCRIPTION else text[: MAX_DESCRIPTION - 1] + "…"
    return text.encode("utf-8", "replace").decode("utf-8")


class Unserializable(Exception):
    """A request that is no JSON. It carries what can be said of it instead."""

    def __init__(self, paths: List[str], request: Dict[str, Any]) -> None:
        super().__init__(f"no JSON: {', '.join(paths[:5])}{', …' if len(paths) > 5 else ''}")
        self.request = request


def encode(request: Dict[str, Any]) -> bytes:
    """The request's bytes. Common types become JSON; :class:`Unserializable` names what can't."""
    try:
        return dump(request)
    except Exception:
        cleaned, paths = described(request)
    if paths:
        raise Unserializable(paths, cleaned)
    return dump(cleaned)


def described(request: Dict[str, Any]) -> Tuple[Dict[str, Any], List[str]]:
    """The request as plain JSON, with a text for what is none, and the paths of these."""
    cleaner = _Cleaner()
    cleaned = cleaner.clean(request, "", 0)
    if not isinstance(cleaned, dict):
        cleaned = {"value": cleaned}
    return cleaned, cleaner.described


def dump(value: Any) -> bytes:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8")


class _Cleaner:
    """Makes plain JSON of anything."""

    def __init__(self) -> None:
        self.described: List[str] = []
        self._open: Set[int] = set()
        self._nodes = 0

    def clean(self, value: Any, path: str, depth: int) -> Any:
        self._nodes += 1
        if value is None or value is True or value is False:
            return value
        if isinstance(value, enum.Enum):
            return self.clean(value.value, path, depth + 1) if depth < MAX_DEPTH else self._flag(value, path)
        if isinstance(value, str):
            return self._string(value, path)
        if isinstance(value, int):
            return int(value) if value.bit_length() <= 1024 else self._flag(value, path)
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else self._flag(value, path)
        if isinstance(value, (dict, list, tuple, set, frozenset)):
            return self._collection(value, path, depth)
        if isinstance(value, Mapping) or _is_data(value):
            return self._collection(_members(value), path, depth)
        plain = _plain(value)
        return self._flag(value, path) if plain is None else self.clean(plain, path, MAX_DEPTH)

    def _string(self, value: str, path: str) -> str:
        try:
            value.encode("utf-8")
            return str(value)
        except UnicodeError:
            self._list(path)
            return value.encode("utf-8", "replace").decode("utf-8")

    def _collection(self, value: Any, path: str, depth: int) -> Any:
        if id(value) in self._open or depth >= MAX_DEPTH or self._nodes >= MAX_NODES:
            self._list(path)
            return f"<{type(value).__name__} of {len(value)}>"
        self._open.add(id(value))
        try:
            if isinstance(value, dict):
                result = {}
                for key, one in list(value.items()):
                    name = self._string(key, path) if isinstance(key, str) else describe(key)
                    result[name] = self.clean(one, f"{path}.{name}" if path else name, depth + 1)
                    if self._nodes >= MAX_NODES:
                        self._list(path)
                        break
                return result
            elements = []
            for index, one in enumerate(list(value)):
                elements.append(self.clean(one, f"{path}[{index}]", depth + 1))
                if self._nodes >= MAX_NODES:
                    self._list(path)
                    break
            return elements
        except Exception as error:
            # Another thread may be changing it, or its methods fail.
            self._list(path)
            return f"<{type(value).__name__}: {type(error).__name__}>"
        finally:
            self._open.discard(id(value))

    def _flag(self, value: Any, path: str) -> str:
        self._list(path)
        return describe(value)

    def _list(self, path: str) -> None:
        if len(self.described) < MAX_DESCRIBED:
            self.described.append(path[:MAX_DESCRIPTION])


def _is_data(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def _members(value: Any) -> Dict[Any, Any]:
    """The members of a mapping or a dataclass; none where they can't be read."""
    try:
        if isinstance(value, Mapping):
            return dict(value)
        return {one.name: getattr(value, one.name, None) for one in dataclasses.fields(value)}
    except Exception as error:
        return {"error": type(error).__name__}


def _plain(value: Any) -> Any:
    """The usual JSON of common types that have one; None for others."""
    try:
        if isinstance(value, os.PathLike):
            path = os.fspath(value)
            return path if isinstance(path, str) else None
        if isinstance(value, (datetime.date, datetime.time)):
            return value.isoformat()
        if isinstance(value, (uuid.UUID, decimal.Decimal)):
            return str(value)
        # Numbers of numpy and the like.
        item: Callable[[], Any] = getattr(value, "item", None)  # type: ignore[assignment]
        if callable(item) and getattr(value, "shape", None) == ():
            number = item()
            return number if isinstance(number, (int, float, str)) else None
    except Exception:
        return None
    return None


def token(text: str) -> str:
    """One token of a NATS subject: as "Tokens from text" in docs/subjects.md says."""
    if not text:
        return "%"
    encoded = "".join(
        chr(byte) if chr(byte).isascii() and (chr(byte).isalnum() or byte in b"-_") else f"%{byte:02X}"
        for byte in text.encode("utf-8", "replace")
    )
    if len(encoded) > MAX_TOKEN:
        digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]
        return f"{encoded[: MAX_TOKEN - 18]}%~{digest}"
    return encoded


#: Bytes of a token.
MAX_TOKEN = 128
