"""Inputs of a workflow: names and types checked against the document, all defects at once."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import WDL.Error
from WDL import Env, Tree, Type, Value

from orchestrator import errors
from orchestrator.wdl import bounds, diagnostics, miniwdl_private
from orchestrator.wdl.document import Document
from orchestrator.wdl.miniwdl_dialect import ObjectType

_OVERRIDES = ("runtime", "requirements", "hints")


@dataclass(frozen=True, eq=False)
class Inputs:
    """Checked inputs. Binding `json` again gives the same."""

    json: dict[str, Any]  # by full names, plain JSON values
    files: tuple[tuple[str, str, bool], ...]  # input name, URI or path, whether a directory
    places: Mapping[str, errors.Place]  # where they were given, else where they are declared
    values: Any = field(repr=False)  # Env.Bindings of values; for this room only
    document: Document = field(repr=False)

    def with_files(self, mapping: Mapping[str, str]) -> Inputs:
        """The same with files moved: URI or path -> new URI or path."""
        values = self.values.map(
            lambda binding: Env.Binding(
                binding.name,
                miniwdl_private.rewrite_paths(
                    binding.value, lambda path: mapping.get(path.value, path.value)
                ),
            )
        )
        return _inputs(self.document, values, self.places)


@dataclass(frozen=True)
class Assigned:
    """Inputs of a command line that could be read, by full names; what is wrong with the others,
    and which of the workflow's those are."""

    values: dict[str, Any]
    findings: tuple[errors.Finding, ...] = ()
    unread: frozenset[str] = frozenset()


def bind(
    document: Document,
    inputs: Mapping[str, Any],
    places: Mapping[str, errors.Place] | None = None,
) -> Inputs:
    """As `check`. Raises InvalidInputs with one finding for every defect."""
    bound, findings = check(document, inputs, places)
    refuse(document, findings)
    return bound


def refuse(document: Document, findings: Sequence[errors.Finding]) -> None:
    """Raises InvalidInputs if there is anything wrong with them."""
    if findings:
        raise errors.InvalidInputs(
            f"the inputs do not fit workflow {document.workflow_name}",
            findings=findings,
            hint="`orchestrator inputs` prints what the workflow takes"
            if len(findings) > 1
            else "",
        )


def check(
    document: Document,
    inputs: Mapping[str, Any],
    places: Mapping[str, errors.Place] | None = None,
    unread: Collection[str] = (),
) -> tuple[Inputs, list[errors.Finding]]:
    """Check inputs by name (`wf.x`, or bare `x`; of calls `wf.call.x`) and type: those that fit,
    and one finding for every defect.

    `places`: where an input was given; a finding without one stands where the input is declared.
    `wf.call.runtime.cpu` overrides a runtime attribute. Names that begin with `#` are comments.
    `unread`: full names of inputs that were given, but could not be read.
    """
    places = places or {}
    findings: list[errors.Finding] = []
    bindings: dict[str, Any] = {}
    given_as: dict[str, str] = {}
    stands: dict[str, errors.Place] = {}
    for key, value in inputs.items():
        if key.startswith("#"):
            continue
        found = _find(document, key)
        if found is None:
            findings.append(_unknown(document, key, places.get(key)))
            continue
        name, type_ = found
        if name in given_as:
            twice = f"{key} is given twice, here and as {given_as[name]}"
            findings.append(errors.Finding(twice, places.get(key)))
            continue
        given_as[name] = key
        declared = document.declared.get(name)
        place = declared.place if declared else None
        hint = f"declared at {place}" if place and key in places else ""
        place = places.get(key, place)
        if place is not None:
            stands[document.full_name(name)] = place
        wrong = [
            errors.Finding(
                f"{key}{where}: expected {expected if where or not declared else declared.written}"
                f", got {_shown(item)}",
                place,
                hint,
            )
            for where, expected, item in _mismatches(type_, value, "")
        ]
        if wrong:
            findings += wrong
            continue
        try:
            bindings[name] = Value.from_json(type_, value)
        except RecursionError:
            findings.append(errors.Finding(f"{key}: nests too deeply", place, hint))
        except (WDL.Error.RuntimeError, ValueError, AssertionError, TypeError) as error:
            findings.append(errors.Finding(f"{key}: {error}", place, hint))
    for declared in document.declared.values():
        full_name = document.full_name(declared.name)
        if declared.required and declared.name not in given_as and full_name not in unread:
            findings.append(
                errors.Finding(f"{full_name} ({declared.written}) is missing", declared.place)
            )
    env: Env.Bindings[Any] = Env.Bindings()
    for name in reversed(bindings):
        env = env.bind(name, bindings[name])
    return _inputs(document, env, stands), findings


