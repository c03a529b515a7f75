"""What is copied, and what is deleted, when all calls of a workflow are over.

Where things go is Cromwell's (CopyWorkflowOutputsActor, StandardFinalizationActor): below
`final_workflow_outputs_dir` as they lie below the execution root, `<workflow>/<id>/call-...`, or
with `use_relative_output_paths` without the directories of the call. Two files that would lie at
one place are found before anything is copied. Made in the pool: directories are listed, and a
workflow may have very many outputs.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator import errors
from orchestrator.model.options import OutputsMode, WorkflowOptions
from orchestrator.model.records import AttemptRecord, CallRecord, WorkflowRecord
from orchestrator.wdl import call_outputs
from orchestrator.wdl.document import Document
from orchestrator.wdl.staging import shown

_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_CALL = r"call-[^/]+/(?:shard-\d+/)*"
# The directories of a call below its workflow's, those of the sub-workflows that it is in before.
_CALL_DIRECTORIES = re.compile(
    rf"(?:{_CALL}[^/]+/{_UUID}/)*{_CALL}(?:cacheCopy/)?(?:attempt-\d+/)?(?:execution/)?"
)
_SHOWN = 20

Listing = Callable[[str], Iterable[str]]  # the URIs of all files below a directory


@dataclass(frozen=True, slots=True)
class Copy:
    """One file. `what` is for people; one that is `optional` need not be there."""

    source: str
    target: str
    what: str = "output"
    optional: bool = False


@dataclass(frozen=True, slots=True)
class FinalPlan:
    """`delete` is for afterwards: once every copy is known to be there. `outputs`: the workflow's
    as they are to be told; None: as they are."""

    copies: tuple[Copy, ...] = ()
    delete: tuple[str, ...] = ()
    outputs: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """A workflow of which all calls are over. `home`: the URI of its directory. `outputs` None: it
    did not succeed. `workflows`: the root and its sub-workflows, by id."""

    root: WorkflowRecord
    home: str
    options: WorkflowOptions
    document: Document
    outputs: Mapping[str, Any] | None
    workflows: Mapping[str, WorkflowRecord] = field(default_factory=dict)


def plan(
    finished: Finished,
    *,
    listing: Listing,
    attempts: Callable[[str], Iterable[AttemptRecord]],
    calls: Callable[[str], Iterable[CallRecord]],
) -> FinalPlan:
    """All of it. `attempts` and `calls` are those of one workflow by its id.

    Raises NotAllowed with one finding for each place that two files would have.
    """
    options = finished.options
    files: dict[str, bool] = {}
    if finished.outputs is not None and (
        options.final_workflow_outputs_dir or options.delete_intermediate_output_files
    ):
        finished.document.with_output_files(finished.outputs, _noting(files))
    copies: list[Copy] = []
    moved: dict[str, str] = {}
    if finished.outputs is not None and options.final_workflow_outputs_dir:
        copies += _outputs(finished, files, listing, moved)
    if options.final_call_logs_dir:
        copies += _logs(finished, attempts)
    _refuse_collisions(copies)
    delete: list[str] = []
    moves = options.final_workflow_outputs_mode is OutputsMode.MOVE
    if moves:
        delete += [copy.source for copy in copies if _is_moved(finished, copy)]
    if finished.outputs is not None and options.delete_intermediate_output_files:
        delete += _intermediate(finished, files, listing, calls)
    outputs = None
    if moved and (moves or options.destination_in_outputs):
        assert finished.outputs is not None
        outputs = finished.document.with_output_files(
            finished.outputs, lambda uri, _: moved.get(uri, uri)
        )
    copied = tuple(copy for copy in copies if copy.source != copy.target)
    return FinalPlan(copied, tuple(dict.fromkeys(delete)), outputs)


def place(finished: Finished, uri: str) -> str:
    """Where an output lies in the directory for final outputs, without that directory."""
    below = _below(finished, uri)
    relative = finished.options.use_relative_output_paths
    if below is None:  # an input, or made by nobody here
        path = shown(uri).partition("://")[2] or uri.lstrip("/")
        return posixpath.basename(path) if relative else f"{_own(finished)}/{path}"
    if not relative:
        return f"{_own(finished)}/{below}"
    match = _CALL_DIRECTORIES.match(below)
    return below[match.end() :] if match else posixpath.basename(below)


def _outputs(
    finished: Finished, files: Mapping[str, bool], listing: Listing, moved: dict[str, str]
) -> Iterator[Copy]:
    target = finished.options.final_workflow_outputs_dir.rstrip("/")
    for uri, directory in files.items():
        to = f"{target}/{place(finished, uri.rstrip('/'))}"
        moved[uri] = to
        if not directory:
            yield Copy(uri, _inside(target, to))
            continue
        base = uri.rstrip("/") + "/"
        for file in listing(uri):
            yield Copy(file, _inside(target, f"{to}/{file.removeprefix(base)}"))


def _logs(finished: Finished, attempts: Callable[[str], Iterable[AttemptRecord]]) -> Iterator[Copy]:
    """Of every attempt, the failed ones too. One that never ran to its end has left none."""
    target = finished.options.final_call_logs_dir.rstrip("/")
    for workflow_id in finished.workflows:
        for attempt in attempts(workflow_id):
            for uri in (attempt.stdout, attempt.stderr):
                below = _below(finished, uri) if uri else None
                if uri and below is not None:
                    to = _inside(target, f"{target}/{_own(finished)}/{below}")
                    yield Copy(uri, to, what="log", optional=True)


def _refuse_collisions(copies: Iterable[Copy]) -> None:
    sources: dict[str, str] = {}
    findings = []
    for copy in copies:
        other = sources.setdefault(copy.target, copy.source)
        if other != copy.source:
            findings.append(f"{shown(other)} and {shown(copy.source)} would both be {copy.target}")
    for target, source in sources.items():
        if "://" in target:
            continue  # S3 knows no directories
        parent = posixpath.dirname(target)
        while parent not in ("/", ""):
            if parent in sources:
                findings.append(
                    f"{shown(sources[parent])} would be {parent}, a directory that "
                    f"{shown(source)} needs"
                )
                break
            parent = posixpath.dirname(parent)
    if findings:
        more = len(findings) - _SHOWN
        raise errors.NotAllowed(
            "final outputs would overwrite each other; nothing was copied",
            hint="leave use_relative_output_paths out, or give the outputs names that differ",
            findings=[
                *(errors.Finding(text) for text in findings[:_SHOWN]),
                *([errors.Finding(f"and {more} more")] if more > 0 else []),
            ],
        )


def _intermediate(
    finished: Finished,
    kept: Mapping[str, bool],
    listing: Listing,
    calls: Callable[[str], Iterable[CallRecord]],
) -> Iterator[str]:
    """Files that calls made, and that no output of the workflow names: neither by a File or a
    Directory, nor by a string that is, or holds, their URI."""
    texts = [t for t in _strings(finished.outputs) if finished.home in t and t not in kept]
    exact = {uri.rstrip("/") for uri in (*kept, *texts)}
    directories = tuple(
        f"{uri.rstrip('/')}/"
        for uri in (*texts, *(u for u, directory in kept.items() if directory))
    )
    # Not a URI by itself: a list of them, a line of a table, JSON.
    composed = "\n".join(
        text
        for text in texts
        if not text.startswith(finished.home) or re.search(r"[\s,;'\"]", text)
    )

    def wanted(uri: str) -> bool:
        return (
            uri in exact
            or (bool(directories) and uri.startswith(directories))
            or (bool(composed) and uri in composed)
        )

    def below(uri: str, directory: bool) -> Iterator[str]:
        if _below(finished, uri) is not None:
            yield from listing(uri) if directory else (uri,)

    for workflow_id in finished.workflows:
        path = _calls_to(finished, workflow_id)
        for call in calls(workflow_id):
            if call.outputs is None or call.sub_workflow_id is not None:
                continue
            outputs = json.loads(call.outputs)
            workflow = finished.document.workflow
            for uri, directory in call_outputs.files(workflow, (*path, call.name), outputs):
                yield from (u for u in below(uri, directory) if not wanted(u))


def _calls_to(finished: Finished, workflow_id: str) -> tuple[str, ...]:
    """The names of the calls from the root to a sub-workflow."""
    names: list[str] = []
    record = finished.workflows[workflow_id]
    while record.parent_id is not None:
        # The directory is `<that of the parent>/call-<name>/[shard-N/]<sub-workflow>/<id>`.
        parent = finished.workflows[record.parent_id]
        rest = record.directory.removeprefix(f"{parent.directory}/")
        names.insert(0, rest.partition("/")[0].removeprefix("call-"))
        record = parent
    return tuple(names)


def _is_moved(finished: Finished, copy: Copy) -> bool:
    """Inputs stay where they are, and so does what would be moved onto itself."""
    own = _below(finished, copy.source) is not None
    return copy.what == "output" and own and copy.source != copy.target


def _below(finished: Finished, uri: str) -> str | None:
    """The rest of a URI in the workflow's own directory."""
    base = f"{finished.home}/"
    return uri[len(base) :] if uri.startswith(base) and len(uri) > len(base) else None


def _own(finished: Finished) -> str:
    """`<workflow>/<id>`."""
    return "/".join(finished.home.split("/")[-2:])


def _inside(directory: str, target: str) -> str:
    """The target, if it lies in that directory whatever names are made of."""
    if ".." in target[len(directory) :].split("/"):
        raise errors.NotAllowed(f"{target} would lie outside of {directory}; nothing was copied")
    return target


def _noting(files: dict[str, bool]) -> Callable[[str, bool], str]:
    def note(uri: str, directory: bool) -> str:
        if uri.startswith("/") or "://" in uri:
            files[uri] = directory
        return uri

    return note


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield str(key)
            yield from _strings(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _strings(item)
