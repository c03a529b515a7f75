"""One root workflow in memory: events in, records and effects out. No I/O, no clock of its own.

The coordinator calls `work` in slices of time, then commits what `take_records` gives, and only
then starts what `take_effects` gives: an intent is always durable before its effect.

    graph step    calls that became ready enter; finished ones of the journal are answered at once
    prepare step  inputs, command, runtime attributes -> a ready attempt, or no job at all
    finish step   manifest -> outputs -> the graph; or a failure -> retry or the end of the call

A step that needs facts is parked until they are there and then taken again from its beginning.
This is one module, above the usual length, because these steps share one state and one invariant:
the journal holds whatever a replay needs to come to the same state.
"""

from __future__ import annotations

import json
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from orchestrator import errors
from orchestrator.backends.base import Backend, Change, JobState
from orchestrator.engine import dispatcher, judgement, recovery
from orchestrator.engine.actions import Cancel, Effect, Fetch, Find, Put, Revoke, Submit
from orchestrator.engine.recovery import LiveSubmission
from orchestrator.engine.retry import RetryPolicy
from orchestrator.model import runtime, states
from orchestrator.model.attempt import AttemptRef
from orchestrator.model.failures import Failure, FailureCode
from orchestrator.model.job import JobSpec, Shape, Submission
from orchestrator.model.manifest import Manifest, OutputFile
from orchestrator.model.records import (
    AttemptRecord,
    CallRecord,
    EventRecord,
    FactRecord,
    Record,
    SubmissionRecord,
    WorkflowRecord,
)
from orchestrator.model.states import AttemptState, CallState, SubmissionState, WorkflowState
from orchestrator.store.base import Journal
from orchestrator.wdl import inputs as wdl_inputs
from orchestrator.wdl.document import Document
from orchestrator.wdl.facts import Facts, NeedFacts, Want
from orchestrator.wdl.graph import Graph, ReadyCall, Write
from orchestrator.wdl.task import PreparedTask, TaskCall

_SUB_WORKFLOWS = uuid.UUID("5f0f54b5-9f5d-4f0e-9d0b-7b8d3f6a2c11")


@dataclass(frozen=True, slots=True)
class RunSettings:
    """What a run needs to know of its surroundings. `root` is the backend's execution root."""

    root: str
    default_runtime_attributes: Mapping[str, Any] = field(default_factory=dict)
    retry: RetryPolicy = field(default_factory=RetryPolicy)


@dataclass(frozen=True, slots=True)
class Progress:
    """A snapshot for people. `calls`: call name -> how many are in which state."""

    workflow_id: str
    workflow_name: str
    state: WorkflowState
    calls: Mapping[str, Mapping[CallState, int]]
    failing: bool


@dataclass(slots=True, eq=False)
class _Flow:
    """A workflow or sub-workflow being stepped."""

    record: WorkflowRecord
    graph: Graph
    parent: _Call | None = None
    stepping: bool = False  # a graph step is queued
    awaits: set[Want] = field(default_factory=set)  # facts that nodes of it are parked for


@dataclass(slots=True, eq=False)
class _Call:
    """A call that is not over."""

    flow: _Flow
    ready: ReadyCall
    record: CallRecord
    task: TaskCall | None = None
    attempt: int = 1
    attempt_record: AttemptRecord | None = None
    prepared: PreparedTask | None = None
    attributes: runtime.RuntimeAttributes | None = None
    failed_before: list[str] = field(default_factory=list)  # codes of earlier attempts


@dataclass(slots=True, eq=False)
class _Step:
    """One piece of evaluation. `on_error` gets an error of the user's making."""

    do: Callable[[], None]
    on_error: Callable[[errors.OrchestratorError], None]
    missing: set[Want] = field(default_factory=set)
    given_up: bool = False  # a fact that it needs cannot be had


