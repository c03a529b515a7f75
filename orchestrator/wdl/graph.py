"""The graph of a workflow: which calls can start, with which inputs; outputs come back in.

    graph = Graph(document, inputs, facts, scratch)
    while graph.outputs is None:
        advance = graph.advance()
        ...                                    # run advance.calls, fetch advance.wants
        graph.finish(call_id, outputs)

Deterministic: the same document, inputs and facts give the same call ids and digests, in whatever
order calls finish. That is what a restart replays. One graph is used by one thread at a time.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from WDL import Env, Tree, Value

from orchestrator import errors
from orchestrator.wdl import call_outputs, diagnostics, json_text, library
from orchestrator.wdl.document import Document
from orchestrator.wdl.facts import Facts, Want
from orchestrator.wdl.inputs import Inputs
from orchestrator.wdl.library import Library, Scope
from orchestrator.wdl.miniwdl_state_machine import IndexedStateMachine
from orchestrator.wdl.task import TaskCall

_LARGE = 2_000  # characters of JSON from which on an input is kept once for all calls that get it


@dataclass(frozen=True, slots=True)
class ReadyCall:
    """A call whose inputs are known.

    `id` is unique in its workflow and the same at every replay: `call-align-03`. `shards` lists
    scatter indices, outermost first. `inputs` is canonical JSON of the values given to the call
    but for the large ones, which are in `shared`: (name, sha256, canonical JSON), one text for all
    shards that get the same. Defaults are chosen by the callee. `inputs_digest` covers all of it,
    and the callee's source.
    """

    id: str
    name: str
    shards: tuple[int, ...]
    callee: str
    is_workflow: bool
    inputs: str
    inputs_digest: str
    shared: tuple[tuple[str, str, str], ...]
    _callee: Any = field(repr=False, compare=False)
    _inputs: Any = field(repr=False, compare=False)

    @property
    def all_inputs(self) -> dict[str, Any]:
        """As JSON values, the large ones among them."""
        shared = {name: json.loads(text) for name, _, text in self.shared}
        return {**json.loads(self.inputs), **shared}


@dataclass(frozen=True, slots=True)
class Write:
    """A file made by `write_lines()` and the like in a workflow: to be kept at `uri`, which is
    named by the content."""

    uri: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Advance:
    """What came of stepping. `wants` are those that were not told before. `more`: it stopped for
    the budget or an error to be told next time; call again."""

    calls: tuple[ReadyCall, ...] = ()
    wants: frozenset[Want] = frozenset()
    writes: tuple[Write, ...] = ()
    more: bool = False


class Graph:
    """A workflow, or a sub-workflow of one, being stepped."""

    def __init__(
        self,
        document: Document,
        inputs: Inputs,
        facts: Facts,
        scratch: str,
        max_scatter_width: int = 1_000_000,
    ) -> None:
        """`scratch`: the URI or directory below which files made by expressions are kept."""
        self._max_scatter_width = max_scatter_width
        self._rules = document.rules
        self._set_up(document.workflow, inputs.values, facts, scratch, f"{document.workflow_name}.")

    def _set_up(self, workflow: Any, values: Any, facts: Facts, scratch: str, prefix: str) -> None:
        self._workflow = workflow
        self._facts = facts
        self._scratch = scratch.rstrip("/")
        self._prefix = prefix  # of output names
        self._machine = IndexedStateMachine(workflow, values, self._max_scatter_width)
        self._scope = _WorkflowScope(facts, self._scratch)
        self._library = Library(workflow.effective_wdl_version, self._scope, self._rules)
        self._error: errors.OrchestratorError | None = None
        self._outputs: dict[str, Any] | None = None
        self._heard = facts.count  # of so many facts
        self._rendered: dict[int, tuple[Any, tuple[str, str]]] = {}  # see `_json`

    def advance(self, budget_seconds: float | None = None) -> Advance:
        """Step until nothing can move: every call that became ready.

        Nodes that lack facts are put aside, told in `wants`, and tried again once the facts are
        there. Raises EvaluationFailed for a failing expression, naming its place; calls that became
        ready before it have been returned by then, and the rest of the graph can go on.
        """
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        ends_at = None if budget_seconds is None else time.monotonic() + budget_seconds
        self._scope.forget_pinned()
        self._hear_of_facts()
        calls: list[ReadyCall] = []
        more = False
        while True:
            try:
                self._library.begin()
                done = self._machine.step(self._library)
                if done is None:
                    break
                if done is not True:
                    calls.append(self._ready(done))
            except Exception as error:
                failure = self._failure(error)
                if not calls and not self._scope.new:
                    raise failure from error
                self._error, more = failure, True
                break
            if ends_at is not None and time.monotonic() >= ends_at:
                more = True
                break
        writes = tuple(Write(uri, content) for uri, content in self._scope.take())
        return Advance(tuple(calls), self._machine.take_wants(), writes, more)

    def _hear_of_facts(self) -> None:
        """What waits for facts that became known goes on; never a look at all that waits."""
        lacking = self._machine.lacking
        if self._facts.count - self._heard <= len(lacking):
            for want in self._facts.since(self._heard):
                self._machine.known(want)
        else:  # few wait, while much became known
            for want in [w for w in lacking if self._facts.peek(w.kind, w.uri) is not None]:
                self._machine.known(want)
        self._heard = self._facts.count

    def finish(self, call_id: str, outputs: Mapping[str, Any]) -> None:
        """A call is done. `outputs` as JSON values, by unqualified names."""
        callee = self._machine.node(call_id).callee
        values: Env.Bindings[Any] = Env.Bindings()
        for name, type_ in call_outputs.output_types(callee).items():
            try:
                value = Value.from_json(type_, outputs.get(name))
            except Exception as error:
                raise errors.EvaluationFailed(
                    f"output {name} of {call_id} is not what its type says: {error}"
                ) from None
            values = values.bind(name, value)
        self._machine.call_finished(call_id, values)

    def dismantle(self) -> None:
        """Nobody steps it any more: its parts go one by one, so that no thread has to wait."""
        self._machine.dismantle()

    def subgraph(self, call: ReadyCall) -> Graph:
        """The graph of a call to a workflow; its `outputs` go into `finish` of this one."""
        assert call.is_workflow, call.id
        graph = Graph.__new__(Graph)
        graph._max_scatter_width = self._max_scatter_width
        graph._rules = self._rules
        graph._set_up(call._callee, call._inputs, self._facts, self._scratch, "")
        return graph

    def task(self, call: ReadyCall) -> TaskCall:
        """The evaluation of a call to a task."""
        assert not call.is_workflow, call.id
        return TaskCall(call.id, call._callee, call._inputs, self._rules, f"{self._scratch}/staged")

    @property
    def outputs(self) -> dict[str, Any] | None:
        """The workflow's outputs as JSON values, once all is done; by full names (`wf.x`), those of
        a sub-workflow by unqualified ones."""
        if self._outputs is None and (values := self._machine.outputs) is not None:
            # An output section has its own order; miniwdl's environments do not keep it.
            order = {
                binding.name: position
                for position, binding in enumerate(self._workflow.effective_outputs)
            }
            found = {binding.name: binding.value.json for binding in values}
            self._outputs = {
                f"{self._prefix}{name}": found[name]
                for name in sorted(found, key=lambda name: order.get(name, len(order)))
            }
        return self._outputs

    def _ready(self, instructions: Any) -> ReadyCall:
        job = self._machine.jobs[instructions.id]
        callee = instructions.callee
        small: list[str] = []
        shared: list[tuple[str, str, str]] = []
        for name, value in sorted((b.name, b.value) for b in instructions.inputs):
            text, digest = self._json(value)
            if digest:
                shared.append((name, digest, text))
            else:
                small.append(f"{json.dumps(name)}:{text}")
        inputs = "{" + ",".join(small) + "}"
        identity = [callee.digest, inputs, *(f"{name}={digest}" for name, digest, _ in shared)]
        return ReadyCall(
            id=instructions.id,
            name=self._machine.node(job.id).name,
            shards=_shards(job),
            callee=callee.name,
            is_workflow=isinstance(callee, Tree.Workflow),
            inputs=inputs,
            inputs_digest=hashlib.sha256("\n".join(identity).encode()).hexdigest(),
            shared=tuple(shared),
            _callee=callee,
            _inputs=instructions.inputs,
        )

    def _json(self, value: Any) -> tuple[str, str]:
        """Canonical JSON, and its sha256 if it is large. An array that all shards share is rendered
        once, not once a shard."""
        many = isinstance(value, Value.Array | Value.Map) and len(value.value) > 100
        if many and (known := self._rendered.get(id(value))) is not None and known[0] is value:
            return known[1]
        text = json_text.text(value.json, json_text.CANONICAL)
        large = len(text) > _LARGE
        rendered = text, hashlib.sha256(text.encode()).hexdigest() if large else ""
        if many:
            if len(self._rendered) >= 16:
                self._rendered.clear()
            self._rendered[id(value)] = (value, rendered)
        return rendered

    def _failure(self, error: Exception) -> errors.OrchestratorError:
        ours = diagnostics.behind(error, errors.OrchestratorError)
        job = self._machine.jobs.get(getattr(error, "job_id", ""))
        subject = self._workflow.name
        if job is not None and (shards := _shards(job)):
            subject += "".join(f" [shard {shard}]" for shard in shards)
        failure = diagnostics.evaluation_failed(error, subject, job.node.pos if job else None)
        if isinstance(ours, errors.EvaluationFailed):
            return errors.EvaluationFailed(
                f"{subject}: {ours.message}", place=failure.place, hint=ours.hint
            )
        return failure


class _WorkflowScope(Scope):
    """Files are URIs; what expressions write waits to be put below `scratch`."""

    def __init__(self, facts: Facts, scratch: str) -> None:
        self._facts = facts
        self._scratch = scratch
        self._written: dict[str, bytes] = {}  # not yet known as facts
        self.new: list[str] = []

    def content(self, path: str, limit: int) -> bytes:
        written = self._written.get(path)
        return library.content_fact(self._facts, path, limit) if written is None else written

    def size(self, path: str, directory: bool) -> int:
        written = self._written.get(path)
        return library.size_fact(self._facts, path, directory) if written is None else len(written)

    def write(self, name: str, content: bytes) -> str:
        uri = f"{self._scratch}/{name}"
        if uri not in self._written and self._facts.peek("content", uri) is None:
            self._written[uri] = content
            self.new.append(uri)
        return uri

    def forget_pinned(self) -> None:
        """Contents that are facts by now are not kept twice."""
        for uri in [uri for uri in self._written if self._facts.peek("content", uri)]:
            if uri not in self.new:
                del self._written[uri]

    def take(self) -> list[tuple[str, bytes]]:
        """What was written since the last time."""
        new, self.new = self.new, []
        return [(uri, self._written[uri]) for uri in new]


def _shards(job: Any) -> tuple[int, ...]:
    return tuple(int(index) for index, _ in job.scatter_stack)
