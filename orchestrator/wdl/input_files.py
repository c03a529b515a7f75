"""Files of inputs, options and labels: one JSON or YAML object, each name once, with places.

JSON as RFC 8259 has it, without NaN and its like. YAML is read for what JSON could say too, by the
core schema of YAML 1.2, in which `no` is text: no tags, no merge keys, and aliases within bounds.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from orchestrator import errors

LARGEST_BYTES = 64 * 1024**2
DEEPEST = 100
MOST_VALUES = 5_000_000
_MOST_DIGITS = 400

_Loader: Any = getattr(yaml, "CLoader", yaml.Loader)


@dataclass(frozen=True, slots=True)
class Given:
    """What a file says, and where each of its names stands."""

    values: dict[str, Any]
    places: dict[str, errors.Place] = field(default_factory=dict)


def read(path: Path, wrong: type[errors.Invalid] = errors.InvalidInputs) -> Given:
    """A file by its path; `.yaml` and `.yml` are YAML, all else is JSON. Raises `wrong`."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise wrong(f"{path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise wrong(f"{str(path)!r} is no name of a file") from None
    return parse(content, str(path), wrong, is_yaml=path.suffix.lower() in (".yaml", ".yml"))


def parse(
    content: bytes,
    name: str,
    wrong: type[errors.Invalid] = errors.InvalidInputs,
    *,
    is_yaml: bool | None = None,
) -> Given:
    """The object in a file's content; `is_yaml` None: what it looks like.

    Raises `wrong` with the place of what is wrong.
    """
    here = errors.Place(name)
    if len(content) > LARGEST_BYTES:
        raise wrong(f"larger than {LARGEST_BYTES:,} bytes", place=here)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise wrong(
            "not UTF-8 text", place=errors.Place(name, line), hint="save it as UTF-8"
        ) from None
    if is_yaml is None:
        is_yaml = not text.lstrip().startswith(("{", "["))
    try:
        given = _yaml(text, name) if is_yaml else _json(text, name)
    except _Wrong as error:
        raise wrong(error.message, place=error.place or here, hint=error.hint) from None
    if given is None:
        kind = "YAML mapping" if is_yaml else "JSON object"
        raise wrong(f"not a {kind}", place=here, hint="names and values: workflow.x: value")
    return given


class _Wrong(Exception):
    def __init__(self, message: str, place: errors.Place | None = None, hint: str = "") -> None:
        self.message, self.place, self.hint = message, place, hint


# JSON

_COLON = re.compile(r"\s*:")


def _json(text: str, name: str) -> Given | None:
    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            seen: set[str] = set()
            for key, _ in pairs:
                if key in seen:
                    first = _key_offset(text, key, 0)
                    offset = max(first, _key_offset(text, key, first + 1))
                    place = _place(text, name, offset) if offset >= 0 else errors.Place(name)
                    raise _twice(key, place)
                seen.add(key)
        return made

    def constant(word: str) -> Any:
        raise _Wrong(f"{word} is no number that JSON has", _find(text, name, word))

    def integer(digits: str) -> int:
        if len(digits) > _MOST_DIGITS:
            raise _Wrong("a number of too many digits", _find(text, name, digits))
        return int(digits)

    def number(digits: str) -> float:
        value = float(digits)
        if not math.isfinite(value):
            raise _Wrong("a number that is too large", _find(text, name, digits))
        return value

    try:
        value = json.loads(
            text,
            object_pairs_hook=members,
            parse_constant=constant,
            parse_int=integer,
            parse_float=number,
        )
    except json.JSONDecodeError as error:
        place = errors.Place(name, error.lineno, error.colno)
        raise _Wrong(f"not JSON: {error.msg}", place) from None
    except RecursionError:
        raise _Wrong(f"nests more than {DEEPEST} deep") from None
    if not isinstance(value, dict):
        return None
    if _depth(value) > DEEPEST:
        raise _Wrong(f"nests more than {DEEPEST} deep")
    return Given(value, _key_places(text, name, value))


def _depth(value: Any) -> int:
    deepest = 0
    todo = [(value, 1)]
    while todo:
        item, depth = todo.pop()
        deepest = max(deepest, depth)
        if isinstance(item, dict):
            todo += [(inner, depth + 1) for inner in item.values()]
        elif isinstance(item, list):
            todo += [(inner, depth + 1) for inner in item]
    return deepest


def _key_places(text: str, name: str, keys: Iterable[str]) -> dict[str, errors.Place]:
    """Where keys stand, most likely: JSON's parser does not tell. `keys` in the file's order, so
    that each is looked for behind the one before."""
    places: dict[str, errors.Place] = {}
    line, line_end, seen = 1, -1, 0  # `line_end`: of the line before
    for key in keys:
        offset = _key_offset(text, key, seen)
        if offset < 0:  # written with escapes
            places[key] = errors.Place(name)
            continue
        line += text.count("\n", seen, offset)
        line_end = max(line_end, text.rfind("\n", seen, offset))
        seen = offset
        places[key] = errors.Place(name, line, offset - line_end)
    return places


def _key_offset(text: str, key: str, start: int) -> int:
    quoted = json.dumps(key, ensure_ascii=False)
    offset = text.find(quoted, start)
    while offset >= 0 and not _COLON.match(text, offset + len(quoted)):
        offset = text.find(quoted, offset + 1)
    return offset


def _find(text: str, name: str, word: str) -> errors.Place:
    match = re.search(rf"(?<![\w\".]){re.escape(word)}(?![\w\"])", text)
    return _place(text, name, match.start()) if match else errors.Place(name)


def _place(text: str, name: str, offset: int) -> errors.Place:
    line = text.count("\n", 0, offset) + 1
    return errors.Place(name, line, offset - text.rfind("\n", 0, offset))


def _twice(key: str, place: errors.Place) -> _Wrong:
    shown = key if len(key) <= 80 else f"{key[:77]}..."
    return _Wrong(f"{shown} stands twice", place, "keep one of them")


# YAML: built from events, which neither recurse nor make objects of their own choosing.

_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_SPECIAL = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


def _yaml(text: str, name: str) -> Given | None:
    try:
        return _Builder(name).build(yaml.parse(text, Loader=_Loader))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "no YAML"
        place = errors.Place(name, mark.line + 1, mark.column + 1) if mark else None
        raise _Wrong(f"not YAML: {problem}", place) from None


@dataclass(slots=True)
class _Open:
    """A collection whose end has not come. `size`: values in it, those of aliases counted again."""

    value: Any
    anchor: str | None
    key: str | None = None
    size: int = 1


class _Builder:
    def __init__(self, name: str) -> None:
        self._name = name
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._open: list[_Open] = []
        self._places: dict[str, errors.Place] = {}
        self._root: Any = None
        self._documents = 0

    def build(self, events: Iterator[Any]) -> Given | None:
        for event in events:
            place = errors.Place(self._name, event.start_mark.line + 1, event.start_mark.column + 1)
            match event:
                case yaml.DocumentStartEvent():
                    self._documents += 1
                    if self._documents > 1:
                        raise _Wrong("a second document", place, "keep one")
                case yaml.ScalarEvent():
                    self._add(self._scalar(event, place), 1, event.anchor, place)
                case yaml.AliasEvent():
                    if event.anchor not in self._anchors:
                        raise _Wrong(f"there is no anchor {event.anchor} before this", place)
                    value, size = self._anchors[event.anchor]
                    self._add(value, size, None, place)
                case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                    self._tag(event, place, "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")
                    if len(self._open) >= DEEPEST:
                        raise _Wrong(f"nests more than {DEEPEST} deep", place)
                    if self._open and self._expects_key:
                        raise _Wrong("a name that is no text", place)
                    empty: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
                    self._open.append(_Open(empty, event.anchor))
                case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                    done = self._open.pop()
                    self._add(done.value, done.size, done.anchor, place)
        return Given(self._root, self._places) if isinstance(self._root, dict) else None

    @property
    def _expects_key(self) -> bool:
        top = self._open[-1]
        return isinstance(top.value, dict) and top.key is None

    def _add(self, value: Any, size: int, anchor: str | None, place: errors.Place) -> None:
        if anchor:
            self._anchors[anchor] = (value, size)
        if not self._open:
            self._root = value
            return
        top = self._open[-1]
        if self._expects_key:
            if not isinstance(value, str):
                value = json.dumps(value) if isinstance(value, bool | int | float) else None
            if value is None:
                raise _Wrong("a name that is no text", place)
            if value == "<<":
                raise _Wrong("merge keys are not read", place, "write the names out")
            if value in top.value:
                raise _twice(value, place)
            if len(self._open) == 1:
                self._places[value] = place
            top.key = value
            return
        top.size += size
        if top.size > MOST_VALUES:
            raise _Wrong(f"more than {MOST_VALUES:,} values", place)
        if isinstance(top.value, dict):
            top.value[top.key] = value
            top.key = None
        else:
            top.value.append(value)

    def _scalar(self, event: Any, place: errors.Place) -> Any:
        self._tag(event, place, "tag:yaml.org,2002:str")
        text = event.value
        if event.style or event.tag is not None:  # quoted, or said to be text
            return text
        if text in _WORDS:
            return _WORDS[text]
        if _INT.fullmatch(text) and len(text) <= _MOST_DIGITS:
            return int(text)
        if _FLOAT.fullmatch(text):
            value = float(text)
            if math.isfinite(value):
                return value
            raise _Wrong("a number that is too large", place)
        if _SPECIAL.fullmatch(text):
            raise _Wrong(f"{text} is no number that an input can be", place)
        return text

    @staticmethod
    def _tag(event: Any, place: errors.Place, *known: str) -> None:
        if event.tag is not None and event.tag not in (*known, "!"):
            raise _Wrong(f"the tag {event.tag} is not read", place)