class Run:
    """See the module. `now` is the time of the current turn, set by the coordinator."""

    def __init__(
        self,
        journal: Journal,
        document: Document,
        backend: Backend,
        settings: RunSettings,
        now: float,
    ) -> None:
        self.now = now
        self.root = journal.workflows[0]
        self.inflight = 0
        self._backend = backend
        self._settings = settings
        self._options: dict[str, Any] = json.loads(self.root.options)
        self._facts = Facts(journal.facts)
        self._records: list[Record] = []
        self._effects: list[Effect] = []
        self._todo: deque[_Step] = deque()
        self._parked: dict[Want, list[_Step]] = {}
        self._wanted: set[Want] = set()  # to be fetched with the next batch
        self._failed_facts: dict[Want, errors.OrchestratorError] = {}
        self._ready: list[tuple[_Call, dispatcher.ReadyAttempt]] = []
        self._delayed: list[tuple[float, _Call]] = []
        self._calls: dict[tuple[str, str, int], _Call] = {}  # with the backend, by attempt
        self._submissions: dict[str, LiveSubmission] = {}
        self._early: dict[tuple[str, int], Change] = {}
        self._fits: dict[Shape, Failure | None] = {}
        self._counts: dict[str, Counter[CallState]] = {}
        self._failures: list[str] = []
        self._broken: dict[str, tuple[str, str]] = {}  # sub-workflow -> what fails it: code, words
        self._open: dict[tuple[str, str], _Call] = {}  # calls that are not over
        self._puts = 0
        self._written_facts: list[FactRecord] = []  # of files that are being written
        self._throttled = 0  # TryLater answers in a row
        self._stopping = False  # jobs in flight are being ended

        self._journal_calls = {(c.workflow_id, c.id): c for c in journal.calls}
        self._journal_flows = {w.id: w for w in journal.workflows}
        self._journal_attempts: dict[tuple[str, str], list[AttemptRecord]] = {}
        for attempt in sorted(journal.attempts, key=lambda a: a.attempt):
            key = (attempt.workflow_id, attempt.call_id)
            self._journal_attempts.setdefault(key, []).append(attempt)

        bound = wdl_inputs.bind(document, json.loads(self.root.inputs))
        if self.root.state is WorkflowState.SUBMITTED:
            self.root = self._workflow(self.root, state=WorkflowState.RUNNING, started_at=now)
        self._event(self.root.id, "PickedUp")
        self._root_flow = _Flow(
            self.root,
            Graph(document, bound, self._facts, self._written(self.root)),
        )
        for live in recovery.live_submissions(journal):
            self._submissions[live.record.id] = live
            self._effects.append(Find(live.handle))
        self._queue_graph(self._root_flow)
        if self.root.state is WorkflowState.ABORTING:
            self._stop_everything()

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
    def waits_for_room(self) -> bool:
        """Whether `dispatch` would submit more if its limit allowed it."""
        return bool(self._ready) and not self._puts and not self.is_over

    def progress(self) -> Progress:
        """How it stands now."""
        return Progress(
            self.root.id,
            self.root.name,
            self.root.state,
            {name: dict(counts) for name, counts in self._counts.items()},
            self.failing,
        )

    def take_records(self) -> list[Record]:
        """What must be committed before `take_effects` may be started."""
        taken, self._records = self._records, []
        return taken

    def take_effects(self) -> list[Effect]:
        """What is to be done once the records are committed."""
        taken, self._effects = self._effects, []
        return taken

    def wake_at(self) -> float | None:
        """When a delayed retry is due, if there is one."""
        return min((due for due, _ in self._delayed), default=None)

    def work(self, deadline: Callable[[], bool]) -> bool:
        """Evaluate until nothing is left or `deadline()` says so. True: there is more to do."""
        self._wake_delayed()
        while self._todo and not self.is_over:
            step = self._todo.popleft()
            try:
                step.do()
            except NeedFacts as need:
                self._park(step, need.wants)
            except errors.OrchestratorError as error:
                step.on_error(error)
            if deadline():
                break
        if self._todo and not self.is_over:
            return True
        if self._wanted:
            self._effects.append(Fetch(frozenset(self._wanted)))
            self._wanted.clear()
        self._conclude()
        return False

    def dispatch(self, limit: int | None) -> None:
        """Turn ready attempts into submissions; at most `limit` attempts, all when None."""
        if self._puts or not self._ready or self.is_over:
            return
        taken = self._ready if limit is None else self._ready[:limit]
        self._ready = [] if limit is None else self._ready[limit:]
        by_ref = {item.spec.attempt: call for call, item in taken}
        for submission in dispatcher.group(
            (item for _, item in taken),
            workflow_name=self.root.name,
            backend=self._backend.name,
            max_array_size=self._backend.max_array_size,
            now=self.now,
        ):
            self._intend(submission, [by_ref[ref] for ref in submission.handle.attempts])

    # --- events

    def facts_fetched(
        self, records: Iterable[FactRecord], failed: Mapping[Want, errors.OrchestratorError]
    ) -> None:
        """Pin them and go on with what waited for them."""
        arrived: list[Want] = []
        for record in records:
            self._pin(record)
            arrived.append(Want(record.kind, record.uri))  # type: ignore[arg-type]
        self._failed_facts.update(failed)
        for want in (*arrived, *failed):
            for step in self._parked.pop(want, ()):
                step.missing.discard(want)
                if step.given_up:
                    continue
                if want in failed:
                    step.given_up = True
                    step.on_error(failed[want])
                elif not step.missing:
                    self._todo.append(step)

    def objects_written(self, error: errors.OrchestratorError | None) -> None:
        """The engine's own files are in place."""
        self._puts -= 1
        if error is not None:
            self._fail(f"a file of the workflow was not written: {error.message}")
        elif not self._puts:
            # Only now: a restart writes those again that are not known to be there.
            self._records += self._written_facts
            self._written_facts.clear()
            self._queue_graph(self._root_flow)  # it may have waited for its last file

    def submitted(self, submission_id: str, job_id: str) -> None:
        """The backend has it: by answer, or found by its name."""
        live = self._submissions.get(submission_id)
        if live is None or live.record.state is not SubmissionState.INTENDED:
            return
        live.record = replace(live.record, state=SubmissionState.SUBMITTED, job_id=job_id)
        live.handle = replace(live.handle, job_id=job_id)
        self._records.append(live.record)
        self._throttled = 0
        if self._stopping:
            self._cancel(live)
        for index in sorted(live.remaining):
            self._take_early(live, index)

    def submit_failed(self, submission_id: str, error: errors.OrchestratorError) -> None:
        """Not started, or nobody knows."""
        live = self._submissions.get(submission_id)
        if live is None:
            return
        if isinstance(error, errors.Ambiguous):
            self._effects.append(Find(live.handle))
        elif isinstance(error, errors.TryLater):
            self._throttled += 1
            self._effects.append(Revoke(live.handle))
        else:
            failure = Failure(FailureCode.SUBMIT_REFUSED, error.message)
            for index in sorted(live.remaining):
                call = self._attached(live, index)
                if call is not None:
                    self._attempt_failed(call, None, failure)
            self._settle(live, SubmissionState.REVOKED)

    def found(self, submission_id: str, job_id: str | None) -> None:
        """The answer to Find: adopt it, or make sure that it never runs."""
        live = self._submissions.get(submission_id)
        if live is None:
            return
        if job_id is None:
            self._effects.append(Revoke(live.handle))
        elif live.record.state is SubmissionState.INTENDED:
            self._event(self.root.id, "Adopted", detail={"submission": live.record.name})
            self.submitted(submission_id, job_id)
        elif self._stopping:
            self._cancel(live)

    def find_failed(self, submission_id: str, error: errors.OrchestratorError) -> None:
        """Ask again later: what may be running is never submitted twice."""
        live = self._submissions.get(submission_id)
        if live is not None:
            self._effects.append(Find(live.handle, delay_seconds=5.0))

    def revoked(self, submission_id: str) -> None:
        """It never runs: its attempts go on under a new submission."""
        live = self._submissions.get(submission_id)
        if live is None:
            return
        waiting = [self._attached(live, index) for index in sorted(live.remaining)]
        self._settle(live, SubmissionState.REVOKED)
        pause = min(2.0 ** min(self._throttled, 6), 60.0) if self._throttled else 0.0
        for call in waiting:
            if call is not None:
                record = call.attempt_record
                self._detach(call)
                call.attempt_record = record  # goes on, or ends with the workflow
                if not self._holds():
                    self._delayed.append((self.now + pause, call))

    def changed(self, change: Change) -> bool:
        """One job moved. False: not one of this run's."""
        live = self._submissions.get(change.submission_id)
        if live is None:
            return False
        if change.index not in live.remaining:
            return True
        if live.record.state is SubmissionState.INTENDED or not self._attached(live, change.index):
            # Ahead of the answer to SubmitJob, or of the replay: it keeps.
            self._early[change.submission_id, change.index] = change
        else:
            self._apply(live, change)
        return True

    def abort(self) -> None:
        """Nothing new starts; what runs is ended."""
        if self.is_over or self.root.state is WorkflowState.ABORTING:
            return
        self.root = self._workflow(self.root, state=WorkflowState.ABORTING)
        self._event(self.root.id, "Aborting")
        self._stop_everything()

    # --- the graph

    def _queue_graph(self, flow: _Flow) -> None:
        if flow.stepping:
            return
        flow.stepping = True
        self._todo.append(
            _Step(
                do=lambda: self._step_graph(flow),
                on_error=lambda error: self._graph_failed(flow, error),
            )
        )

    def _graph_failed(self, flow: _Flow, error: errors.OrchestratorError) -> None:
        flow.stepping = False
        self._flow_failed(flow, error.message + (f" ({error.place})" if error.place else ""))

    def _step_graph(self, flow: _Flow) -> None:
        flow.stepping = False
        if self._holds() and not self._journal_calls:
            return
        advance = flow.graph.advance(budget_seconds=0.02)
        if advance.writes:
            self._write(advance.writes)
        answered = [self._enter(flow, ready) for ready in advance.calls]
        if advance.more or any(answered):
            self._queue_graph(flow)
            return
        self._await_facts(flow, advance.wants - flow.awaits)
        if flow.graph.outputs is not None and (flow.parent is not None or self._may_succeed()):
            self._flow_succeeded(flow)

    def _may_succeed(self) -> bool:
        return not self._puts and not self.failing

    def _await_facts(self, flow: _Flow, wants: frozenset[Want]) -> None:
        """Step the graph again when each is there; until then it goes on without those nodes."""
        flow.awaits |= wants
        for want in wants:
            self._park(
                _Step(
                    do=lambda: self._queue_graph(flow),
                    on_error=lambda error: self._graph_failed(flow, error),
                ),
                [want],
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
        self._effects.append(Put(writes))

    def _enter(self, flow: _Flow, ready: ReadyCall) -> bool:
        """A call became ready: a new one, or one that the journal knows. True: it is answered."""
        key = (flow.record.id, ready.id)
        known = self._journal_calls.pop(key, None)
        attempts = self._journal_attempts.pop(key, [])
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
                started_at=self.now,
            )
            self._records.append(known)
        elif known.inputs_digest != ready.inputs_digest:
            raise errors.WorkflowFailed(
                f"{FailureCode.REPLAY_MISMATCH}: call {ready.name} ({ready.id}) gets other inputs "
                "now than when the workflow began; the workflow, its files or the orchestrator "
                "changed in between"
            )
        self._count(known, known.state, None)
        if known.state is CallState.DONE:
            flow.graph.finish(ready.id, json.loads(known.outputs or "{}"))
            return True
        call = _Call(flow, ready, known)
        if known.state in (CallState.FAILED, CallState.ABORTED):
            call.attempt = max(1, known.attempts)
            self._blame(call)
            return False
        self._open[key] = call
        if ready.is_workflow:
            self._enter_sub_workflow(call)
        else:
            call.task = flow.graph.task(ready)
            self._resume_attempts(call, attempts)
        return False

    def _enter_sub_workflow(self, call: _Call) -> None:
        parent = call.flow.record
        sub_id = str(uuid.uuid5(_SUB_WORKFLOWS, f"{parent.id}/{call.ready.id}"))
        record = self._journal_flows.get(sub_id)
        if record is None:
            place = AttemptRef(
                self.root.id,
                parent.id,
                parent.directory,
                call.ready.id,
                call.ready.name,
                call.ready.shards,
            )
            record = WorkflowRecord(
                id=sub_id,
                root_id=self.root.id,
                name=call.ready.callee,
                state=WorkflowState.RUNNING,
                bundle=parent.bundle,
                inputs=call.ready.inputs,
                parent_id=parent.id,
                parent_call_id=call.ready.id,
                directory=f"{place.call_directory}/{call.ready.callee}/{sub_id}",
                backend=parent.backend,
                submitted_at=self.now,
                started_at=self.now,
            )
            self._records.append(record)
            self._journal_flows[sub_id] = record
            self._call(call, state=CallState.RUNNING, sub_workflow_id=sub_id)
        graph = call.flow.graph.subgraph(call.ready)
        self._queue_graph(_Flow(record, graph, parent=call))

    def _flow_succeeded(self, flow: _Flow) -> None:
        outputs = json.dumps(flow.graph.outputs, separators=(",", ":"))
        flow.record = self._workflow(
            flow.record, state=WorkflowState.SUCCEEDED, outputs=outputs, ended_at=self.now
        )
        if flow.parent is None:
            self.root = flow.record
            self._event(self.root.id, "Finished")
        else:
            self._call_done(flow.parent, flow.graph.outputs or {})

    def _flow_failed(self, flow: _Flow, message: str) -> None:
        if flow.parent is None:
            self._fail(message)
            return
        if states.is_terminal(flow.record.state):
            return  # one failure is enough
        flow.record = self._workflow(
            flow.record,
            state=WorkflowState.FAILED,
            ended_at=self.now,
            failures=_failures_json([message]),
        )
        self._call_failed(flow.parent, Failure(FailureCode.EVALUATION_FAILED, message))

    # --- attempts

    def _resume_attempts(self, call: _Call, attempts: list[AttemptRecord]) -> None:
        """Go on where the journal ends: adopt the attempt in flight, or make the next."""
        for attempt in attempts:
            call.attempt = attempt.attempt
            if states.is_terminal(attempt.state):
                call.failed_before.append(attempt.failure_code or "")
                call.attempt += 1
                continue
            live = self._submissions.get(attempt.submission_id or "")
            if live is not None and attempt.array_index in live.remaining:
                self._attach(call, attempt)
                if live.record.state is not SubmissionState.INTENDED:
                    self._take_early(live, attempt.array_index)
                return
            call.attempt_record = attempt
        self._queue_prepare(call)

    def _queue_prepare(self, call: _Call) -> None:
        self._todo.append(
            _Step(
                do=lambda: self._prepare(call),
                on_error=lambda error: self._call_failed(
                    call, Failure(FailureCode.EVALUATION_FAILED, _sentence(error))
                ),
            )
        )

    def _evaluate(self, call: _Call) -> PreparedTask:
        """The attempt's command and attributes; the same for the same attempt for ever."""
        if call.prepared is None:
            assert call.task is not None
            work_dir = self._backend.work_dir(self._ref(call))
            prepared = call.task.prepare(work_dir, call.attempt, self._facts)
            call.attributes = runtime.parse(
                prepared.runtime,
                self._options.get("default_runtime_attributes") or {},
                self._settings.default_runtime_attributes,
            )
            call.prepared = prepared
        return call.prepared

    def _prepare(self, call: _Call) -> None:
        if self._holds():
            return
        prepared = self._evaluate(call)
        assert call.attributes is not None
        ref = self._ref(call)
        if prepared.is_empty:
            self._finish_without_job(call, ref, prepared)
            return
        shape = call.attributes.shape
        if shape not in self._fits:
            self._fits[shape] = self._backend.fits(shape)
        misfit = self._fits[shape]
        if misfit is not None:
            self._call_failed(call, misfit)
            return
        spec = JobSpec(
            attempt=ref,
            work_dir=self._backend.work_dir(ref),
            script=prepared.script,
            inputs=prepared.inputs,
            inline_files=prepared.inline_files,
            outputs=prepared.outputs,
        )
        self._ready.append((call, dispatcher.ReadyAttempt(shape, spec)))

    def _finish_without_job(self, call: _Call, ref: AttemptRef, prepared: PreparedTask) -> None:
        """A task with an empty command: its outputs are expressions only."""
        where = self._backend.work_dir(ref)
        manifest = Manifest(
            submission_id="",
            attempt=ref.token,
            job_id="",
            return_code=0,
            stdout=OutputFile(where.stdout, where.stdout, 0, content=b""),
            stderr=OutputFile(where.stderr, where.stderr, 0, content=b""),
        )
        try:
            outputs = prepared.result(manifest, self._facts)
        except errors.OutputMissing as error:
            self._call_failed(call, Failure(FailureCode.OUTPUT_MISSING, _sentence(error)))
            return
        self._call_done(call, outputs)

    def _intend(self, submission: Submission, calls: Sequence[_Call]) -> None:
        handle = submission.handle
        record = SubmissionRecord(
            id=handle.id,
            root_id=self.root.id,
            name=handle.name,
            backend=handle.backend,
            queue=handle.queue,
            size=len(handle.attempts),
            state=SubmissionState.INTENDED,
            created_at=handle.created_at,
        )
        self._records.append(record)
        remaining = set(range(len(calls)))
        self._submissions[handle.id] = LiveSubmission(record, handle, remaining)
        for index, call in enumerate(calls):
            assert call.prepared is not None
            work_dir = submission.jobs[index].work_dir
            record_of_attempt = AttemptRecord(
                workflow_id=call.flow.record.id,
                root_id=self.root.id,
                call_id=call.ready.id,
                attempt=call.attempt,
                state=AttemptState.SUBMITTING,
                submission_id=handle.id,
                array_index=index,
                uri=work_dir.uri,
                runtime=json.dumps(call.prepared.runtime, separators=(",", ":")),
                stdout=work_dir.stdout,
                stderr=work_dir.stderr,
                started_at=self.now,
            )
            self._records.append(record_of_attempt)
            if call.record.state is not CallState.RUNNING or call.record.attempts != call.attempt:
                self._call(call, state=CallState.RUNNING, attempts=call.attempt)
            self._attach(call, record_of_attempt)
        self._effects.append(Submit(submission))

    def _take_early(self, live: LiveSubmission, index: int) -> None:
        change = self._early.pop((live.record.id, index), None)
        if change is not None:
            self.changed(change)

    def _apply(self, live: LiveSubmission, change: Change) -> None:
        call = self._attached(live, change.index)
        assert call is not None
        record = call.attempt_record
        assert record is not None
        if change.state is JobState.FINISHED:
            live.remaining.discard(change.index)
            live.judging += 1
            self._todo.append(
                _Step(
                    do=lambda: self._finish(call, change),
                    on_error=lambda error: self._attempt_failed(
                        call, change, Failure(FailureCode.EVALUATION_FAILED, _sentence(error))
                    ),
                )
            )
        elif change.state is JobState.RUNNING and record.state is not AttemptState.RUNNING:
            call.attempt_record = replace(
                record,
                state=AttemptState.RUNNING,
                job_id=change.job_id,
                started_at=change.started_at or record.started_at,
                log_stream=change.log_stream,
            )
            self._records.append(call.attempt_record)

    def _finish(self, call: _Call, change: Change) -> None:
        """Judge a finished job; its outputs are evaluated from its manifest."""
        prepared = self._evaluate(call)
        assert call.attributes is not None
        failure = judgement.judge(change, call.attributes)
        outputs: dict[str, Any] = {}
        if failure is None:
            assert change.manifest is not None
            try:
                outputs = prepared.result(change.manifest, self._facts)
            except errors.OutputMissing as error:
                tail = change.manifest.stderr_tail.rstrip()
                failure = Failure(
                    FailureCode.OUTPUT_MISSING,
                    _sentence(error) + (f"; the end of stderr:\n{tail}" if tail else ""),
                )
        if failure is not None:
            self._attempt_failed(call, change, failure)
            return
        assert change.manifest is not None
        self._call_done(call, outputs)
        self._pin_outputs(change.manifest, outputs)
        self._record_attempt(call, change, AttemptState.SUCCEEDED, None)
        self._detach(call)

    def _attempt_failed(self, call: _Call, change: Change | None, failure: Failure) -> None:
        """Another attempt, or the end of the call."""
        aborted = self._is_abort(failure)
        self._record_attempt(
            call, change, AttemptState.ABORTED if aborted else AttemptState.FAILED, failure
        )
        self._detach(call)
        delay = None
        if not aborted and not self._holds():
            limit = call.attributes.max_retries if call.attributes else 0
            delay = self._settings.retry.delay(failure, call.failed_before, limit)
        if delay is None:
            self._call_failed(call, failure)
            return
        call.failed_before.append(failure.code)
        self._event(
            call.flow.record.id,
            "Retrying",
            call_id=call.ready.id,
            attempt=call.attempt,
            detail={"code": failure.code, "message": failure.message, "delay_seconds": delay},
        )
        call.attempt += 1
        call.prepared = None
        self._delayed.append((self.now + delay, call))

    def _record_attempt(
        self, call: _Call, change: Change | None, state: AttemptState, failure: Failure | None
    ) -> None:
        record = call.attempt_record
        assert record is not None
        manifest = change.manifest if change else None
        self._records.append(
            replace(
                record,
                state=state,
                job_id=change.job_id if change else None,
                return_code=manifest.return_code if manifest else None,
                failure_code=failure.code if failure else None,
                failure_message=failure.message if failure else None,
                log_stream=change.log_stream if change else None,
                phases=json.dumps([(p.name, p.started_at, p.ended_at) for p in manifest.phases])
                if manifest
                else "[]",
                peak_memory_bytes=manifest.peak_memory_bytes if manifest else None,
                peak_disk_bytes=manifest.peak_disk_bytes if manifest else None,
                started_at=(change and change.started_at) or record.started_at,
                ended_at=(change and change.ended_at) or self.now,
            )
        )
        live = self._submissions.get(record.submission_id or "")
        if change is not None and live is not None:
            # Not before: until then a restart has to find the job, or it would run again.
            live.judging -= 1
            if not live.remaining and not live.judging:
                self._settle(live, SubmissionState.SETTLED)

    def _pin_outputs(self, manifest: Manifest, outputs: Mapping[str, Any]) -> None:
        """What is known of the files that go on into the graph spares a look-up each."""
        by_uri = {file.uri: file for file in (manifest.stdout, manifest.stderr)}
        by_uri |= {file.uri: file for file in manifest.files.values()}
        for value in _strings(outputs):
            known = by_uri.get(value)
            if known is not None:
                self._pin(FactRecord(self.root.id, "stat", value, True, known.size, known.etag))

    # --- ends

    def _call_done(self, call: _Call, outputs: Mapping[str, Any]) -> None:
        """Raises EvaluationFailed, with nothing recorded, for outputs that the graph refuses."""
        text = json.dumps(outputs, separators=(",", ":"))
        if not self._holds():
            call.flow.graph.finish(call.ready.id, outputs)
            self._queue_graph(call.flow)
        self._call(call, state=CallState.DONE, outputs=text, ended_at=self.now)

    def _call_failed(self, call: _Call, failure: Failure) -> None:
        aborted = self._is_abort(failure)
        self._call(
            call,
            state=CallState.ABORTED if aborted else CallState.FAILED,
            failure_code=failure.code,
            failure_message=failure.message,
            ended_at=self.now,
        )
        if not aborted:
            self._blame(call)

    def _blame(self, call: _Call) -> None:
        """A failed call fails the workflow, and the sub-workflows that it is in."""
        text = self._failure_text(call)
        flow = call.flow
        while flow.parent is not None:
            self._broken.setdefault(flow.record.id, (call.record.failure_code or "", text))
            flow = flow.parent.flow
        self._fail(text)

    def _fail(self, message: str) -> None:
        self._failures.append(message)
        if self._holds():
            self._ready.clear()
            self._delayed.clear()

    def _failure_text(self, call: _Call) -> str:
        shard = "".join(f"[{shard}]" for shard in call.ready.shards)
        attempts = f" (attempt {call.attempt})" if call.attempt > 1 else ""
        return (
            f"{call.flow.record.name}.{call.ready.name}{shard}{attempts}: "
            f"{call.record.failure_code}: {call.record.failure_message}"
        )

    def _is_abort(self, failure: Failure) -> bool:
        """Ended by us. A job that somebody else ended is a failure of its call."""
        return self._stopping and failure.code is FailureCode.ABORTED

    def _stop_everything(self) -> None:
        self._stopping = True
        self._ready.clear()
        self._delayed.clear()
        for live in self._submissions.values():
            if live.record.state is SubmissionState.SUBMITTED:
                self._cancel(live)

    def _cancel(self, live: LiveSubmission) -> None:
        if live.remaining:
            self._effects.append(Cancel(live.handle, tuple(sorted(live.remaining))))

    def _holds(self) -> bool:
        """Whether nothing new may start."""
        if self._stopping:
            return True
        return self.failing and (
            self._options.get("workflow_failure_mode", "NoNewCalls") != "ContinueWhilePossible"
        )

    def _conclude(self) -> None:
        """End the workflow when nothing can come any more."""
        if self.is_over or self.inflight or self._todo or self._ready or self._delayed:
            return
        if any(s.record.state is SubmissionState.INTENDED for s in self._submissions.values()):
            return  # of a call that the replay did not come to: it may be with the backend
        if self.root.state is WorkflowState.ABORTING:
            self._end(WorkflowState.ABORTED)
        elif self.failing and (self._holds() or not self._parked):
            self._end(WorkflowState.FAILED)
        elif not self._parked and not self._puts:
            self._failures.append(
                "nothing is left to run although outputs are missing; please report this"
            )
            self._end(WorkflowState.FAILED)

    def _end(self, state: WorkflowState) -> None:
        failed = state is WorkflowState.FAILED
        for flow in list(self._journal_flows.values()):
            if flow.parent_id is None or states.is_terminal(flow.state):
                continue
            if failed and flow.id in self._broken:
                why = _failures_json([self._broken[flow.id][1]])
                self._workflow(flow, state=WorkflowState.FAILED, failures=why, ended_at=self.now)
            else:
                self._workflow(flow, state=WorkflowState.ABORTED, ended_at=self.now)
        for call in list(self._open.values()):
            self._end_attempt(call.attempt_record)
            if failed and (broken := self._broken.get(call.record.sub_workflow_id or "")):
                self._call(
                    call,
                    state=CallState.FAILED,
                    failure_code=broken[0],
                    failure_message=broken[1],
                    ended_at=self.now,
                )
            elif not failed or call.record.state is CallState.RUNNING:
                self._call(call, state=CallState.ABORTED, ended_at=self.now)
        self._end_what_replay_did_not_come_to()
        failures = _failures_json(self._failures) if failed else None
        self.root = self._workflow(self.root, state=state, failures=failures, ended_at=self.now)
        self._event(self.root.id, "Finished")

    def _end_what_replay_did_not_come_to(self) -> None:
        """Calls of a sub-workflow that had failed already, and their jobs."""
        for live in list(self._submissions.values()):
            self._cancel(live)
            self._settle(live, SubmissionState.SETTLED)
        for record in self._journal_calls.values():
            if record.state is CallState.RUNNING:
                self._records.append(replace(record, state=CallState.ABORTED, ended_at=self.now))
        for attempts in self._journal_attempts.values():
            for attempt in attempts:
                self._end_attempt(attempt)

    def _end_attempt(self, attempt: AttemptRecord | None) -> None:
        if attempt is not None and not states.is_terminal(attempt.state):
            self._records.append(replace(attempt, state=AttemptState.ABORTED, ended_at=self.now))

    # --- small parts

    def _ref(self, call: _Call) -> AttemptRef:
        return AttemptRef(
            self.root.id,
            call.flow.record.id,
            call.flow.record.directory,
            call.ready.id,
            call.ready.name,
            call.ready.shards,
            call.attempt,
        )

    def _attach(self, call: _Call, record: AttemptRecord) -> None:
        self._calls[record.workflow_id, record.call_id, record.attempt] = call
        call.attempt_record = record
        self.inflight += 1

    def _detach(self, call: _Call) -> None:
        del self._calls[call.flow.record.id, call.ready.id, call.attempt]
        call.attempt_record = None
        self.inflight -= 1

    def _attached(self, live: LiveSubmission, index: int) -> _Call | None:
        ref = live.handle.attempts[index]
        return self._calls.get((ref.workflow_id, ref.call_id, ref.attempt))

    def _settle(self, live: LiveSubmission, state: SubmissionState) -> None:
        live.record = replace(live.record, state=state)
        self._records.append(live.record)
        self._submissions.pop(live.record.id, None)

    def _wake_delayed(self) -> None:
        due = [call for at, call in self._delayed if at <= self.now]
        if due:
            self._delayed = [item for item in self._delayed if item[0] > self.now]
            for call in due:
                self._queue_prepare(call)

    def _park(self, step: _Step, wants: Iterable[Want]) -> None:
        for want in wants:
            if want in self._failed_facts:
                step.on_error(self._failed_facts[want])
                return
        step.missing = set(wants)
        for want in step.missing:
            waiting = self._parked.setdefault(want, [])
            if not waiting:
                self._wanted.add(want)
            waiting.append(step)

    def _pin(self, record: FactRecord) -> None:
        if self._facts.add(record):
            self._records.append(record)

    def _written(self, workflow: WorkflowRecord) -> str:
        return f"{self._settings.root.rstrip('/')}/{workflow.directory}/written"

    def _workflow(self, record: WorkflowRecord, **changes: Any) -> WorkflowRecord:
        record = replace(record, **changes)
        self._records.append(record)
        self._journal_flows[record.id] = record
        return record

    def _call(self, call: _Call, **changes: Any) -> None:
        before = call.record.state
        call.record = replace(call.record, **changes)
        self._records.append(call.record)
        if call.record.state is not before:
            self._count(call.record, call.record.state, before)
        if states.is_terminal(call.record.state):
            self._open.pop((call.record.workflow_id, call.record.id), None)

    def _count(self, record: CallRecord, state: CallState, before: CallState | None) -> None:
        counts = self._counts.setdefault(record.name, Counter())
        counts[state] += 1
        if before is not None:
            counts[before] -= 1

    def _event(
        self,
        workflow_id: str,
        kind: str,
        *,
        call_id: str | None = None,
        attempt: int | None = None,
        detail: Mapping[str, Any] | None = None,
    ) -> None:
        self._records.append(
            EventRecord(
                self.root.id,
                workflow_id,
                self.now,
                kind,
                call_id,
                attempt,
                json.dumps(detail or {}),
            )
        )


def _sentence(error: errors.OrchestratorError) -> str:
    place = f"{error.place}: " if error.place else ""
    details = "".join(f"\n  - {finding}" for finding in error.findings)
    hint = f" ({error.hint})" if error.hint else ""
    return f"{place}{error.message}{hint}{details}"


def _failures_json(messages: Iterable[str]) -> str:
    return json.dumps([{"message": message, "causedBy": []} for message in messages])


def _strings(value: Any) -> Iterator[str]:
    """Every string in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield key
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