def merged(
    document: Document, values: Mapping[str, Any], later: Mapping[str, Any]
) -> dict[str, Any]:
    """Inputs of several files: a later one wins, by whichever of its names an input is given."""

    def meant(key: str) -> str:
        found = _find(document, key)
        return key if found is None else found[0]

    replaced = {meant(key) for key in later}
    return {key: value for key, value in values.items() if meant(key) not in replaced} | dict(later)


def parse_assignments(document: Document, assignments: Iterable[str]) -> Assigned:
    """`name=value` pairs of a command line as inputs by full names. Names are left to `check`.

    The declared type tells how a value is read: a String or File stays text; numbers and booleans
    are parsed; arrays are given by repetition or, like maps and structs, as JSON.
    """
    findings: list[errors.Finding] = []
    texts: dict[str, list[str]] = {}
    for assignment in assignments:
        key, separator, text = assignment.partition("=")
        if not separator or not key:
            findings.append(errors.Finding(f"{assignment!r} is not of the form name=value"))
            continue
        found = _find(document, key)
        name = key if found is None else document.full_name(found[0])
        texts.setdefault(name, []).append(text)
    parsed: dict[str, Any] = {}
    for name, given in texts.items():
        found = _find(document, name)
        if found is None:
            parsed[name] = given[-1]
            continue
        type_ = found[1]
        declared = document.declared.get(found[0])
        try:
            if isinstance(type_, Type.Array):
                parsed[name] = _array(type_, given)
            elif len(given) > 1:
                raise ValueError(f"given {len(given)} times, but it is no array")
            else:
                parsed[name] = _parsed(type_, given[0])
        except ValueError as error:
            place = declared.place if declared else None
            findings.append(errors.Finding(f"{name}: {error}", place))
    return Assigned(parsed, tuple(findings), frozenset(texts.keys() - parsed.keys()))


def _find(document: Document, key: str) -> tuple[str, Any] | None:
    """The input that a key means: its name without the workflow's, and its type."""
    for candidate in _candidates(document, key):
        declared = document.declared.get(candidate)
        if declared is not None:
            return candidate, declared.type
        call, separator, attribute = _split_override(candidate)
        if separator and call in document.task_calls and attribute:
            return candidate, Type.Any()
    return None


def _candidates(document: Document, key: str) -> Iterator[str]:
    prefix = f"{document.workflow_name}."
    names = [key.removeprefix(prefix), key] if key.startswith(prefix) else [key]
    yield from names
    if document.runs_task:
        yield prefix + key
    for name in names:
        parts = name.split(".")
        without = _without_workflow_names(document.workflow, parts)
        if without != parts:
            yield ".".join(without)


def _without_workflow_names(workflow: Any, parts: list[str]) -> list[str]:
    """`call.workflow.x`, as old Cromwell inputs have it, as `call.x`; at any depth."""
    if len(parts) < 3:
        return parts
    for call in miniwdl_private.calls(workflow):
        if call.name == parts[0] and isinstance(call.callee, Tree.Workflow):
            inner = parts[2:] if parts[1] == call.callee.name else parts[1:]
            return [parts[0], *_without_workflow_names(call.callee, inner)]
    return parts


def _split_override(name: str) -> tuple[str, str, str]:
    for section in _OVERRIDES:
        call, separator, attribute = name.rpartition(f".{section}.")
        if separator:
            return call, separator, attribute
    return name, "", ""


def _unknown(document: Document, key: str, place: errors.Place | None) -> errors.Finding:
    known = [document.full_name(name) for name in document.declared]
    hint = diagnostics.closest(key, known) or diagnostics.closest(
        f"{document.workflow_name}.{key}", known
    )
    if not hint:
        own = [name for name in document.declared if "." not in name]
        hint = f"it takes {', '.join(own[:12])}" if own else "it takes no inputs"
    return errors.Finding(f"workflow {document.workflow_name} has no input {key}", place, hint)


