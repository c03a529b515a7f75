"""What a rule has to say."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stacks.settings.schema import Settings


class Level(enum.Enum):
    """ERROR: cannot work, or must not. WARNING: works, likely not as meant. INFO: good to know."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """`keys` are those that are at odds, dotted; the first is where the finding is shown."""

    level: Level
    keys: tuple[str, ...]
    message: str
    hint: str = ""

    @property
    def sentence(self) -> str:
        return f"{self.keys[0]}: {self.message}"

    @property
    def paths(self) -> tuple[tuple[str | int, ...], ...]:
        """The keys, as paths into the file."""
        return tuple(
            tuple(int(part) if part.isdigit() else part for part in key.split("."))
            for key in self.keys
        )


Rule = Callable[["Settings"], Iterable[Finding]]


def error(keys: str, message: str, hint: str = "") -> Finding:
    """A finding of level ERROR; `keys` are separated by blanks."""
    return Finding(Level.ERROR, tuple(keys.split()), message, hint)


def warning(keys: str, message: str, hint: str = "") -> Finding:
    """A finding of level WARNING; `keys` are separated by blanks."""
    return Finding(Level.WARNING, tuple(keys.split()), message, hint)


def info(keys: str, message: str, hint: str = "") -> Finding:
    """A finding of level INFO; `keys` are separated by blanks."""
    return Finding(Level.INFO, tuple(keys.split()), message, hint)
