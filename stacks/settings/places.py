"""Which line of a TOML file a key stands on: `tomllib` does not say."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

Path = tuple[str | int, ...]


def lines(text: str) -> dict[Path, int]:
    """The line, from 1, of every table and key of a valid TOML text.

    A statement is the fewest lines that are TOML by themselves; what it defines is asked of
    `tomllib`, so quoting, dotted keys, arrays of tables and values of many lines need no grammar.
    """
    found: dict[Path, int] = {}
    tables: dict[Path, int] = {}
    table: Path = ()
    for number, statement, value in _statements(text):
        if statement.startswith("["):
            (table,) = _tables(value)
            if statement.startswith("[["):
                index = tables[table] = tables.get(table, -1) + 1
                table = (*table, index)
            else:
                table = _within(table, tables)
            found.setdefault(table, number)
        else:
            for path in _paths(value):
                found.setdefault((*table, *path), number)
    return found


def nearest(found: dict[Path, int], path: Path) -> int | None:
    """The line of a path, or of the nearest that it lies in."""
    while path:
        if path in found:
            return found[path]
        path = path[:-1]
    return None


def _statements(text: str) -> Iterator[tuple[int, str, dict[str, Any]]]:
    collected, began = "", 1
    for number, line in enumerate(text.splitlines(keepends=True), start=1):
        if not collected:
            began = number
            if not line.strip() or line.lstrip().startswith("#"):
                continue
        collected += line
        try:
            value = tomllib.loads(collected)
        except tomllib.TOMLDecodeError:
            continue
        yield began, collected.lstrip(), value
        collected = ""


def _tables(value: dict[str, Any]) -> list[Path]:
    """The one path that a header `[a.b]` or `[[a.b]]` names."""
    path: Path = ()
    inner: Any = value
    while isinstance(inner, dict) and inner:
        ((key, inner),) = inner.items()
        path = (*path, key)
    return [path]


def _within(table: Path, tables: dict[Path, int]) -> Path:
    """A table below an array of tables belongs to the array's last one."""
    for length in range(len(table) - 1, 0, -1):
        if table[:length] in tables:
            return (*table[:length], tables[table[:length]], *table[length:])
    return table


def _paths(value: Any) -> Iterator[Path]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (key,)
            for path in _paths(inner):
                yield (key, *path)
