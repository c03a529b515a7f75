"""What `read_*()` functions make of a file's text. Line ends may be `\\n` or `\\r\\n`.

Errors are ValueErrors that say what is wrong with the text; the caller names the file.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any

from WDL import Type, Value

from orchestrator.wdl import bounds

_STRING = Type.String()
_DEEPEST_JSON = 100
_INT = re.compile(r"[+-]?[0-9]{1,19}")
_FLOAT = re.compile(
    r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[+-]?(?i:nan|inf|infinity)"
)


def text(content: bytes) -> str:
    """The text of a file."""
    try:
        return content.decode("utf-8").removeprefix("\ufeff").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 text (byte {error.start})") from None


def string(text: str, trimmed: bool) -> Any:
    """`read_string()`."""
    return Value.String(text.strip() if trimmed else text.rstrip("\r\n"))


def integer(text: str) -> Any:
    """`read_int()`."""
    word = text.strip()
    if not _INT.fullmatch(word) or not bounds.is_int(int(word)):
        raise ValueError(f"{_shown(word)} is not an Int")
    return Value.Int(int(word))


def floating(text: str) -> Any:
    """`read_float()`."""
    word = text.strip()
    if not _FLOAT.fullmatch(word):
        raise ValueError(f"{_shown(word)} is not a Float")
    return Value.Float(float(word))


def boolean(text: str) -> Any:
    """`read_boolean()`."""
    word = text.strip()
    if word.lower() not in ("true", "false"):
        raise ValueError(f"{_shown(word)} is neither true nor false")
    return Value.Boolean(word.lower() == "true")


def lines(text: str) -> Any:
    """`read_lines()`."""
    return Value.Array(_STRING, strings(_lines(text)))


def table(text: str) -> Any:
    """`read_tsv()`: an array of arrays."""
    rows = _lines(text)
    bounds.length("read_tsv()", len(rows) + text.count("\t"))
    return Value.Array(
        Type.Array(_STRING), [Value.Array(_STRING, strings(row.split("\t"))) for row in rows]
    )


def mapping(text: str) -> Any:
    """`read_map()`: two columns."""
    found: dict[str, str] = {}
    for number, line in enumerate(_lines(text), 1):
        cells = line.split("\t")
        if len(cells) != 2:
            raise ValueError(f"line {number} has {len(cells)} columns, not 2")
        if cells[0] in found:
            raise ValueError(f"line {number} has the key {_shown(cells[0])} once more")
        found[cells[0]] = cells[1]
    return _map(found)


def objects(text: str, *, header: bool = True, names: Sequence[str] | None = None) -> Any:
    """`read_objects()` and `read_tsv()` with a header, or with names given."""
    rows = [line.split("\t") for line in _lines(text)]
    first_line = 1
    if names is not None and header and rows and len(rows[0]) != len(names):
        raise ValueError(f"the header has {len(rows[0])} columns, but {len(names)} names are given")
    if header and rows:
        names, rows, first_line = names or rows[0], rows[1:], 2
    names = names or []
    if any(not name for name in names):
        raise ValueError("a column has no name")
    if len(set(names)) != len(names):
        twice = next(name for name in names if list(names).count(name) > 1)
        raise ValueError(f"two columns are called {_shown(twice)}")
    bounds.length("reading objects", len(rows) * len(names))
    for number, row in enumerate(rows, first_line):
        if len(row) != len(names):
            raise ValueError(f"line {number} has {len(row)} columns, not {len(names)}")
    return Value.Array(
        Type.Map((_STRING, _STRING)), [_map(dict(zip(names, row, strict=True))) for row in rows]
    )


def one_object(text: str) -> Any:
    """`read_object()`: names and values, two lines."""
    found = objects(text).value
    if len(found) != 1:
        raise ValueError(f"it has {len(found)} lines of values, not 1")
    return found[0]


def json_value(text: str) -> Any:
    """`read_json()`."""
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("it nests too deeply") from None
    except ValueError as error:
        raise ValueError(f"it is not JSON: {error}") from None
    _plain(value, 0)
    return Value.from_json(Type.Any(), value)


def strings(texts: Sequence[str]) -> list[Any]:
    """Values of type String, made in a quarter of the time that their constructor takes: a file
    has many lines."""
    make, class_ = Value.String.__new__, Value.String
    made = []
    for one in texts:
        value = make(class_)
        value.__dict__.update(type=_STRING, value=one, _expr=None)
        made.append(value)
    return made


def _lines(text: str) -> list[str]:
    if not text:
        return []
    bounds.length("reading lines", text.count("\n") + (not text.endswith("\n")))
    return [line.rstrip("\r") for line in text.removesuffix("\n").split("\n")]


def _map(values: dict[str, str]) -> Any:
    keys, items = strings(list(values)), strings(list(values.values()))
    return Value.Map((_STRING, _STRING), list(zip(keys, items, strict=True)))


def _plain(value: Any, depth: int) -> None:
    """JSON that WDL has values for."""
    if depth > _DEEPEST_JSON:
        raise ValueError(f"it nests more than {_DEEPEST_JSON} deep")
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            _plain(item, depth + 1)
    elif isinstance(value, int) and not isinstance(value, bool):
        if not bounds.is_int(value):
            raise ValueError(f"the number {_shown(str(value))} does not fit in 64 bits")
    elif isinstance(value, float) and math.isinf(value):
        raise ValueError("a number in it is too large for a Float")


def _shown(word: str) -> str:
    return repr(word if len(word) <= 60 else f"{word[:57]}...")