def _inputs(document: Document, values: Any, places: Mapping[str, errors.Place]) -> Inputs:
    full_name = document.full_name
    files: list[tuple[str, str, bool]] = []
    for binding in values:

        def note(path: Any, name: str = full_name(binding.name)) -> str:
            files.append((name, path.value, isinstance(path, Value.Directory)))
            return str(path.value)

        miniwdl_private.rewrite_paths(binding.value, note)
    return Inputs(
        json={full_name(binding.name): binding.value.json for binding in values},
        files=tuple(dict.fromkeys(files)),
        places=places,
        values=values,
        document=document,
    )


def _mismatches(type_: Any, value: Any, where: str) -> Iterator[tuple[str, str, Any]]:
    """(path, expected, value) of everything in a JSON value that does not fit a type.

    Stricter than miniwdl, for which true is an Int and 1 a Boolean.
    """
    if isinstance(type_, ObjectType):
        if not isinstance(value, dict) and not (value is None and type_.optional):
            yield where, str(type_), value
        return
    if isinstance(type_, Type.Any):
        return
    if value is None:
        if not type_.optional:
            yield where, str(type_), value
        return
    match type_:
        case Type.Boolean():
            fits = isinstance(value, bool)
        case Type.Int():
            fits = _is_int(value) and bounds.is_int(value)
        case Type.Float():
            fits = (_is_int(value) and abs(value) < 10**308) or (
                isinstance(value, float) and math.isfinite(value)
            )
        case Type.File():
            fits = _is_path(value) and not value.endswith("/")
        case Type.Directory():
            fits = _is_path(value)
        case Type.String():
            fits = _is_text(value)
        case Type.Array():
            fits = isinstance(value, list) and not (type_.nonempty and not value)
            for index, item in enumerate(value if fits else ()):
                yield from _mismatches(type_.item_type, item, f"{where}[{index}]")
        case Type.Map():
            fits = isinstance(value, dict)
            for key, item in value.items() if fits else ():
                place = f"{where}[{json.dumps(key)}]"
                if isinstance(type_.item_type[0], Type.String | Type.File | Type.Directory):
                    yield from _mismatches(type_.item_type[0], key, f"{place} as a key")
                yield from _mismatches(type_.item_type[1], item, place)
        case Type.Pair():
            fits = isinstance(value, dict) and {k.lower() for k in value} == {"left", "right"}
            for key, item in value.items() if fits else ():
                side = type_.left_type if key.lower() == "left" else type_.right_type
                yield from _mismatches(side, item, f"{where}.{key}")
        case Type.StructInstance():
            members = type_.members or {}
            fits = isinstance(value, dict)
            for key, member in members.items() if fits else ():
                if key in value:
                    yield from _mismatches(member, value[key], f"{where}.{key}")
                elif not member.optional:
                    yield f"{where}.{key}", str(member), None
        case _:
            fits = True
    if not fits:
        yield where, str(type_), value


def _is_text(value: Any) -> bool:
    """Halves of characters come from JSON's \\u escapes; no file and no command can hold them."""
    return isinstance(value, str) and not any("\ud800" <= c <= "\udfff" for c in value)


def _is_path(value: Any) -> bool:
    return _is_text(value) and value != "" and "\0" not in value


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _array(type_: Any, given: list[str]) -> list[Any]:
    if len(given) == 1 and given[0].lstrip().startswith("["):
        value = _json(given[0], type_)
        assert isinstance(value, list)
        return value
    return [_parsed(type_.item_type, text) for text in given]


def _parsed(type_: Any, text: str) -> Any:
    if isinstance(type_, Type.String | Type.File | Type.Directory):
        return text
    if isinstance(type_, Type.Any):
        try:
            return json.loads(text)
        except ValueError:
            return text
    if type_.optional and text == "null":
        return None
    if isinstance(type_, Type.Int):
        if not re.fullmatch(r"[+-]?[0-9]+", text):
            raise ValueError(f"expected Int, got {text!r}")
        return int(text)
    if isinstance(type_, Type.Float):
        try:
            if "_" in text:
                raise ValueError(text)  # Python alone reads 1_000 as a number
            return float(text)
        except ValueError:
            raise ValueError(f"expected Float, got {text!r}") from None
    if isinstance(type_, Type.Boolean):
        if text.lower() not in ("true", "false"):
            raise ValueError(f"expected true or false, got {text!r}")
        return text.lower() == "true"
    return _json(text, type_)


def _json(text: str, type_: Any) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        expected = str(type_).removesuffix("?")
        raise ValueError(f"expected {expected} as JSON: {error}") from None
