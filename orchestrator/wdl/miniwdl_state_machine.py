"""`IndexedStateMachine`: miniwdl's `StateMachine` with three changes.

- Counts of unfinished dependencies and lists of dependants instead of a scan of all waiting jobs at
  every step, which made a scatter quadratic. What is large is taken some pieces at a time.
- `_do_job` without miniwdl's file policy: it looked at the local file system. Here files are URIs
  or paths that nobody opens.
- A job that lacks facts is put aside and tried again; the others go on.

It gives the same calls, inputs and outputs: `tests/unit/wdl/test_equivalence.py`.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from WDL import Env, Tree, Type, Value
from WDL.runtime import _workflow_state as _state

from orchestrator import errors
from orchestrator.wdl import diagnostics
from orchestrator.wdl.facts import NeedFacts, Want


class IndexedStateMachine(_state.StateMachine):
    """Steps a workflow. miniwdl's own class tells the whole story."""

    def __init__(self, workflow: Any, inputs: Any, max_scatter_width: int) -> None:
        self._max_scatter_width = max_scatter_width
        self._blocked: dict[str, int] = {}  # job id -> its unfinished dependencies
        self._dependants: defaultdict[str, list[str]] = defaultdict(list)
        self._ready: list[str] = []  # a heap: the order is the same at every replay
        self._parked: dict[str, set[Want]] = {}  # job id -> what it lacks
        self._waiting_for: dict[Want, list[str]] = {}  # the same the other way round
        self._untold: set[Want] = set()
        self._underway: list[tuple[str, Iterator[Any]]] = []  # taken some pieces at a time
        super().__init__("wdl.graph", "/nonexistent", workflow, inputs)
        self._given = {binding.name: binding.value for binding in self.inputs}
        self._given_to: defaultdict[str, list[tuple[str, Any]]] = defaultdict(list)
        for name, value in self._given.items():
            call, separator, rest = name.partition(".")
            if separator:
                self._given_to[call].append((rest, value))

    def _schedule(self, job: Any) -> None:
        assert job.id not in self.jobs, job.id
        if job.id.startswith("output-"):
            # miniwdl takes it for given where an input of the same name is.
            job = job._replace(dependencies=job.node.workflow_node_dependencies)
        self.jobs[job.id] = job
        self.waiting.add(job.id)
        blocked = 0
        for dependency in job.dependencies:
            if dependency not in self.finished:
                blocked += 1
                self._dependants[dependency].append(job.id)
        if blocked:
            self._blocked[job.id] = blocked
        else:
            heapq.heappush(self._ready, job.id)

    def step(self, stdlib: Any) -> Any:  # type: ignore[override]
        """Do one job. CallInstructions when it is a call, True when there may be more, else None.

        Raises whatever the job raises, with `job_id` on it; that job is then never tried again.
        """
        if self._underway:
            return self._go_on()
        if not self._ready:
            assert self.running or self._parked or not self.waiting, "deadlocked"
            return None
        job_id = heapq.heappop(self._ready)
        job = self.jobs[job_id]
        self.waiting.remove(job_id)
        try:
            result = self._do_job(stdlib, job)
        except Exception as error:
            need = diagnostics.behind(error, NeedFacts)
            if need is not None:
                wants = need.wants | stdlib.wants(_expressions(job.node), self._environment(job))
                self.waiting.add(job_id)
                self._park(job_id, wants)
                return True
            self.running.add(job_id)  # for ever: it failed
            error.job_id = job_id  # type: ignore[attr-defined]
            raise
        if isinstance(result, _state.StateMachine.CallInstructions):
            self.running.add(job_id)
            return result
        if result is not None:
            self._finish(job_id, result)
        return True

    def _park(self, job_id: str, wants: Iterable[Want]) -> None:
        self._parked[job_id] = set(wants)
        for want in self._parked[job_id]:
            if want not in self._waiting_for:
                self._waiting_for[want] = []
                self._untold.add(want)
            self._waiting_for[want].append(job_id)

    @property
    def lacking(self) -> Collection[Want]:
        """The facts that jobs wait for."""
        return self._waiting_for.keys()

    def known(self, want: Want) -> None:
        """This fact is there: what waits for nothing else is tried again."""
        for job_id in self._waiting_for.pop(want, ()):
            self._parked[job_id].discard(want)
            if not self._parked[job_id]:
                del self._parked[job_id]
                heapq.heappush(self._ready, job_id)

    def take_wants(self) -> frozenset[Want]:
        """Those of the facts that jobs wait for which were not told yet."""
        wants, self._untold = frozenset(self._untold), set()
        return wants

    def dismantle(self) -> None:
        """See `Graph.dismantle`."""
        for outputs in self.job_outputs.values():
            for binding in outputs:
                _take_apart(binding.value)
        for parts in (self.jobs, self.job_outputs, self._dependants):
            while parts:
                parts.popitem()
        self._underway.clear()

    def call_finished(self, job_id: str, outputs: Any) -> None:
        """A call's outputs, by their unqualified names."""
        assert job_id in self.running, job_id
        self.running.remove(job_id)
        self._finish(job_id, outputs.wrap_namespace(self.node(job_id).name))

    def node(self, job_id: str) -> Any:
        """The node of the workflow that a job stands for."""
        return self.jobs[job_id].node

    def _finish(self, job_id: str, outputs: Any) -> None:
        self.job_outputs[job_id] = outputs
        self.finished.add(job_id)
        for dependant in self._dependants.pop(job_id, ()):
            left = self._blocked[dependant] - 1
            if left:
                self._blocked[dependant] = left
            else:
                del self._blocked[dependant]
                heapq.heappush(self._ready, dependant)

    def _do_job(self, stdlib: Any, job: Any) -> Any:  # type: ignore[override]
        node = job.node
        if isinstance(node, Tree.Gather):
            self._underway.append((job.id, self._gathered(node, list(job.dependencies))))
            return None
        env = self._environment(job)
        if isinstance(node, Tree.Decl):
            return Env.Bindings(Env.Binding(node.name, self._declared(node, env, stdlib)))
        if isinstance(node, Tree.Call):
            return _state.StateMachine.CallInstructions(
                id=job.id, callee=job.node.callee, inputs=self._call_inputs(node, env, stdlib)
            )
        if isinstance(node, Tree.Scatter | Tree.Conditional):
            value = node.expr.eval(env, stdlib=stdlib)
            if isinstance(node, Tree.Scatter) and len(value.value) > self._max_scatter_width:
                raise errors.EvaluationFailed(
                    f"a scatter over {len(value.value):,} elements; "
                    f"at most {self._max_scatter_width:,} are allowed",
                    hint="system.max-scatter-width-per-scatter is the limit",
                )
            self._begin_section(job, value)
            return None
        return env  # the workflow's outputs

    def _gathered(self, gather: Any, parts: list[str]) -> Iterator[Any]:
        """As `_workflow_state._gather`, some elements at a time. `parts` are in the order of shards
        because `_section_jobs` made them so."""
        leaf = gather.final_referee
        if isinstance(leaf, Tree.Call):
            prefix = f"{leaf.name}."
            names = [b.name for b in leaf.effective_outputs if b.name.startswith(prefix)]
        else:
            names = [leaf.name]
        bindings: Env.Bindings[Any] = Env.Bindings()
        for name in names:
            values = []
            for part in parts:
                values.append(self.job_outputs[part].resolve(name))
                yield None
            if isinstance(gather.section, Tree.Scatter):
                item_type = values[0].type if values else Type.Any()
                value: Any = Value.Array(item_type, values)
            else:
                value = values[0] if values else Value.Null()
            bindings = bindings.bind(name, value)
        yield bindings

    def _environment(self, job: Any) -> Any:
        env: Env.Bindings[Any] = Env.Bindings()
        for _, binding in job.scatter_stack:
            env = Env.Bindings(binding, env)
        return Env.merge(env, *(self.job_outputs[dependency] for dependency in job.dependencies))

    def _declared(self, node: Any, env: Any, stdlib: Any) -> Any:
        if node.name in self._given and not node.workflow_node_id.startswith("output-"):
            return stdlib.fitted(node, node.name, self._given[node.name], node.type)
        if node.expr is None:
            return Value.Null()
        value = node.expr.eval(env, stdlib=stdlib)
        return stdlib.checked(node, stdlib.fitted(node.expr, node.name, value, node.type))

    def _call_inputs(self, node: Any, env: Any, stdlib: Any) -> Any:
        """Expressions of the call, then what the inputs file gives to it, coerced to the callee's
        types. A null for a declaration with a default stays null: the default is chosen later."""
        available = _available_inputs(node.callee)
        bindings: Env.Bindings[Any] = Env.Bindings()
        given = [(name, expr.eval(env, stdlib=stdlib)) for name, expr in node.inputs.items()]
        given += self._given_to.get(node.name, [])
        for name, value in given:
            decl = available.get(name)
            if decl is not None:
                type_ = decl.type.copy(optional=True) if decl.expr is not None else decl.type
                value = stdlib.fitted(node.inputs.get(name, node), name, value, type_)
            bindings = bindings.bind(name, value)
        return bindings

    # A section's body may be large: its jobs are made, and gathered, some at a time.

    def _begin_section(self, job: Any, value: Any) -> None:
        self._underway.append((job.id, _section_jobs(self.workflow, job, value)))

    def _go_on(self, at_once: int = 500) -> bool:
        """Pieces are jobs to schedule, None, and last of all the outputs of what is under way."""
        job_id, pieces = self._underway[-1]
        for piece in itertools.islice(pieces, at_once):
            if isinstance(piece, _state._Job):
                self._schedule(piece)
            elif piece is not None:
                self._underway.pop()
                self._finish(job_id, piece)
                break
        return True


