"""JSON of values that may be large, a piece at a time.

`json.dumps` is one call of C code: no other thread of the process moves until it is done, a tenth
of a second for a million numbers. The text is the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

_AT_ONCE = 2_000  # elements

PLAIN = json.JSONEncoder()  # as json.dumps does
COMPACT = json.JSONEncoder(separators=(",", ":"))
CANONICAL = json.JSONEncoder(separators=(",", ":"), sort_keys=True)


def text(value: Any, encoder: json.JSONEncoder = COMPACT) -> str:
    """A JSON value, its keys being text, as `encoder.encode` writes it."""
    if not isinstance(value, list | dict):
        return encoder.encode(value)
    return "".join(_pieces(value, encoder))


def _pieces(value: list[Any] | dict[str, Any], encoder: json.JSONEncoder) -> Iterator[str]:
    if len(value) <= _AT_ONCE and _is_flat(value):
        yield encoder.encode(value)
    elif isinstance(value, list):
        yield "["
        for start in range(0, len(value), _AT_ONCE):
            part = value[start : start + _AT_ONCE]
            if start:
                yield encoder.item_separator
            if _is_flat(part):
                yield encoder.encode(part)[1:-1]
                continue
            for position, item in enumerate(part):
                if position:
                    yield encoder.item_separator
                yield from _item(item, encoder)
        yield "]"
    else:
        yield "{"
        for position, key in enumerate(sorted(value) if encoder.sort_keys else value):
            if position:
                yield encoder.item_separator
            yield encoder.encode(key) + encoder.key_separator
            yield from _item(value[key], encoder)
        yield "}"


def _item(value: Any, encoder: json.JSONEncoder) -> Iterator[str]:
    if isinstance(value, list | dict):
        return _pieces(value, encoder)
    return iter((encoder.encode(value),))


def _is_flat(value: list[Any] | dict[str, Any]) -> bool:
    items = value.values() if isinstance(value, dict) else value
    return not any(isinstance(item, list | dict) for item in items)
