"""The settings that hold, one by one, each with where it comes from. Secrets are masked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr

from orchestrator import errors
from orchestrator.config.reading import KeyPath, dotted
from orchestrator.config.settings import Examined

MASK = "***"

_SECRET = re.compile(
    r"(?i)passw|secret(?!.*arn)|token|credential|private.?key|service.?account.?json"
)
_LOGIN_IN_URL = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_NOT_SHOWN = frozenset({"path", "warnings", "kind"})

# A database's settings come from other keys than they are named after.
_DATABASE: dict[KeyPath, KeyPath] = {
    ("database", "secret-arn"): ("orchestrator", "database", "secret-arn"),
    ("database", "iam"): ("orchestrator", "database", "iam"),
    ("database", "user"): ("database", "db", "user"),
    ("database", "password"): ("database", "db", "password"),
}


@dataclass(frozen=True, slots=True)
class Setting:
    """`origin` None: our reference, or what is built in."""

    name: str
    value: Any
    origin: errors.Place | None


def effective(examined: Examined) -> Iterator[Setting]:
    """Every setting that has a value. Raises InvalidConfig."""
    for path, value in _walk(examined.usable(), ()):
        origin = examined.origin(path)
        if path[0] == "database":
            origin = examined.origin(_DATABASE.get(path, ("database", "db", "url")))
        elif path[:2] == ("orchestrator", "deployment"):
            text = examined.origin(("orchestrator", "deployment-json"))
            origin = origin or examined.origin(path[:2]) or text
        yield Setting(dotted(path), value, origin)


def _walk(value: Any, at: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    if isinstance(value, BaseModel):
        for name, field in type(value).model_fields.items():
            if not (name == "kind" or (not at and name in _NOT_SHOWN)):
                yield from _walk(getattr(value, name), (*at, field.alias or name))
    elif isinstance(value, dict) and value:
        for name, item in value.items():
            yield from _walk(item, (*at, str(name)))
    elif isinstance(value, list | tuple) and value and isinstance(value[0], BaseModel | dict):
        for index, item in enumerate(value):
            yield from _walk(item, (*at, index))
    elif value is not None:
        yield at, _shown(value, at)


def _shown(value: Any, at: KeyPath) -> Any:
    if isinstance(value, SecretStr) or (isinstance(value, str) and _SECRET.search(str(at[-1]))):
        return MASK
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    return _LOGIN_IN_URL.sub(MASK, value) if isinstance(value, str) else value
