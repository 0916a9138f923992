"""The little we must know of a statement's text before the engine sees it.

The engine parses SQL; this module only finds where an INSERT's data begins,
which output format a query names, and the few things the engine would do in a
way that suits a local tool but not a server. It works on bytes: queries may
hold literals that are not UTF-8.
"""

from __future__ import annotations

import re
from typing import Iterator, NamedTuple, Optional

_SPACE = re.compile(rb"\s+")
_LINE_COMMENT = re.compile(rb"(?:--|//|#!|# )[^\n]*")
# What is opened and never closed reaches to the end, so that no text takes quadratic time.
_BLOCK_EDGE = re.compile(rb"/\*|\*/")
_TOKEN = re.compile(
    rb"""
      (?P<word>   [A-Za-z_][A-Za-z0-9_$]* )
    | (?P<number> [0-9][A-Za-z0-9_.]* )
    | (?P<string> '(?:[^'\\]|\\.|'')*(?:'|\\?\Z)
                | \$(?P<tag>[A-Za-z0-9_]*)\$.*?(?:\$(?P=tag)\$|\Z)
                | \xe2\x80\x98.*?(?:\xe2\x80\x99|\Z) )
    | (?P<quoted> "(?:[^"\\]|\\.|"")*(?:"|\\?\Z)
                | `(?:[^`\\]|\\.|``)*(?:`|\\?\Z)
                | \xe2\x80\x9c.*?(?:\xe2\x80\x9d|\Z) )
    | (?P<punct>  . )
    """,
    re.VERBOSE | re.DOTALL,
)


class Token(NamedTuple):
    """A lexeme. `word` is its upper-case text when it is a bare word, else empty."""

    kind: str
    text: bytes
    word: bytes
    start: int
    end: int


def tokens(text: bytes) -> Iterator[Token]:
    """ClickHouse's lexemes, without white space and comments."""
    position = 0
    while position < len(text):
        skipped = _skip_blank(text, position)
        if skipped != position:
            position = skipped
            continue
        found = _TOKEN.match(text, position)
        assert found is not None  # the last alternative matches any byte
        kind = found.lastgroup or "punct"
        if kind == "tag":
            kind = "string"
        lexeme = found.group()
        yield Token(kind, lexeme, lexeme.upper() if kind == "word" else b"", position, found.end())
        position = found.end()


def _skip_blank(text: bytes, position: int) -> int:
    for pattern in (_SPACE, _LINE_COMMENT):
        found = pattern.match(text, position)
        if found:
            return found.end()
    if not text.startswith(b"/*", position):
        return position
    depth = 0  # ClickHouse's block comments nest
    for edge in _BLOCK_EDGE.finditer(text, position):
        depth += 1 if edge.group() == b"/*" else -1
        if depth == 0:
            return edge.end()
    return len(text)


class DataInsert(NamedTuple):
    """An INSERT whose data follows its text."""

    statement: bytes  # up to, and without, SETTINGS, FORMAT or VALUES
    settings: bytes  # the SETTINGS clause, if there is one
    format: str
    data_start: int  # where data in the text itself begins


# One line end after the format's name belongs to the statement; all else is data, blank or not.
_AFTER_FORMAT = re.compile(rb"[ \t\f]*(?:;\s*\Z|\r?\n?)")


