"""Output formats: their content types, and which of them can be streamed.

chDB hands out a result in chunks, each formatted as if it were the whole.
Joined, the chunks are right only where a document is the sum of its rows,
once the header that every chunk repeats is cut from all but the first.
"""

from __future__ import annotations

import re
from typing import Callable, Dict, Optional

HeaderLength = Callable[[bytes], int]

DEFAULT = "TabSeparated"

_LINE = re.compile(rb"[^\n]*\n")
_CSV_LINE = re.compile(rb'(?:[^"\n]|"(?:[^"]|"")*")*\n')


def _none(_: bytes) -> int:
    return 0


def _lines(pattern: "re.Pattern[bytes]", count: int) -> HeaderLength:
    def length(chunk: bytes) -> int:
        end = 0
        for _ in range(count):
            found = pattern.match(chunk, end)
            if found is None:
                raise ValueError("the header is not whole")
            end = found.end()
        return end

    return length


def _row_binary(lists: int) -> HeaderLength:
    """Header of RowBinaryWithNames (one list of strings) or ...AndTypes (two)."""

    def length(chunk: bytes) -> int:
        count, end = _varint(chunk, 0)
        for _ in range(count * lists):
            size, end = _varint(chunk, end)
            end += size
        if end > len(chunk):
            raise ValueError("the header is not whole")
        return end

    return length


def _varint(data: bytes, position: int) -> "tuple[int, int]":
    value = shift = 0
    while True:
        if position >= len(data):
            raise ValueError("the header is not whole")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7


_STREAMABLE: Dict[str, HeaderLength] = {
    **dict.fromkeys(
        (
            "rowbinary", "native", "null", "csv", "tsv", "tabseparated", "tsvraw", "tabseparatedraw", "raw",
            "tskv", "jsoneachrow", "jsonlines", "jsonl", "ndjson", "jsonstringseachrow",
            "jsoncompacteachrow", "jsoncompactstringseachrow",
        ),
        _none,
    ),
    "rowbinarywithnames": _row_binary(1),
    "rowbinarywithnamesandtypes": _row_binary(2),
    "csvwithnames": _lines(_CSV_LINE, 1),
    "csvwithnamesandtypes": _lines(_CSV_LINE, 2),
    **dict.fromkeys(("tsvwithnames", "tabseparatedwithnames"), _lines(_LINE, 1)),
    **dict.fromkeys(("tsvwithnamesandtypes", "tabseparatedwithnamesandtypes"), _lines(_LINE, 2)),
    "jsoncompacteachrowwithnames": _lines(_LINE, 1),
    "jsoncompacteachrowwithnamesandtypes": _lines(_LINE, 2),
}

# What makes a document more than the sum of its rows, wherever it is asked for.
_NOT_A_SUM = re.compile(rb"totals|extremes|array_of_rows|encode_types", re.IGNORECASE)


def header_length(name: str, text: bytes) -> Optional[HeaderLength]:
    """How long the header of a chunk is; None when the format can't be streamed.

    `text` is the query with the names of the settings it runs under.
    """
    if _NOT_A_SUM.search(text):
        return None
    return _STREAMABLE.get(name.lower())


def content_type(name: str) -> str:
    """As ClickHouse labels its answers."""
    lower = name.lower()
    if lower in ("jsoneachrow", "jsonlines", "jsonl", "ndjson") or (
        lower.startswith("json") and "eachrow" in lower
    ):
        return "application/x-ndjson; charset=UTF-8"
    if lower.startswith("json"):
        return "application/json; charset=UTF-8"
    if lower.startswith(("tabseparated", "tsv")):
        return "text/tab-separated-values; charset=UTF-8"
    if lower.startswith("csv"):
        header = "present" if "withnames" in lower else "absent"
        return f"text/csv; charset=UTF-8; header={header}"
    if lower == "xml":
        return "application/xml; charset=UTF-8"
    if lower.startswith(("rowbinary", "native", "parquet", "arrow", "orc", "avro", "msgpack", "protobuf", "npy", "bson")):
        return "application/octet-stream"
    return "text/plain; charset=UTF-8"
