"""One root workflow in memory: events in, records and effects out. No I/O, no clock of its own.

The coordinator calls `work` in slices of time, then commits the records that `take` gives, and only
then starts the effects that came with them: an intent is always durable before its effect.

This module steps the graphs of the workflow and its sub-workflows, enters the calls that become
ready, and ends it all; `jobs` takes each call to its outputs. The invariant of both: the journal
holds whatever a replay needs to come to the same state.

Longer than others because how calls begin and how workflows end are decided by the same few facts.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from orchestrator import errors
from orchestrator.backends.base import Backend, Change
from orchestrator.engine import finalizer, recovery
from orchestrator.engine.actions import Effect, Put
from orchestrator.engine.calls import Call, Calls, Flow
from orchestrator.engine.final_plan import Finished
from orchestrator.engine.finalizer import Finalizer, OnEnd
from orchestrator.engine.jobs import Jobs, RunSettings
from orchestrator.engine.outbox import Outbox
from orchestrator.engine.steps import Steps, is_local
from orchestrator.model import options as workflow_options
from orchestrator.model import states
from orchestrator.model.attempt import below
from orchestrator.model.failures import Failure, FailureCode
from orchestrator.model.options import FailureMode
from orchestrator.model.records import (
    AttemptRecord,
    CallRecord,
    FactRecord,
    Record,
    SharedInput,
    WorkflowRecord,
)
from orchestrator.model.states import AttemptState, CallState, WorkflowState
from orchestrator.store.base import Journal
from orchestrator.wdl import inputs as wdl_inputs
from orchestrator.wdl import json_text
from orchestrator.wdl.document import Document
from orchestrator.wdl.facts import Facts, Want
from orchestrator.wdl.graph import Graph, ReadyCall, Write

_SUB_WORKFLOWS = uuid.UUID("5f0f54b5-9f5d-4f0e-9d0b-7b8d3f6a2c11")


@dataclass(frozen=True, slots=True)
class Progress:
    """A snapshot for people. `calls`: call name -> how many are in which state."""

    workflow_id: str
    workflow_name: str
    state: WorkflowState
    calls: Mapping[str, Mapping[CallState, int]]
    failing: bool


class Run:
    """See the module."""

    def __init__(
        self,
        journal: Journal,
        document: Document,
        backend: Backend,
        settings: RunSettings,
        now: float,
    ) -> None:
        self.root = journal.workflows[0]
        self._options = workflow_options.parse(
            json.loads(self.root.options), hog_group_option=settings.hog_option
        )
        self._settings = settings
        self._facts = Facts(journal.facts)
        self._outbox = Outbox(self.root.id, now)
        self._steps = Steps(self._facts, self._outbox, on_this_host=is_local(settings.root))
        self._calls = Calls(self._outbox)
        self._replay = recovery.Replay(journal)
        self._records_of_flows = {w.id: w for w in journal.workflows}
        self._failures: list[str] = []
        self._broken: dict[str, tuple[str, str]] = {}  # sub-workflow -> what fails it: code, words
        self._job_count = 0
        self._puts = 0
        self._shared: set[str] = set()  # digests of inputs that are recorded
        self._aborting = False  # its calls are being ended
        self._written_facts: list[FactRecord] = []  # of files that are being written
        self._document = document
        self._home = below(settings.root, self.root.directory)
        self.finalizer = Finalizer(self._outbox, journal.facts)
        self._finalized = False
        self.jobs = Jobs(
            backend,
            settings,
            self._options,
            self.root.name,
            json.loads(self.root.labels),
            self._facts,
            self._outbox,
            self._steps,
            self._calls,
            ends=self,
        )
        self.submissions = self.jobs.submissions
        bound = wdl_inputs.bind(document, json.loads(self.root.inputs))
        if self.root.state is WorkflowState.SUBMITTED:
            self.root = self._workflow(self.root, state=WorkflowState.RUNNING, started_at=now)
        self._outbox.event(self.root.id, "PickedUp")
        self._root_flow = Flow(
            self.root,
            Graph(
                document,
                bound,
                self._facts,
                scratch=f"{self._home}/written",
                max_scatter_width=settings.max_scatter_width,
            ),
        )
        self._flows = [self._root_flow]
        for live in recovery.live_submissions(journal):
            self.submissions.adopt(live)
        self._queue_graph(self._root_flow)
        if self.root.state is WorkflowState.ABORTING:
            self.jobs.stop()

    # --- what the coordinator asks

    @property
    def is_over(self) -> bool:
        """Whether the workflow is terminal; its last records may still have to be committed."""
        return states.is_terminal(self.root.state)

    @property
    def failing(self) -> bool:
        """Whether the workflow can only fail any more, though parts of it still run."""
        return bool(self._failures)

    @property
    def inflight(self) -> int:
        """Attempts that are, or may be, with the backend."""
        return self.submissions.inflight

    @property
    def waiting(self) -> int:
        """How many attempts `dispatch` would submit if its limit allowed it."""
        return 0 if self._puts or self.is_over else self.jobs.waiting

    @property
    def hog_group(self) -> str:
        """Which workflows share their places; without the option, each has its own."""
        return self._options.hog_group or self.root.id

    def progress(self) -> Progress:
        """How it stands now."""
        return Progress(
            self.root.id, self.root.name, self.root.state, self._calls.counts, self.failing
        )

    @property
    def due(self) -> bool:
        """Whether `work` has something to do right now."""
        return self._steps.due and not self.is_over

    @property
    def unsaid(self) -> int:
        """Records and effects that `take` has not given yet."""
        return len(self._outbox)

    def take(self, limit: int | None = None) -> tuple[list[Record], list[Effect]]:
        """At least so many records, if there are, which may be committed by themselves; and the
        effects that may be started then. Without a limit everything."""
        return self._outbox.take(limit)

    def wake_at(self) -> float | None:
        """When something is due by itself: a delayed retry, a look-up or copy to be repeated."""
        due = (self.jobs.wake_at(), self.finalizer.wake_at())
        return min((at for at in due if at is not None), default=None)

    def dismantle(self) -> None:
        """It is over and nobody looks at it any more: its parts go one by one.

        All at once they would hold up every thread; and they refer to each other in circles, which
        the collector may have set aside. Any thread may do this.
        """
        for flow in self._flows:
            flow.graph.dismantle()
            flow.parent = None
        self._flows.clear()
        self._facts.dismantle()
        self.jobs.dismantle()

    def tell_time(self, now: float) -> None:
        """The time of the turn that begins."""
        self._outbox.now = now

    def work(self, deadline: Callable[[], bool]) -> bool:
        """Evaluate until nothing is left or `deadline()` says so. True: there is more to do."""
        self.jobs.wake()
        self.finalizer.wake()
        if self.is_over:
            return False
        if self._steps.work(lambda: deadline() or self.is_over) and not self.is_over:
            return True
        self._conclude()
        return False

    def dispatch(self, limit: int | None) -> None:
        """Turn ready attempts into submissions; at most `limit` attempts, all when None."""
        if self.waiting:
            self.jobs.dispatch(limit, self.hog_group)

    # --- events

    def facts_fetched(
        self, records: Iterable[FactRecord], failed: Mapping[Want, errors.OrchestratorError]
    ) -> None:
        """Pin them and go on with what waited for them."""
        self._steps.facts_fetched(records, failed)

    def objects_written(self, error: errors.OrchestratorError | None) -> None:
        """The engine's own files are in place."""
        self._puts -= 1
        if error is not None:
            self._fail(f"a file of the workflow was not written: {error.message}")
        elif not self._puts:
            # Only now: a restart writes those again that are not known to be there.
            self._outbox.record(*self._written_facts)
            self._written_facts.clear()
            self._queue_graph(self._root_flow)  # it may have waited for its last file

    def changed(self, change: Change) -> bool:
        """One job moved. False: not one of this run's."""
        known = self.submissions.changed(change)
        self._outbox.seal()
        return known

    def abort(self) -> None:
        """Nothing new starts; what runs is ended."""
        if self.is_over or self.root.state is WorkflowState.ABORTING:
            return
        self.root = self._workflow(self.root, state=WorkflowState.ABORTING)
        self._outbox.event(self.root.id, "Aborting")
        self.finalizer.stop()
        self.jobs.stop()

    # --- the graph

    def _queue_graph(self, flow: Flow) -> None:
        if flow.stepping:
            return
        flow.stepping = True
        self._steps.add(
            lambda: self._step_graph(flow), lambda error: self._graph_failed(flow, error)
        )

    def _graph_failed(self, flow: Flow, error: errors.OrchestratorError) -> None:
        flow.stepping = False
        self._flow_failed(flow, error.sentence)

    def _step_graph(self, flow: Flow) -> None:
        flow.stepping = False
        if self.holds() and self._replay.over:
            return
        advance = flow.graph.advance(budget_seconds=0.005)
        if advance.writes:
            self._write(advance.writes)
        self._await_facts(flow, advance.wants)
        answered = [self._enter(flow, ready) for ready in advance.calls]
        if advance.more or any(answered):
            self._queue_graph(flow)
            return
        if flow.graph.outputs is not None and (flow.parent is not None or self._may_succeed()):
            self._flow_succeeded(flow)

    def _may_succeed(self) -> bool:
        return not self._puts and not self.failing

    def _await_facts(self, flow: Flow, wants: frozenset[Want]) -> None:
        """Step the graph again when each is there; until then it goes on without those nodes."""
        for want in wants:
            self._steps.once_known(
                want,
                lambda: self._queue_graph(flow),
                lambda error: self._graph_failed(flow, error),
            )

    def _write(self, writes: tuple[Write, ...]) -> None:
        for write in writes:
            for fact in (
                FactRecord(self.root.id, "stat", write.uri, True, len(write.content)),
                FactRecord(self.root.id, "content", write.uri, True, content=write.content),
            ):
                if self._facts.add(fact):
                    self._written_facts.append(fact)
        self._puts += 1
        self._outbox.perform(Put(writes))

    def _enter(self, flow: Flow, ready: ReadyCall) -> bool:
        """A call became ready: a new one, or one that the journal knows. True: it is answered."""
        self._job_count += not ready.is_workflow
        if self._job_count > self._settings.max_jobs:
            raise errors.WorkflowFailed(
                f"the workflow has more than {self._settings.max_jobs:,} calls of tasks",
                hint="system.total-max-jobs-per-root-workflow is the limit",
            )
        known, attempts = self._replay.take(flow.record.id, ready.id)
        if known is None:
            known = CallRecord(
                workflow_id=flow.record.id,
                root_id=self.root.id,
                id=ready.id,
                name=ready.name,
                shards=ready.shards,
                state=CallState.WAITING,
                inputs_digest=ready.inputs_digest,
                inputs=ready.inputs,
                shared_inputs=self._share(ready),
                started_at=self._outbox.now,
            )
            self._outbox.record(known)
        elif known.inputs_digest != ready.inputs_digest:
            raise errors.WorkflowFailed(
                f"{FailureCode.REPLAY_MISMATCH}: call {ready.name} ({ready.id}) gets other inputs "
                "now than when the workflow began; the workflow, its files or the orchestrator "
                "changed in between"
            )
        self._calls.count(known)
        if known.state is CallState.DONE:
            flow.graph.finish(ready.id, json.loads(known.outputs or "{}"))
            return True
        call = Call(flow, ready, known)
        if known.state in (CallState.FAILED, CallState.ABORTED):
            call.attempt = max(1, known.attempts)
            if self.root.state is not WorkflowState.ABORTING:
                self._blame(call)
            return False
        self._calls.enter(call)
        if ready.is_workflow:
            self._enter_sub_workflow(call)
        else:
            call.task = flow.graph.task(ready)
            self.jobs.start(call, attempts)
        return False

    def _share(self, ready: ReadyCall) -> str:
        """Its large inputs by name; each is recorded once."""
        for _, digest, text in ready.shared:
            if digest not in self._shared:
                self._shared.add(digest)
                self._outbox.record(SharedInput(self.root.id, digest, text))
        return json.dumps({name: digest for name, digest, _ in ready.shared})

    def _enter_sub_workflow(self, call: Call) -> None:
        parent = call.flow.record
        sub_id = str(uuid.uuid5(_SUB_WORKFLOWS, f"{parent.id}/{call.ready.id}"))
        record = self._records_of_flows.get(sub_id)
        if record is None:
            record = self._workflow(
                WorkflowRecord(
                    id=sub_id,
                    root_id=self.root.id,
                    name=call.ready.callee,
                    state=WorkflowState.RUNNING,
                    bundle=parent.bundle,
                    inputs=call.ready.inputs,
                    parent_id=parent.id,
                    parent_call_id=call.ready.id,
                    directory=f"{call.ref.call_directory}/{call.ready.callee}/{sub_id}",
                    backend=parent.backend,
                    submitted_at=self._outbox.now,
                    started_at=self._outbox.now,
                )
            )
            self._calls.change(call, state=CallState.RUNNING, sub_workflow_id=sub_id)
        graph = call.flow.graph.subgraph(call.ready)
        flow = Flow(record, graph, parent=call)
        self._flows.append(flow)
        self._queue_graph(flow)

    # --- ends of calls and workflows

    def holds(self) -> bool:
        """Whether nothing new may start."""
        if self.submissions.stopping:
            return True
        return self.failing and self._options.failure_mode is FailureMode.NO_NEW_CALLS

    def call_done(self, call: Call, outputs: Mapping[str, Any]) -> None:
        """Raises EvaluationFailed, with nothing recorded, for outputs that the graph refuses."""
        text = json_text.text(outputs)
        if not self.holds():
            call.flow.graph.finish(call.ready.id, outputs)
            self._queue_graph(call.flow)
        self._calls.change(call, state=CallState.DONE, outputs=text, ended_at=self._outbox.now)

    def call_failed(self, call: Call, failure: Failure) -> None:
        """Of no further attempt."""
        aborted = self.jobs.is_abort(failure)
        self._calls.change(
            call,
            state=CallState.ABORTED if aborted else CallState.FAILED,
            failure_code=failure.code,
            failure_message=failure.message,
            ended_at=self._outbox.now,
        )
        if not aborted:
            self._outbox.event(
                call.flow.record.id,
                "CallFailed",
                call_id=call.ready.id,
                attempt=call.attempt,
                detail={
                    "code": failure.code,
                    "class": failure.retry_class,
                    "message": failure.message,
                },
            )
            self._blame(call)

    def _blame(self, call: Call) -> None:
        """A failed call fails the workflow, and the sub-workflows that it is in."""
        text = call.failure_text
        flow = call.flow
        while flow.parent is not None:
            self._broken.setdefault(flow.record.id, (call.record.failure_code or "", text))
            flow = flow.parent.flow
        self._fail(text)

    def _fail(self, message: str) -> None:
        self._failures.append(message)
        if self.holds():
            self.jobs.forget_waiting()
        if len(self._failures) == 1 and not self.is_over:
            # From now on everybody can see that it will fail, though parts of it still run.
            self.root = self._workflow(self.root, failures=_failures_json(self._failures))

    def _flow_succeeded(self, flow: Flow) -> None:
        if call := self._replay.waits_for(flow.record.id):
            raise errors.WorkflowFailed(
                f"{FailureCode.REPLAY_MISMATCH}: call {call.name} ({call.id}) had begun, and the "
                "workflow does not come to it any more; the workflow, its files or the "
                "orchestrator changed in between"
            )
        outputs = flow.graph.outputs or {}
        if flow.parent is not None:
            flow.record = self._flow_done(flow, outputs)
            self.call_done(flow.parent, outputs)
        elif not self.finalizer.working and not self._finalized:
            self._finalize(
                WorkflowState.SUCCEEDED,
                outputs,
                lambda failed, told: self._succeeded(flow, failed, told or outputs),
            )

    def _succeeded(self, flow: Flow, failed: Iterable[str], outputs: Mapping[str, Any]) -> None:
        """All calls were; `failed` is what went wrong after them."""
        for message in failed:
            self._fail(message)
        if self.failing:
            # The results are where the calls left them, and can still be used.
            self.root = self._workflow(self.root, outputs=json_text.text(outputs))
            self._end(WorkflowState.FAILED)
            return
        self.root = flow.record = self._flow_done(flow, outputs)
        self._outbox.event(self.root.id, "Finished")

    def _flow_done(self, flow: Flow, outputs: Mapping[str, Any]) -> WorkflowRecord:
        return self._workflow(
            self._records_of_flows[flow.record.id],
            state=WorkflowState.SUCCEEDED,
            outputs=json_text.text(outputs),
            ended_at=self._outbox.now,
        )

    def _finalize(
        self, state: WorkflowState, outputs: Mapping[str, Any] | None, on_end: OnEnd
    ) -> None:
        """Copy and delete what the options ask for, then go on; a second time there is nothing."""
        if self._finalized or not finalizer.is_wanted(self._options, state):
            self._finalized = True
            on_end([], None)
            return

        def end(failed: list[str], told: Mapping[str, Any] | None) -> None:
            self._finalized = True
            on_end(failed, told)

        finished = Finished(
            self.root,
            self._home,
            self._options,
            self._document,
            outputs,
            dict(self._records_of_flows),
        )
        self.finalizer.begin(finished, state, end, self._failures)

    def _flow_failed(self, flow: Flow, message: str) -> None:
        if flow.parent is None:
            self._fail(message)
            return
        if states.is_terminal(flow.record.state):
            return  # one failure is enough
        flow.record = self._workflow(
            flow.record,
            state=WorkflowState.FAILED,
            ended_at=self._outbox.now,
            failures=_failures_json([message]),
        )
        self.call_failed(flow.parent, Failure(FailureCode.EVALUATION_FAILED, message))

    def _conclude(self) -> None:
        """End the workflow when nothing can come any more."""
        if self.is_over or not self.jobs.idle or self._steps.due or self.finalizer.working:
            return
        if self.root.state is WorkflowState.ABORTING:
            if not self._aborting:
                self._aborting = True
                self._steps.begin(self._abort_calls())
        elif self.failing and (self.holds() or not self._steps.parked):
            self._end_unsuccessful(WorkflowState.FAILED)
        elif not self._steps.parked and not self._puts:
            self._failures.append(
                "nothing is left to run although outputs are missing; please report this"
            )
            self._end_unsuccessful(WorkflowState.FAILED)

    def _abort_calls(self) -> Iterator[None]:
        """In pieces: a workflow may have entered 50,000. A restart aborts what is left."""
        for done, call in enumerate(self._calls.open, 1):
            if call.attempt_record is not None:
                self._abandon(call.attempt_record)
            self._calls.change(call, state=CallState.ABORTED, ended_at=self._outbox.now)
            self._outbox.seal()
            if done % 200 == 0:
                yield
        self._end_unsuccessful(WorkflowState.ABORTED)

    def _end_unsuccessful(self, state: WorkflowState) -> None:
        """Logs are copied first."""

        def end(failed: list[str], _: Mapping[str, Any] | None) -> None:
            self._failures += failed
            self._end(state)

        self._finalize(state, None, end)

    def _end(self, state: WorkflowState) -> None:
        failed = state is WorkflowState.FAILED
        now = self._outbox.now
        for flow in list(self._records_of_flows.values()):
            if flow.parent_id is None or states.is_terminal(flow.state):
                continue
            if failed and flow.id in self._broken:
                why = _failures_json([self._broken[flow.id][1]])
                self._workflow(flow, state=WorkflowState.FAILED, failures=why, ended_at=now)
            else:
                self._workflow(flow, state=WorkflowState.ABORTED, ended_at=now)
        for call in self._calls.open:
            if call.attempt_record is not None:
                self._abandon(call.attempt_record)
            if failed and (broken := self._broken.get(call.record.sub_workflow_id or "")):
                self._calls.change(
                    call,
                    state=CallState.FAILED,
                    failure_code=broken[0],
                    failure_message=broken[1],
                    ended_at=now,
                )
            elif not failed or call.record.state is CallState.RUNNING:
                self._calls.change(call, state=CallState.ABORTED, ended_at=now)
        self.submissions.end()
        for record in self._replay.abandoned():
            self._abandon(record)
        failures = _failures_json(self._failures) if failed else None
        self.root = self._workflow(self.root, state=state, failures=failures, ended_at=now)
        self._outbox.event(self.root.id, "Finished")

    def _abandon(self, record: CallRecord | AttemptRecord) -> None:
        if isinstance(record, CallRecord):
            self._outbox.record(replace(record, state=CallState.ABORTED, ended_at=self._outbox.now))
        elif not states.is_terminal(record.state):
            self._outbox.record(
                replace(record, state=AttemptState.ABORTED, ended_at=self._outbox.now)
            )

    # --- small parts

    def _workflow(self, record: WorkflowRecord, **changes: Any) -> WorkflowRecord:
        record = states.moved(record, **changes)
        self._outbox.record(record)
        self._records_of_flows[record.id] = record
        return record


def _failures_json(messages: Iterable[str]) -> str:
    return json.dumps([{"message": message, "causedBy": []} for message in messages])
