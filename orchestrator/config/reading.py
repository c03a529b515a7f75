"""One document read block by block: what is wrong with it, and what becomes of each of its keys.

Everything that is wrong is reported at once. A key that has no effect is a warning, as Cromwell
only warns.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from orchestrator import errors
from orchestrator.config import cromwell_keys, hocon
from orchestrator.config.keys import Keys
from orchestrator.model import runtime

M = TypeVar("M", bound=BaseModel)

# A path in a document: names of keys, and places in lists.
KeyPath = tuple[str | int, ...]


class Use(StrEnum):
    """What becomes of a key."""

    USED = "used"
    NO_EFFECT = "no effect"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Key:
    """One key that a document gives, with no key below it. `why`: of what is not used."""

    name: str
    use: Use
    why: str = ""
    place: errors.Place | None = None


class Reader:
    """What is read from one document; collects what is wrong and what has no effect."""

    def __init__(
        self, document: hocon.Document, path: Path | None, given: hocon.Document | None = None
    ) -> None:
        """`path`: the file that is to blame where a key has no place of its own. `given`: what the
        user wrote, where the document holds more."""
        self.data = document.data
        self._given = given or document
        self.defects: list[errors.Finding] = []
        self.warnings: list[errors.Finding] = []
        self._places = document.places
        self._path = path
        self._notes: dict[KeyPath, tuple[Use, str]] = {}

    def block(self, name: str, model: type[M]) -> M | None:
        """A block at the top of the document; None where it has defects."""
        return self.read(model, self.data.get(name, {}), (name,))

    def read(self, model: type[M], data: Any, at: KeyPath) -> M | None:
        """A block as its model; None where it has defects."""
        self._look_for_unknown(model, data, at)
        if not isinstance(data, dict):
            self.defect(at, "expected a block of keys")
            return None
        try:
            return model.model_validate(data)
        except ValidationError as error:
            for detail in error.errors(include_input=False, include_url=False):
                self.defect((*at, *_without_tags(detail["loc"])), _sentence(detail))
            return None

    def top(self, known: Mapping[str, Any]) -> None:
        """Notes blocks that are not known."""
        for key in self.data:
            if key not in known:
                self._unknown((key,), known)

    def attributes(self, attributes: Mapping[str, Any], at: KeyPath) -> None:
        """Runtime attributes that hold where a task says nothing."""
        for name, finding in runtime.check(attributes):
            self.defect((*at, name), finding.message, finding.hint)
        for name, advice in runtime.advice(attributes):
            known = name in runtime.KNOWN
            near = [] if known else difflib.get_close_matches(name, runtime.KNOWN, 1, 0.75)
            hint = f"did you mean {near[0]}?" if near else ""
            self.warn((*at, name), advice, hint)
            why = advice.partition(": ")[2] if known else hint
            self.note((*at, name), Use.NO_EFFECT if known else Use.UNKNOWN, why)

    def defect(self, path: KeyPath, message: str, hint: str = "") -> None:
        """The document cannot be used."""
        self.defects.append(errors.Finding(f"{dotted(path)}: {message}", self.blame(path), hint))

    def warn(self, path: KeyPath, message: str, hint: str = "") -> None:
        """Something to know about a key."""
        self.warnings.append(errors.Finding(f"{dotted(path)}: {message}", self.blame(path), hint))

    def note(self, path: KeyPath, use: Use, why: str) -> None:
        """What becomes of a key and all below it."""
        self._notes[path] = (use, why)

    def without_effect(self, path: KeyPath, message: str, hint: str = "") -> None:
        """A warning of a key that is not used."""
        self.warn(path, message, hint)
        self.note(path, Use.NO_EFFECT, f"{message}; {hint}" if hint else message)

    def origin(self, path: KeyPath) -> errors.Place | None:
        """Where exactly this key was given; None: nowhere, or in our reference."""
        keys = _names(path)
        while keys and keys not in self._places and len(keys) > 1 and _is_in_list(path):
            keys = keys[:-1]
        place = self._places.get(keys)
        if place is None or place.file == str(hocon.REFERENCE):
            return None
        return errors.Place(place.file) if place.file.startswith("-D") else place

    def blame(self, path: KeyPath) -> errors.Place | None:
        """The nearest place to this key, at or above it."""
        keys = _names(path)
        for length in range(len(keys), 0, -1):
            place = self.origin(keys[:length])
            if place is not None:
                return place
        return errors.Place(str(self._path)) if self._path else None

    def keys(self) -> tuple[Key, ...]:
        """Every key that the document gives, our reference aside, and what becomes of it."""
        return tuple(self._keys(self._given.data, ()))

    def _keys(self, value: Any, at: KeyPath) -> Iterator[Key]:
        below: Iterator[tuple[str | int, Any]] = iter(())
        if isinstance(value, dict):
            below = iter(value.items())
        elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            below = iter(enumerate(value))
        found = False
        for name, item in below:
            found = True
            yield from self._keys(item, (*at, name))
        if found or not at or self.origin(at) is None:
            return
        names = _names(at)
        for length in range(len(at), 0, -1):
            if at[:length] in self._notes:
                use, why = self._notes[at[:length]]
                break
        else:
            expected = cromwell_keys.why_expected(names)
            use, why = (Use.USED, "") if expected is None else (Use.NO_EFFECT, expected)
        yield Key(dotted(at), use, why, self.origin(at))

    def _look_for_unknown(self, model: type[BaseModel], data: Any, at: KeyPath) -> None:
        if not isinstance(data, dict):
            return
        known = {
            field.alias or name: field.annotation for name, field in model.model_fields.items()
        }
        known.pop("kind", None)
        for key, value in data.items():
            if key not in known:
                self._unknown((*at, key), known)
                continue
            for below in _models(known[key]):
                if isinstance(value, dict):
                    self._look_for_unknown(below, value, (*at, key))
                for index, item in enumerate(value if isinstance(value, list) else ()):
                    if isinstance(item, dict) and item.get("scheme") in _schemes(below):
                        self._look_for_unknown(below, item, (*at, key, index))

    def _unknown(self, path: KeyPath, known: Mapping[str, Any]) -> None:
        if self.origin(path) is None:
            return
        names = _names(path)
        why = cromwell_keys.why_unused(names)
        value: Any = self.data
        for key in path:
            value = value[key]
        if why is None and isinstance(value, dict) and cromwell_keys.is_above_unused(names):
            for key in value:
                self._unknown((*path, key), {})
            return
        if why is not None:
            self.warn(path, "this key of Cromwell's is not used here", why)
            self.note(path, Use.NO_EFFECT, why)
            return
        near = difflib.get_close_matches(names[-1], known, 1, 0.75)
        if near:
            self.warn(path, "unknown key", f"did you mean {near[0]}?")
            self.note(path, Use.UNKNOWN, f"did you mean {near[0]}?")
        elif len(path) > 1:
            self.warn(path, "unknown key; it has no effect")
            self.note(path, Use.UNKNOWN, "")
        else:  # at the top people put values that they refer to
            self.note(path, Use.UNKNOWN, "of use only to keys that refer to it")


def dotted(path: Sequence[str | int]) -> str:
    """A path as people write it: `a.b[0]."c.d"`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            part = f'"{part}"' if "." in part else part
            text += f".{part}" if text else part
    return text


def _names(path: KeyPath) -> tuple[str, ...]:
    return tuple(part for part in path if isinstance(part, str))


def _is_in_list(path: KeyPath) -> bool:
    """Keys within lists have no places of their own: their list's stands for them."""
    return any(isinstance(part, int) for part in path)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, Keys):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def _schemes(model: type[BaseModel]) -> tuple[str, ...]:
    field = model.model_fields.get("scheme")
    return get_args(field.annotation) if field else ()


_TAGS = frozenset({"default", "custom_keys", "assume_role"})


def _without_tags(place: Sequence[str | int]) -> list[str | int]:
    """pydantic puts the scheme of an auth into the path of its keys."""
    return [
        part
        for index, part in enumerate(place)
        if not (part in _TAGS and index and isinstance(place[index - 1], int))
    ]


def _sentence(detail: Any) -> str:
    if detail["type"] == "missing":
        return "missing"
    if detail["type"] == "union_tag_not_found":
        return "scheme is missing: default, custom_keys or assume_role"
    if detail["type"] == "union_tag_invalid":
        return "unknown scheme; expected default, custom_keys or assume_role"
    message = str(detail["msg"]).removeprefix("Value error, ")
    return message[:1].lower() + message[1:].replace("Input should", "should")
