"""Small workflows without files or jobs: load, step, answer calls, prepare tasks."""

from __future__ import annotations

import random
import sys
import textwrap
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

from orchestrator.model.job import WorkDir
from orchestrator.model.manifest import Manifest, OutputFile
from orchestrator.model.records import FactRecord
from orchestrator.wdl import bundle, document, inputs
from orchestrator.wdl.facts import Facts, NeedFacts
from orchestrator.wdl.graph import Graph, ReadyCall
from orchestrator.wdl.task import PreparedTask, TaskCall

WHERE = WorkDir(
    path="/w/a1/execution",
    uri="s3://runs/call-t",
    script="s3://runs/call-t/script",
    return_code="s3://runs/call-t/rc",
    stdout="s3://runs/call-t/stdout",
    stderr="s3://runs/call-t/stderr",
    manifest="s3://runs/call-t/manifest.json",
)


def load(source: str, **imports: str) -> document.Document:
    """A document; `imports` are files beside it, `name` standing for `name.wdl`."""
    files = {f"{name}.wdl": textwrap.dedent(text) for name, text in imports.items()}
    return document.load(bundle.Bundle("main.wdl", {"main.wdl": textwrap.dedent(source), **files}))


def start(
    loaded: document.Document, given: Mapping[str, Any] | None = None, facts: Facts | None = None
) -> Graph:
    """The graph of a workflow with these inputs."""
    return Graph(loaded, inputs.bind(loaded, given or {}), facts or Facts(), "s3://scratch")


def pin(facts: Facts, **sizes: int) -> Facts:
    """Pin sizes: `a=3` is `s3://in/a` of 3 bytes."""
    for name, size in sizes.items():
        facts.add(stat(f"s3://in/{name}", size))
    return facts


def stat(uri: str, size: int | None) -> FactRecord:
    """A file of this size, or no file."""
    return FactRecord("root", "stat", uri, size is not None, size, f"etag-{size}")


def content(uri: str, text: str | None) -> FactRecord:
    """A file of this content, or no file."""
    data = None if text is None else text.encode()
    return FactRecord("root", "content", uri, data is not None, len(data or b""), None, data)


def run(
    graph: Graph,
    behave: Callable[[ReadyCall], dict[str, Any]],
    shuffle: random.Random | None = None,
) -> tuple[dict[str, Any], dict[str, ReadyCall]]:
    """Answer every call, sub-workflows stepped for real; the outputs and the calls by id."""
    seen: dict[str, ReadyCall] = {}
    waiting: list[ReadyCall] = []
    while graph.outputs is None:
        advance = graph.advance()
        assert not advance.wants
        waiting += advance.calls
        seen |= {call.id: call for call in advance.calls}
        if graph.outputs is not None:
            break
        assert waiting or advance.more, "nothing can go on"
        if shuffle:
            shuffle.shuffle(waiting)
        for call in waiting[: shuffle.randint(1, len(waiting)) if shuffle else None]:
            waiting.remove(call)
            if call.is_workflow:
                outputs, inner = run(graph.subgraph(call), behave, shuffle)
                seen |= {f"{call.id}/{name}": ready for name, ready in inner.items()}
                graph.finish(call.id, outputs)
            else:
                graph.finish(call.id, behave(call))
    return graph.outputs, seen


def task(source: str, given: Mapping[str, Any] | None = None, version: str = "1.1") -> TaskCall:
    """The only call of a workflow that calls a task `t` with these inputs (`x`)."""
    loaded = load(f"version {version}\n{textwrap.dedent(source)}\nworkflow w {{ call t }}\n")
    graph = start(loaded, {f"w.t.{name}": value for name, value in (given or {}).items()})
    (call,) = graph.advance().calls
    return graph.task(call)


def prepare(call: TaskCall, facts: Facts | None = None, attempt: int = 1) -> PreparedTask:
    """Prepare with every file that is asked for being there, 10 bytes long."""
    facts = facts if facts is not None else Facts()
    while True:
        try:
            return call.prepare(WHERE, attempt, facts)
        except NeedFacts as need:
            wants = need.wants
        if any(want.kind != "stat" for want in wants):
            raise NeedFacts(wants)
        for want in wants:
            assert facts.add(stat(want.uri, 10))


def manifest(
    files: Mapping[str, str | int] | None = None,
    *,
    stdout: str = "",
    stderr: str = "",
    globs: Mapping[str, tuple[str, ...]] | None = None,
    directories: tuple[str, ...] = (),
    return_code: int = 0,
) -> Manifest:
    """What a command left: path -> content, or its size where the content is not carried."""

    def kept(path: str, what: str | int) -> OutputFile:
        uri = f"{WHERE.uri}/{path.lstrip('/')}"
        if isinstance(what, int):
            return OutputFile(path, uri, what)
        return OutputFile(path, uri, len(what.encode()), None, what.encode())

    return Manifest(
        submission_id="s",
        attempt="a",
        job_id="j",
        return_code=return_code,
        stdout=OutputFile(WHERE.stdout, WHERE.stdout, len(stdout), None, stdout.encode()),
        stderr=OutputFile(WHERE.stderr, WHERE.stderr, len(stderr), None, stderr.encode()),
        files={path: kept(path, what) for path, what in (files or {}).items()},
        directories=directories,
        globs=globs or {},
    )


def lines_run(work: Callable[[], object]) -> int:
    """How many lines of Python this takes: a measure of work that no busy machine disturbs."""
    count = 0

    def trace(frame: FrameType, what: str, _: object) -> Any:
        nonlocal count
        count += what == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count
