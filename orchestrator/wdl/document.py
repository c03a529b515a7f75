"""A checked WDL document: loaded from a bundle, never from the file system."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import WDL.Tree
from WDL import Value

from orchestrator import errors
from orchestrator.wdl import diagnostics, linking, miniwdl_private
from orchestrator.wdl.bundle import Bundle
from orchestrator.wdl.rules import Rules

LONGEST_NAME = 200  # of a workflow or call: file systems take 255 bytes, `call-` included

# miniwdl keeps state on classes while it links a document.
_loading = threading.Lock()


@dataclass(frozen=True)
class Declared:
    """An input that a workflow takes. `name` without the workflow's own name before it."""

    name: str
    type: Any  # WDL.Type.Base, optional where there is a default
    written: str  # the type as declared
    required: bool
    default: str | None
    place: errors.Place | None


@dataclass(frozen=True, eq=False)
class Document:
    """Immutable: workflows of the same source share it."""

    bundle: Bundle
    workflow_name: str
    runs_task: bool  # the document holds one task only, which is run under its own name
    warnings: tuple[errors.Finding, ...]
    workflow: Any = field(repr=False)  # WDL.Tree.Workflow; for this room only
    rules: Rules = field(default_factory=Rules, repr=False)  # how its expressions are evaluated

    def inputs_template(self) -> dict[str, Any]:
        """What can be given, by full name, in womtool's words: `"Int (optional, default = 3)"`."""
        return {
            self.full_name(declared.name): _described(declared)
            for declared in self.declared.values()
        }

    def full_name(self, name: str) -> str:
        """The name that an input is given by: `workflow.x`, `workflow.call.x`; `task.x`."""
        return name if self.runs_task else f"{self.workflow_name}.{name}"

    @functools.cached_property
    def declared(self) -> dict[str, Declared]:
        """Every input: the workflow's own, then those of calls (`call.x`), in source order."""
        required = {binding.name for binding in self.workflow.required_inputs}
        found: dict[str, Declared] = {}
        for binding in self.workflow.available_inputs:
            decl = binding.value
            if decl.name.startswith("_"):
                continue  # miniwdl's stand-ins for runtime overrides
            found[binding.name] = Declared(
                name=binding.name,
                type=decl.type.copy(optional=True) if decl.expr is not None else decl.type,
                written=str(decl.type),
                required=binding.name in required,
                default=None if decl.expr is None else str(decl.expr),
                place=diagnostics.place(decl.pos),
            )
        return found

    def with_output_files(
        self, outputs: Mapping[str, Any], moved: Callable[[str, bool], str]
    ) -> dict[str, Any]:
        """A workflow's outputs with every File and Directory replaced: `moved` gets URI or path,
        and whether it is a directory. Strings that only look like one stay."""
        types = {
            f"{self.workflow_name}.{binding.name}": binding.value
            for binding in self.workflow.effective_outputs
        }

        def replaced(name: str, value: Any) -> Any:
            if name not in types or not miniwdl_private.holds_paths(types[name]):
                return value
            return miniwdl_private.rewrite_paths(
                Value.from_json(types[name], value),
                lambda path: moved(path.value, isinstance(path, Value.Directory)),
            ).json

        return {name: replaced(name, value) for name, value in outputs.items()}

    @functools.cached_property
    def task_calls(self) -> frozenset[str]:
        """Dotted names of calls to tasks, through sub-workflows: `align`, `per_sample.sort`."""
        return frozenset(_task_calls(self.workflow, ""))


def load(bundle: Bundle, *, strict: bool = False) -> Document:
    """Parse and check. Imports resolve inside the bundle only.

    What Cromwell accepts and WDL does not is a warning; with `strict` it is an error.
    Raises InvalidWdl with a finding for everything that is wrong, each with file, line and column.
    """
    try:
        with _loading:
            tree, warnings = linking.link(bundle, strict=strict)
            runs_task = tree.workflow is None
            workflow = linking.workflow_of(tree)
    except (RecursionError, MemoryError) as error:
        reason = "it nests too deeply" if isinstance(error, RecursionError) else "it is too large"
        raise errors.InvalidWdl(
            f"{bundle.main} cannot be read: {reason}", place=errors.Place(bundle.main)
        ) from None
    except Exception as error:
        # Whatever a document does to the parser, it is an error of the document.
        raise _invalid(bundle, list(diagnostics.findings(error))) from None
    if strict and warnings:
        raise _invalid(bundle, warnings)
    if workflow is None:
        raise _no_workflow(bundle, tree)
    if too_long := list(_long_names(workflow, set())):
        raise _invalid(bundle, too_long)
    warnings += _tolerated_calls(workflow)
    return Document(
        bundle=bundle,
        workflow_name=workflow.name,
        runs_task=runs_task,
        warnings=tuple(warnings),
        workflow=workflow,
    )


def _invalid(bundle: Bundle, findings: list[errors.Finding]) -> errors.InvalidWdl:
    found = [
        finding
        if finding.place
        else errors.Finding(finding.message, errors.Place(bundle.main), finding.hint)
        for finding in findings
    ]
    if len(found) == 1:
        return errors.InvalidWdl(found[0].message, place=found[0].place, hint=found[0].hint)
    return errors.InvalidWdl(f"{bundle.main} has {len(found)} errors", findings=found)


def _no_workflow(bundle: Bundle, tree: Any) -> errors.InvalidWdl:
    names = [task.name for task in tree.tasks]
    hint = "name the document that holds the workflow"
    if names:
        hint = f"add a workflow that calls a task: workflow run_{names[0]} {{ call {names[0]} }}"
    tasks = f", only {len(names)} tasks: {', '.join(names)}" if names else ""
    return errors.InvalidWdl(
        f"the document holds no workflow{tasks}",
        place=errors.Place(bundle.main),
        hint=hint,
    )


def _long_names(workflow: Any, seen: set[int]) -> Iterator[errors.Finding]:
    """Names that no directory can have: workflows and calls have one each."""
    seen.add(id(workflow))
    parts = [workflow]
    for call in miniwdl_private.calls(workflow):
        parts.append(call)
        if isinstance(call.callee, WDL.Tree.Workflow) and id(call.callee) not in seen:
            yield from _long_names(call.callee, seen)
    for part in parts:
        if len(part.name) > LONGEST_NAME:
            yield errors.Finding(
                f"the name {part.name[:40]}... has {len(part.name):,} characters; it becomes the "
                f"name of a directory, which has at most {LONGEST_NAME}",
                diagnostics.place(part.pos),
            )


def _tolerated_calls(workflow: Any) -> Iterator[errors.Finding]:
    for call in miniwdl_private.calls(workflow):
        if isinstance(call, WDL.Tree.CallTry):
            yield errors.Finding(
                f"call? {call.name} is treated as call: its failure fails the workflow",
                diagnostics.place(call.pos),
            )


def _task_calls(workflow: Any, prefix: str) -> Iterator[str]:
    for call in miniwdl_private.calls(workflow):
        if isinstance(call.callee, WDL.Tree.Task):
            yield prefix + call.name
        else:
            yield from _task_calls(call.callee, f"{prefix}{call.name}.")


def _described(declared: Declared) -> str:
    if declared.required:
        return declared.written
    if declared.default is None:
        return f"{declared.written} (optional)"
    return f"{declared.written} (optional, default = {declared.default})"
