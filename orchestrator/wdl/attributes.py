"""Runtime attributes as they stand in a document: which are written, where, and what is known of
their values before anything runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import WDL.Tree
from WDL import Expr

from orchestrator import errors
from orchestrator.model import runtime
from orchestrator.wdl import diagnostics, miniwdl_private
from orchestrator.wdl.document import Document


@dataclass(frozen=True, slots=True)
class WrittenAttributes:
    """The runtime (requirements, hints) section of a task that is called. `literals` are the JSON
    values that are plain in the document; `places` are those of every name."""

    task: str
    literals: dict[str, Any]
    places: dict[str, errors.Place | None]


def written(document: Document) -> Iterator[WrittenAttributes]:
    """Every task that the workflow calls, sub-workflows included, once."""
    for task in _tasks(document.workflow, set()):
        names = dict(_flat(task.runtime))
        yield WrittenAttributes(
            task=task.name,
            literals=_literals(task.runtime),
            places={name: diagnostics.place(node.pos) for name, node in names.items()},
        )


def check(document: Document) -> tuple[list[errors.Finding], list[errors.Finding]]:
    """(what is wrong, what to know) of all attributes, each with its place."""
    wrong: list[errors.Finding] = []
    advice: list[errors.Finding] = []
    for section in written(document):
        for name, finding in runtime.check(section.literals):
            wrong.append(_placed(section, name, finding.message, finding.hint))
        for name, message in runtime.advice(section.places):
            advice.append(_placed(section, name, message))
    return wrong, advice


def _placed(section: WrittenAttributes, name: str, message: str, hint: str = "") -> errors.Finding:
    return errors.Finding(f"task {section.task}: {message}", section.places.get(name), hint)


def _tasks(workflow: Any, seen: set[int]) -> Iterator[Any]:
    for call in miniwdl_private.calls(workflow):
        if id(call.callee) in seen:
            continue
        seen.add(id(call.callee))
        if isinstance(call.callee, WDL.Tree.Task):
            yield call.callee
        else:
            yield from _tasks(call.callee, seen)


def _flat(section: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Names with their expressions, those inside the object `aws` too."""
    own = section.get("aws")
    if isinstance(own, Expr.Struct):
        yield from own.members.items()
    yield from section.items()


def _literals(section: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, expression in section.items():
        if isinstance(expression, Expr.Struct):
            found[name] = _literals(expression.members)
        elif (value := expression.literal) is not None:
            found[name] = value.json
    return found