def data_insert(text: bytes) -> Optional[DataInsert]:
    """The INSERT that `text` begins with, if its data follows; None for any other statement."""
    stream = tokens(text)
    first = next(stream, None)
    if first is None or first.word != b"INSERT":
        return None
    token = next(stream, None)
    for keyword in (b"INTO", b"TABLE", b"FUNCTION"):
        if token is not None and token.word == keyword:
            token = next(stream, None)
    # `token` is the table's name now: it may be spelled like a keyword
    depth = 1 if token is not None and token.text == b"{" else 0  # {table:Identifier}
    last = token
    into: Optional[int] = None  # where what the data go into ends, once SETTINGS are met
    for token in stream:
        if last is not None and last.text == b".":
            last = token
            continue
        if token.text in (b"(", b"{"):
            depth += 1
        elif token.text in (b")", b"}"):
            depth -= 1
        elif depth == 0 and last is not None:
            if token.word in (b"SELECT", b"WITH", b"FROM", b"WATCH"):
                return None
            end = last.end if into is None else into
            if token.word == b"SETTINGS" and into is None:
                into = last.end
            if token.word == b"VALUES":
                return DataInsert(text[:end], text[end:last.end], "Values", token.end)
            if token.word == b"FORMAT":
                name = next(stream, None)
                if name is None or name.kind != "word":
                    return None
                data_start = _after_format(text, name.end)
                return DataInsert(text[:end], text[end:last.end], name.text.decode(), data_start)
        last = token
    return None


def _after_format(text: bytes, end: int) -> int:
    found = _AFTER_FORMAT.match(text, end)
    return found.end() if found else end


_FORMAT = re.compile(rb"\bformat\b", re.IGNORECASE)


def output_format(text: bytes) -> Optional[str]:
    """The format a query names in its FORMAT clause, at the end or before SETTINGS."""
    if not _FORMAT.search(text):
        return None
    found: Optional[str] = None
    before: Optional[Token] = None
    name: Optional[Token] = None
    for token in tokens(text):
        if name is not None and (token.text == b";" or token.word == b"SETTINGS"):
            found = name.text.decode()
        is_name = before is not None and before.word == b"FORMAT" and token.kind == "word"
        if token.text != b";" or name is None:
            name = token if is_name else None
        before = token
    return name.text.decode() if name is not None else found


def first_word(text: bytes) -> bytes:
    """The statement's first bare word, upper case; past opening parentheses."""
    for token in tokens(text):
        if token.text != b"(":
            return token.word
    return b""


def has_several_statements(text: bytes) -> bool:
    """Is anything but the end behind a semicolon?"""
    ended = False
    for token in tokens(text):
        if token.text == b";":
            ended = True
        elif ended:
            return True
    return False


# The scalar function file() reads any file the service's user may read; the
# engine checks grants only for the table function of that name.
_FILE = re.compile(rb"\bfile\b[`\"]?\s*(?:\(|/\*|--|//|#)", re.IGNORECASE)
_OUTFILE = re.compile(rb"\boutfile\b", re.IGNORECASE)
_INFILE = re.compile(rb"\binfile\b", re.IGNORECASE)
_INPUT = re.compile(rb"\binput\b", re.IGNORECASE)


def calls_file(text: bytes) -> bool:
    """Does the text, outside of literals, call file()?"""
    return bool(_FILE.search(text)) and _calls(text, b"FILE")


def writes_outfile(text: bytes) -> bool:
    """INTO OUTFILE, which the embedded engine would carry out on the server's disk."""
    return bool(_OUTFILE.search(text)) and any(token.word == b"OUTFILE" for token in tokens(text))


def reads_infile(text: bytes) -> bool:
    """FROM INFILE, which the embedded engine would read from the server's disk."""
    return bool(_INFILE.search(text)) and any(token.word == b"INFILE" for token in tokens(text))


def reads_input(text: bytes) -> bool:
    """A call of input(), the table function that stands for an INSERT's data."""
    return bool(_INPUT.search(text)) and _calls(text, b"INPUT")


def _calls(text: bytes, name: bytes) -> bool:
    before = b""
    for token in tokens(text):
        if token.text == b"(" and before == name:
            return True
        before = token.text.strip(b'`"').upper()
    return False


def is_temporary(text: bytes) -> bool:
    """CREATE [OR REPLACE] TEMPORARY ..."""
    words = [token.word for token, _ in zip(tokens(text), range(4))]
    return words[:1] == [b"CREATE"] and b"TEMPORARY" in words
