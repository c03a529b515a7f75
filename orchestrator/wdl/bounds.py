"""How large values may grow, so that no expression takes the server's memory or time.

WDL has no loops, yet twenty lines of `String b = a + a` make a million characters of one, and
`cross(cross(a, a), cross(a, a))` any number of elements. So every function that can make more than
it was given is bounded, and what a declaration holds is, too.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from typing import Any

from WDL import Value

LONGEST_STRING = 128 * 1024**2  # characters; also bytes of a file that an expression writes
LONGEST_ARRAY = 1_000_000  # elements; Cromwell's widest scatter
LARGEST_VALUE = 256 * 1024**2  # characters of everything in one declaration, a number being 8


class TooLarge(ValueError):
    """A value would grow beyond bounds."""


def is_int(number: int) -> bool:
    """Whether an Int can hold it: it has 64 bits."""
    return -(2**63) <= number < 2**63


def length(what: str, elements: int) -> int:
    """An array's length, if it may be so long."""
    if elements > LONGEST_ARRAY:
        raise TooLarge(
            f"{what} would make {elements:,} elements; at most {LONGEST_ARRAY:,} are allowed"
        )
    return elements


def characters(what: str, count: int) -> int:
    """A text's length, if it may be so long."""
    if count > LONGEST_STRING:
        raise TooLarge(
            f"{what} would make a text of {count:,} characters; at most {LONGEST_STRING:,} are "
            "allowed"
        )
    return count


def joined(what: str, separator: str, parts: Iterable[str]) -> str:
    """`separator.join(parts)`, measured before it is made."""
    parts = list(parts)
    total = sum(map(len, parts)) + len(separator) * max(0, len(parts) - 1)
    characters(what, total)
    return separator.join(parts)


class Buffer(io.BytesIO):
    """Takes what a `write_*()` function serializes."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self._what = what

    def write(self, data: Any) -> int:
        """Append, within bounds."""
        characters(self._what, self.tell() + len(data))
        return super().write(data)


def declared(value: Any) -> None:
    """Raises TooLarge for a value that is too large to be kept."""
    if isinstance(value, Value.Int) and not is_int(value.value):
        raise TooLarge("the number does not fit in 64 bits")
    if isinstance(value, Value.String):
        characters("the expression", len(value.value))
    elif weight(value) > LARGEST_VALUE:
        raise TooLarge(
            f"the value holds more than {LARGEST_VALUE:,} characters; keep data in files"
        )


def weight(value: Any) -> int:
    """Roughly the characters that a value is written with. A part that is shared counts every time
    it occurs, but is looked at once: large parts carry their weight."""
    if isinstance(value, Value.String):
        return len(value.value) + 2
    parts = _parts(value)
    if parts is None:
        return 8
    known: int | None = value.__dict__.get("_orchestrator_weight")
    if known is None:
        known = 8 + sum(weight(part) for part in parts)
        value.__dict__["_orchestrator_weight"] = known
    return known


def _parts(value: Any) -> Iterator[Any] | None:
    if isinstance(value, Value.Array | Value.Pair):
        return iter(value.value)
    if isinstance(value, Value.Map):
        return (part for pair in value.value for part in pair)
    if isinstance(value, Value.Struct):
        return iter(value.value.values())
    return None
