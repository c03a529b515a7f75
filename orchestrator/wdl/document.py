"""A checked WDL document: loaded from a bundle, never from the file system."""

from __future__ import annotations

import functools
import posixpath
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import WDL
import WDL.Error
import WDL.Tree
from WDL import Value

from orchestrator import errors
from orchestrator.wdl import diagnostics, miniwdl_private
from orchestrator.wdl.bundle import Bundle
from orchestrator.wdl.diagnostics import Refused

IMPORT_DEPTH = 20

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
    warnings: tuple[errors.Finding, ...]
    workflow: Any = field(repr=False)  # WDL.Tree.Workflow; for this room only

    def inputs_template(self) -> dict[str, Any]:
        """What can be given, by full name, in womtool's words: `"Int (optional, default = 3)"`."""
        return {
            f"{self.workflow_name}.{declared.name}": _described(declared)
            for declared in self.declared.values()
        }

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


def load(bundle: Bundle) -> Document:
    """Parse and check. Imports resolve inside the bundle only.

    Raises InvalidWdl with a finding for everything that is wrong, each with file, line and column.
    """
    try:
        with _loading:
            tree = _run(
                WDL.load_async(
                    bundle.main,
                    check_quant=False,
                    read_source=_reader(bundle),
                    import_max_depth=IMPORT_DEPTH,
                )
            )
    except RecursionError:
        raise errors.InvalidWdl(
            f"{bundle.main} cannot be read: it nests too deeply", place=errors.Place(bundle.main)
        ) from None
    except Exception as error:
        # Whatever a document does to the parser, it is an error of the document.
        found = [
            finding
            if finding.place
            else errors.Finding(finding.message, errors.Place(bundle.main), finding.hint)
            for finding in diagnostics.findings(error)
        ]
        if len(found) == 1:
            raise errors.InvalidWdl(
                found[0].message, place=found[0].place, hint=found[0].hint
            ) from None
        raise errors.InvalidWdl(f"{bundle.main} has {len(found)} errors", findings=found) from None
    if tree.workflow is None:
        raise _no_workflow(bundle, tree)
    return Document(
        bundle=bundle,
        workflow_name=tree.workflow.name,
        warnings=tuple(_warnings(tree)),
        workflow=tree.workflow,
    )


def _reader(bundle: Bundle) -> Any:
    async def read_source(uri: str, path: list[str], importer: Any) -> Any:
        name = bundle.main if importer is None else _resolve(bundle, uri, importer.pos.abspath)
        return WDL.Tree.ReadSourceResult(source_text=bundle.files[name], abspath=name)

    return read_source


def _resolve(bundle: Bundle, uri: str, importer: str) -> str:
    """The bundle's file for an import: from the importing file's directory, else from the root."""
    scheme, separator, _ = uri.partition("://")
    if separator and scheme.lower() in ("http", "https"):
        raise Refused(
            f"the import {uri} is not fetched yet",
            "hand the document in with the workflow and import it by a relative path",
        )
    if separator or uri.startswith(("/", "file:")):
        raise Refused(f"the import {uri} is refused: only relative paths are followed")
    for base in (posixpath.dirname(importer), ""):
        name = posixpath.normpath(posixpath.join(base, uri))
        if name in bundle.files:
            return name
    escapes = posixpath.normpath(posixpath.join(posixpath.dirname(importer), uri)).startswith("..")
    if escapes:
        raise Refused(f"the import {uri} is refused: it leads out of what was handed in")
    raise Refused(
        f"the import {uri} was not handed in",
        diagnostics.closest(posixpath.basename(uri), bundle.files),
    )


def _run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that never waits, without an event loop: one may be running already."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    coroutine.close()
    raise AssertionError("loading waited for something")


def _no_workflow(bundle: Bundle, tree: Any) -> errors.InvalidWdl:
    names = [task.name for task in tree.tasks]
    hint = "name the document that holds the workflow"
    if names:
        hint = f"add a workflow that calls a task: workflow run_{names[0]} {{ call {names[0]} }}"
    tasks = f"only {'task' if len(names) == 1 else 'tasks'} {', '.join(names)}" if names else ""
    return errors.InvalidWdl(
        f"the document holds no workflow{', ' if tasks else ''}{tasks}",
        place=errors.Place(bundle.main),
        hint=hint,
    )


def _warnings(tree: Any) -> Iterator[errors.Finding]:
    for call in miniwdl_private.calls(tree.workflow):
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
