"""Regular expressions of `sub()`, `find()` and `matches()`: bounded in time and in size.

POSIX extended ones, as WDL asks for (the longest of the leftmost matches), on the library `regex`,
which can be told to stop. Perl's and Java's additions (`\\d`, `(?i)`, look-around) work, too: real
pipelines use them.

A pattern may be hostile in two ways. Matching may take for ever: all matching of one evaluation
shares a budget of time. And `((a{999}){999}){999}` may take all memory while it is compiled: what
repeats would unfold to is counted beforehand.
"""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

import regex

from orchestrator.wdl import bounds

SECONDS = 0.04  # for all matching of one evaluation: a task, or a step of a workflow
_AT_ONCE = 4  # threads that compute, as a rule at most: no match is cut short for its neighbours
LONGEST_PATTERN = 10_000
MOST_UNFOLDED = 20_000  # elements, once repeats with numbers are unfolded
DEEPEST = 100

T = TypeVar("T")

_TOKEN = re.compile(
    r"""\\.                                # an escape
    | \[\^?\]?(?:\\.|\[:\w+:\]|[^\]\\])*\] # a set
    | \(\?\#[^)]*\) | \( | \)
    | \{(?P<least>\d*)(?P<comma>,(?P<most>\d*))?\}
    | .""",
    re.VERBOSE | re.DOTALL,
)


class Matcher:
    """Matching with a budget of time."""

    def __init__(self) -> None:
        self._left: float = SECONDS

    def renew(self) -> None:
        """A new evaluation begins."""
        self._left = SECONDS

    def sub(self, text: str, pattern: str, replacement: str) -> str:
        """Every match replaced. `\\1` and, as in Java, `$1` stand for groups."""
        compiled = _compiled(pattern)
        replace: Any = _template(replacement, compiled.groups)
        # Counted where it could become large: a letter may stand for a book, many times.
        if (len(replace) + len(text)) * (len(text) + 1) > bounds.LONGEST_STRING:
            replace = _Counting(replace)
        return self._timed(
            pattern, text, lambda timeout: str(compiled.sub(replace, text, timeout=timeout))
        )

    def find(self, text: str, pattern: str) -> str | None:
        """The first match."""
        compiled = _compiled(pattern)
        match = self._timed(pattern, text, lambda timeout: compiled.search(text, timeout=timeout))
        return None if match is None else str(match.group(0))

    def _timed(self, pattern: str, text: str, match: Callable[[float], T]) -> T:
        begun, found = time.thread_time(), None
        try:
            if self._left > 0:
                # The library's clock is the process's: it counts what others compute meanwhile.
                found = match(self._left * _AT_ONCE)
        except TimeoutError:
            self._left = 0
        finally:
            self._left -= time.thread_time() - begun
        if self._left <= 0:
            raise ValueError(
                f"the regular expression {_short(pattern)} takes too long on a text of "
                f"{len(text):,} characters: all matching together has "
                f"{SECONDS * 1000:.0f} ms; let a task's command do it"
            )
        return cast(T, found)


class _Counting:
    """A replacement that stops when it has made too much."""

    def __init__(self, template: str) -> None:
        self._template = template
        self._made = 0

    def __call__(self, match: Any) -> str:
        made: str = match.expand(self._template)
        self._made = bounds.characters("sub()", self._made + len(made))
        return made


@functools.lru_cache(maxsize=512)
def _compiled(pattern: str) -> Any:
    if len(pattern) > LONGEST_PATTERN:
        raise ValueError(
            f"a regular expression of {len(pattern):,} characters; at most {LONGEST_PATTERN:,} "
            "are allowed"
        )
    unfolded = _unfolded(pattern)
    if unfolded > MOST_UNFOLDED:
        raise ValueError(
            f"the regular expression {_short(pattern)} repeats its parts {unfolded:,} times over; "
            f"at most {MOST_UNFOLDED:,} are allowed"
        )
    try:
        return regex.compile(  # type: ignore[no-untyped-call]
            pattern, flags=regex.POSIX, cache_pattern=False
        )
    except regex.error as error:
        raise ValueError(f"the regular expression {_short(pattern)} is wrong: {error}") from None


def _unfolded(pattern: str) -> int:
    """How many elements a pattern has once `{n}` and `{n,m}` are written out."""
    total, last = [0], 0  # by depth; the last element's, which a repeat multiplies
    for token in _TOKEN.finditer(pattern):
        text = token[0]
        if text == "(":
            total.append(0)
            if len(total) > DEEPEST:
                raise ValueError(f"a regular expression with more than {DEEPEST} nested groups")
            last = 0
        elif text == ")" and len(total) > 1:
            last = 1 + total.pop()
            total[-1] += last
        elif token["least"] is not None and (token["least"] or token["most"]):
            times = max(int(token["least"] or 0), int(token["most"] or 0), 1)
            total[-1] += last * (times - 1)
            last *= times
        else:
            last = 1
            total[-1] += 1
    return sum(total)


def _template(replacement: str, groups: int) -> str:
    """A replacement as the library reads it: only `\\N` and `$N` mean something, N being a group of
    the pattern."""

    def one(match: re.Match[str]) -> str:
        escaped, number = match[1], match[2] or match[3]
        if number is not None and int(number) <= groups:
            return f"\\g<{number}>"
        if escaped is not None:  # an escaped character is itself, as in Java
            known = {"\\": "\\\\", "n": "\n", "t": "\t"}
            return known.get(escaped, escaped)
        return match[0].replace("\\", "\\\\")

    return re.sub(r"\\(\D)|\\(\d)|\$(\d)|\\$", one, replacement, flags=re.DOTALL)


def _short(pattern: str) -> str:
    return repr(pattern if len(pattern) <= 80 else f"{pattern[:77]}...")