def _take_apart(value: Any) -> None:
    """A large array that goes in one go keeps all threads waiting."""
    if isinstance(value, Value.Array) and len(value.value) > 10_000:
        while value.value:
            del value.value[-1_000:]


def _expressions(node: Any) -> list[Any]:
    if isinstance(node, Tree.Call):
        return list(node.inputs.values())
    return [node.expr] if getattr(node, "expr", None) is not None else []


def _available_inputs(callee: Any) -> dict[str, Any]:
    """`callee.available_inputs` by name; it is built anew at every access, so it is kept."""
    known: dict[str, Any] | None = getattr(callee, "_orchestrator_inputs", None)
    if known is None:
        known = {binding.name: binding.value for binding in callee.available_inputs}
        callee._orchestrator_inputs = known
    return known


def _section_jobs(workflow: Any, job: Any, value: Any) -> Iterator[Any]:
    """The jobs of a scatter or conditional: as `_workflow_state._scatter`, made lazily and without
    names for shards (which miniwdl works out from all values even when told not to use them)."""
    section = job.node
    stack = job.scatter_stack
    if isinstance(section, Tree.Scatter):
        digits = max(1, math.ceil(math.log10(len(value.value)))) if value.value else 1
        stacks: Iterator[list[Any]] = (
            [*stack, (str(index).zfill(digits), Env.Binding(section.variable, item))]
            for index, item in enumerate(value.value)
        )
    else:
        stacks = iter([stack] if value.value else [])
    made: defaultdict[str, dict[str, None]] = defaultdict(dict)  # in the order of shards
    dependencies = {
        node.workflow_node_id: [
            (dependency, workflow.get_node(dependency).scatter_depth)
            for dependency in sorted(node.workflow_node_dependencies)
        ]
        for node in section.body
    }
    for inner in stacks:
        indices = [index for index, _ in inner]
        for node in section.body:
            job_id = "-".join([node.workflow_node_id, *indices])
            yield _state._Job(
                id=job_id,
                node=node,
                dependencies={
                    "-".join([dependency, *indices[:depth]])
                    for dependency, depth in dependencies[node.workflow_node_id]
                },
                scatter_stack=inner,
            )
            made[node.workflow_node_id][job_id] = None
            if isinstance(node, Tree.WorkflowSection):
                for gather in node.gathers.values():
                    gathered = "-".join([gather.workflow_node_id, *indices])
                    made[gather.workflow_node_id][gathered] = None
    indices = [index for index, _ in stack]
    for body_node_id, gather in section.gathers.items():
        yield _state._Job(
            id="-".join([gather.workflow_node_id, *indices]),
            node=gather,
            dependencies=made[body_node_id],  # type: ignore[arg-type]  # ordered
            scatter_stack=stack,
        )
    yield Env.Bindings()
