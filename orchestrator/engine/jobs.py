"""The attempts of one root workflow: from a call that is ready to its outputs, or its failure.

    prepare     inputs, command, runtime attributes -> a ready attempt, or no job at all
    dispatch    ready attempts -> submissions, intended before they are made
    finish      manifest -> outputs, or a failure -> another attempt or the end of the call

An attempt that may be with the backend is never made anew before that is looked up.
"""

from __future__ import annotations

import heapq
import itertools
import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from orchestrator import errors
from orchestrator.backends.base import Backend, Change, JobState
from orchestrator.engine import dispatcher, faultpoints, judgement
from orchestrator.engine.actions import Cancel, Find, Revoke, Search, Submit, Withdraw
from orchestrator.engine.calls import Call, Calls
from orchestrator.engine.faultpoints import Step
from orchestrator.engine.outbox import Outbox
from orchestrator.engine.recovery import LiveSubmission
from orchestrator.engine.retry import RetryPolicy
from orchestrator.engine.steps import Steps
from orchestrator.model import runtime, states
from orchestrator.model.failures import Failure, FailureCode
from orchestrator.model.job import JobSpec, Shape, Submission
from orchestrator.model.manifest import Manifest, OutputFile
from orchestrator.model.options import WorkflowOptions
from orchestrator.model.records import AttemptRecord, FactRecord, SubmissionRecord
from orchestrator.model.states import AttemptState, CallState, SubmissionState
from orchestrator.wdl.facts import Facts
from orchestrator.wdl.task import PreparedTask

_PIECE = 200  # attempts that are dealt with in one go
_MOST_UNDER_WAY = 64  # submissions; a few times what the pool can make at the same time


@dataclass(frozen=True, slots=True)
class RunSettings:
    """What a run needs to know of its surroundings. `root` is the backend's execution root.

    A workflow of more than `max_jobs` calls of tasks, sub-workflows' included, fails; so does one
    that scatters over more than `max_scatter_width` elements.
    """

    root: str
    default_runtime_attributes: Mapping[str, Any] = field(default_factory=dict)
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    memory_keys: tuple[str, ...] = ()  # system.memory-retry-error-keys
    hog_option: str = "hogGroup"
    max_jobs: int = 1_000_000
    max_scatter_width: int = 1_000_000


class Ends(Protocol):
    """Who is told how calls end, and decides whether anything may start."""

    def holds(self) -> bool:
        """Whether nothing new may start."""

    def call_done(self, call: Call, outputs: Mapping[str, Any]) -> None:
        """Raises EvaluationFailed, with nothing recorded, for outputs that the graph refuses."""

    def call_failed(self, call: Call, failure: Failure) -> None:
        """Of no further attempt."""


class Jobs:
    """See the module. Each event is told by a method; what comes of it goes to the outbox."""

    def __init__(
        self,
        backend: Backend,
        settings: RunSettings,
        options: WorkflowOptions,
        workflow_name: str,
        facts: Facts,
        outbox: Outbox,
        steps: Steps,
        calls: Calls,
        ends: Ends,
    ) -> None:
        self.stopping = False  # jobs in flight are being ended
        self._backend = backend
        self._settings = settings
        self._options = options
        self._workflow_name = workflow_name
        self._facts = facts
        self._outbox = outbox
        self._steps = steps
        self._calls = calls
        self._ends = ends
        self._ready: list[tuple[Call, dispatcher.ReadyAttempt]] = []
        self._delayed: list[tuple[float, int, Call]] = []  # a heap
        self._looking: list[tuple[float, int, Find | Cancel]] = []  # a heap: to be tried again
        self._order = itertools.count()
        self._attached: dict[tuple[str, str, int], Call] = {}  # with the backend, by attempt
        self._submissions: dict[str, LiveSubmission] = {}
        self._early: dict[tuple[str, int], Change] = {}
        self._searched: dict[str, tuple[Call, Change, Failure]] = {}  # by attempt: ours to answer
        self._fits: dict[Shape, Failure | None] = {}
        self._throttled = 0  # TryLater answers in a row
        self._grouped: deque[tuple[Submission, list[Call]]] = deque()  # to be intended
        self._under_way: set[str] = set()  # submissions intended here, without an answer yet
        self._intending = 0  # attempts on their way from `ready` to a submission

    def dismantle(self) -> None:
        """See `Run.dismantle`."""
        for parts in (self._attached, self._submissions, self._early):
            while parts:
                parts.popitem()
        self._ready.clear()

    @property
    def inflight(self) -> int:
        """Attempts that are, or may be, with the backend."""
        return len(self._attached) + self._intending

    @property
    def waiting(self) -> int:
        """Attempts that wait for nothing but a place to run."""
        return len(self._ready)

    @property
    def idle(self) -> bool:
        """Whether nothing is with the backend and nothing will go there by itself."""
        return not (
            self._attached
            or self._intending
            or self._ready
            or self._delayed
            # Of a call that the replay did not come to: it may be with the backend.
            or any(s.record.state is SubmissionState.INTENDED for s in self._submissions.values())
        )

    def wake_at(self) -> float | None:
        """When something is due by itself, if anything is."""
        return min((queue[0][0] for queue in (self._delayed, self._looking) if queue), default=None)

    def wake(self) -> None:
        """Go on with what was to wait until now."""
        now = self._outbox.now
        while self._delayed and self._delayed[0][0] <= now:
            self._queue_prepare(heapq.heappop(self._delayed)[2])
        while self._looking and self._looking[0][0] <= now:
            effect = heapq.heappop(self._looking)[2]
            if effect.handle.id in self._submissions:
                self._outbox.perform(effect)

    # --- from a call to a submission

    def adopt(self, live: LiveSubmission) -> None:
        """A submission that the journal leaves open: whatever may be with the backend is looked
        up before anything is submitted."""
        self._submissions[live.record.id] = live
        self._outbox.perform(Find(live.handle))

    def start(self, call: Call, attempts: Sequence[AttemptRecord]) -> None:
        """Go on where the journal ends: adopt the attempt in flight, or make the next."""
        due = 0.0
        for attempt in attempts:
            call.attempt = attempt.attempt
            if states.is_terminal(attempt.state):
                due = (attempt.ended_at or 0.0) + self._pause(call, attempt)
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
        if due > self._outbox.now:
            self._delay(call, due)
        else:
            self._queue_prepare(call)

    def dispatch(self, limit: int | None, share: str) -> None:
        """Turn ready attempts into submissions; at most `limit` attempts, all when None."""
        taken = self._ready if limit is None else self._ready[:limit]
        self._ready = [] if limit is None else self._ready[limit:]
        by_ref = {item.spec.attempt: call for call, item in taken}
        for submission in dispatcher.group(
            (item for _, item in taken),
            workflow_name=self._workflow_name,
            backend=self._backend.name,
            max_array_size=self._backend.max_array_size,
            now=self._outbox.now,
            share=share,
        ):
            calls = [by_ref[ref] for ref in submission.handle.attempts]
            self._grouped.append((submission, calls))
        self._intending += len(taken)
        self._intend_more()

    def _intend_more(self) -> None:
        """As many as can be under way: what is intended has to be looked up after a crash."""
        if self._grouped and len(self._under_way) < _MOST_UNDER_WAY:
            self._steps.begin(self._intend_some())

    def _intend_some(self) -> Iterator[None]:
        """In pieces: an array may have 10,000 attempts."""
        done = 0
        while self._grouped and len(self._under_way) < _MOST_UNDER_WAY:
            submission, calls = self._grouped.popleft()
            if self._ends.holds():
                self._intending -= len(calls)
                continue
            self._under_way.add(submission.handle.id)
            for index, call in enumerate(calls):
                self._intend_attempt(submission, index, call)
                done += 1
                if done % _PIECE == 0:
                    yield
            self._intend(submission)

    def _answered(self, submission_id: str) -> None:
        """Nobody need look for it any more."""
        if submission_id in self._under_way:
            self._under_way.remove(submission_id)
            self._intend_more()

    def forget_waiting(self) -> None:
        """What is not with the backend yet never goes there."""
        self._ready.clear()
        self._delayed.clear()
        self._intending -= sum(len(calls) for _, calls in self._grouped)
        self._grouped.clear()

    def stop(self) -> None:
        """Nothing new, and what runs is ended."""
        self.stopping = True
        self.forget_waiting()
        for live in self._submissions.values():
            if live.record.state is SubmissionState.SUBMITTED:
                self._cancel(live)
            else:
                self._outbox.perform(Withdraw(live.record.id))

    def end(self) -> None:
        """The workflow is over: what is still with the backend, of calls that nobody waits for,
        is ended."""
        for live in list(self._submissions.values()):
            self._cancel(live)
            self._settle(live, SubmissionState.SETTLED)

    def _queue_prepare(self, call: Call) -> None:
        self._steps.add(
            lambda: self._prepare(call),
            lambda error: self._ends.call_failed(
                call, Failure(FailureCode.EVALUATION_FAILED, error.sentence)
            ),
        )

    def _evaluate(self, call: Call) -> PreparedTask:
        """The attempt's command and attributes; the same for the same attempt for ever."""
        if call.prepared is None:
            assert call.task is not None
            work_dir = self._backend.work_dir(call.ref)
            prepared = call.task.prepare(work_dir, call.attempt, self._facts)
            call.attributes = runtime.parse(
                prepared.runtime,
                self._options.default_runtime_attributes,
                self._settings.default_runtime_attributes,
            ).with_memory_grown(self._growth(call))
            role = self._options.aws_batch_job_role_arn
            if role:
                shape = replace(call.attributes.shape, job_role_arn=role)
                call.attributes = replace(call.attributes, shape=shape)
            if self._settings.retry.wants_lasting(call.failed_before):
                shape = self._backend.lasting(call.attributes.shape) or call.attributes.shape
                call.attributes = replace(call.attributes, shape=shape)
            call.prepared = prepared
        return call.prepared

    def _prepare(self, call: Call) -> None:
        if self._ends.holds():
            return
        prepared = self._evaluate(call)
        assert call.attributes is not None
        if prepared.is_empty:
            self._finish_without_job(call, prepared)
            return
        shape = call.attributes.shape
        if shape not in self._fits:
            self._fits[shape] = self._backend.fits(shape)
        misfit = self._fits[shape]
        if misfit is not None:
            self._ends.call_failed(call, misfit)
            return
        spec = JobSpec(
            attempt=call.ref,
            work_dir=self._backend.work_dir(call.ref),
            script=prepared.script,
            inputs=prepared.inputs,
            inline_files=prepared.inline_files,
            outputs=prepared.outputs,
        )
        self._ready.append((call, dispatcher.ReadyAttempt(shape, spec)))
        faultpoints.reach(Step.PREPARED)

    def _finish_without_job(self, call: Call, prepared: PreparedTask) -> None:
        """A task with an empty command: its outputs are expressions only."""
        where = self._backend.work_dir(call.ref)
        manifest = Manifest(
            submission_id="",
            attempt=call.ref.token,
            job_id="",
            return_code=0,
            stdout=OutputFile(where.stdout, where.stdout, 0, content=b""),
            stderr=OutputFile(where.stderr, where.stderr, 0, content=b""),
        )
        try:
            outputs = prepared.result(manifest, self._facts)
        except errors.OutputMissing as error:
            self._ends.call_failed(call, Failure(FailureCode.OUTPUT_MISSING, error.sentence))
            return
        self._ends.call_done(call, outputs)

    def _intend_attempt(self, submission: Submission, index: int, call: Call) -> None:
        """By itself it means nothing: only a recorded submission may have been made."""
        assert call.attributes is not None
        work_dir = submission.jobs[index].work_dir
        record = AttemptRecord(
            workflow_id=call.flow.record.id,
            root_id=self._outbox.root_id,
            call_id=call.ready.id,
            attempt=call.attempt,
            state=AttemptState.SUBMITTING,
            submission_id=submission.handle.id,
            array_index=index,
            uri=work_dir.uri,
            runtime=json.dumps(dict(call.attributes.effective), separators=(",", ":")),
            stdout=work_dir.stdout,
            stderr=work_dir.stderr,
            started_at=self._outbox.now,
        )
        self._outbox.record(record)
        if call.record.state is not CallState.RUNNING or call.record.attempts != call.attempt:
            self._calls.change(call, state=CallState.RUNNING, attempts=call.attempt)
        self._outbox.seal()
        self._intending -= 1
        self._attach(call, record)

    def _intend(self, submission: Submission) -> None:
        """After all its attempts: a restart looks each of them up."""
        handle = submission.handle
        record = SubmissionRecord(
            id=handle.id,
            root_id=self._outbox.root_id,
            name=handle.name,
            backend=handle.backend,
            queue=handle.queue,
            size=len(handle.attempts),
            state=SubmissionState.INTENDED,
            created_at=handle.created_at,
        )
        self._outbox.record(record)
        self._submissions[handle.id] = LiveSubmission(record, handle, set(range(record.size)))
        self._outbox.perform(Submit(submission))
        self._outbox.seal()

    # --- what the backend tells

    def submitted(self, submission_id: str, job_id: str) -> None:
        """The backend has it: by answer, or found by its name."""
        live = self._submissions.get(submission_id)
        if live is None or live.record.state is not SubmissionState.INTENDED:
            return
        live.record = states.moved(live.record, state=SubmissionState.SUBMITTED, job_id=job_id)
        live.handle = replace(live.handle, job_id=job_id)
        self._outbox.record(live.record)
        self._answered(submission_id)
        self._throttled = 0
        if self.stopping:
            self._cancel(live)
        for index in sorted(live.remaining):
            self._take_early(live, index)

    def submit_failed(self, submission_id: str, error: errors.OrchestratorError) -> None:
        """Not started, or nobody knows."""
        live = self._submissions.get(submission_id)
        if live is None:
            return
        if isinstance(error, errors.Ambiguous):
            self._outbox.perform(Find(live.handle))
        elif isinstance(error, errors.TryLater):
            self._throttled += 1
            self._outbox.perform(Revoke(live.handle))
        else:
            failure = Failure(FailureCode.SUBMIT_REFUSED, error.message)
            self._steps.begin(self._refused(live, failure))

    def _refused(self, live: LiveSubmission, failure: Failure) -> Iterator[None]:
        for done, index in enumerate(sorted(live.remaining), 1):
            call = self._call_of(live, index)
            if call is not None:
                self._attempt_failed(call, None, failure)
                self._outbox.seal()
            if done % _PIECE == 0:
                yield
        self._settle(live, SubmissionState.REVOKED)

    def found(self, submission_id: str, job_id: str | None) -> None:
        """The answer to Find: adopt it, or make sure that it never runs."""
        live = self._submissions.get(submission_id)
        if live is None:
            return
        if job_id is None:
            self._outbox.perform(Revoke(live.handle))
        elif live.record.state is SubmissionState.INTENDED:
            self._outbox.event(
                self._outbox.root_id, "Adopted", detail={"submission": live.record.name}
            )
            self.submitted(submission_id, job_id)
        elif self.stopping:
            self._cancel(live)

    def find_failed(self, submission_id: str) -> None:
        """Ask again later: what may be running is never submitted twice."""
        live = self._submissions.get(submission_id)
        if live is not None:
            self._again(Find(live.handle))

    def cancel_failed(self, submission_id: str) -> None:
        """Try again later, until its jobs have ended."""
        live = self._submissions.get(submission_id)
        if live is not None and live.remaining:
            self._again(Cancel(live.handle, tuple(sorted(live.remaining))))

    def revoked(self, submission_id: str) -> None:
        """It never runs: its attempts go on under a new submission."""
        live = self._submissions.get(submission_id)
        if live is None:
            return
        waiting = [self._call_of(live, index) for index in sorted(live.remaining)]
        self._settle(live, SubmissionState.REVOKED)
        pause = min(2.0 ** min(self._throttled, 6), 60.0) if self._throttled else 0.0
        for call in waiting:
            if call is not None:
                record = call.attempt_record
                self._detach(call)
                call.attempt_record = record  # goes on, or ends with the workflow
                if not self._ends.holds():
                    self._delay(call, self._outbox.now + pause)

    def changed(self, change: Change) -> bool:
        """One job moved. False: not one of this run's."""
        live = self._submissions.get(change.submission_id)
        if live is None:
            return False
        if change.index not in live.remaining:
            return True
        call = self._call_of(live, change.index)
        if live.record.state is SubmissionState.INTENDED or call is None:
            # Ahead of the answer to SubmitJob, or of the replay: it keeps.
            self._early[change.submission_id, change.index] = change
        elif change.state is JobState.FINISHED:
            faultpoints.reach(Step.FINISHED_SEEN)
            live.remaining.discard(change.index)
            live.judging += 1
            self._steps.add(
                lambda: self._finish(call, change),
                lambda error: self._attempt_failed(
                    call, change, Failure(FailureCode.EVALUATION_FAILED, error.sentence)
                ),
            )
        elif change.state is JobState.RUNNING:
            self._is_running(call, change)
        return True

    def _is_running(self, call: Call, change: Change) -> None:
        record = call.attempt_record
        assert record is not None
        if record.state is AttemptState.RUNNING:
            return
        call.attempt_record = states.moved(
            record,
            state=AttemptState.RUNNING,
            job_id=change.job_id,
            started_at=change.started_at or record.started_at,
            log_stream=change.log_stream,
        )
        self._outbox.record(call.attempt_record)

    def _take_early(self, live: LiveSubmission, index: int) -> None:
        change = self._early.pop((live.record.id, index), None)
        if change is not None:
            self.changed(change)

    # --- how an attempt ends

    def _finish(self, call: Call, change: Change) -> None:
        """Judge a finished job; its outputs are evaluated from its manifest."""
        prepared = self._evaluate(call)
        assert call.attributes is not None
        failure = judgement.judge(change, call.attributes, self._memory_keys)
        faultpoints.reach(Step.JUDGED)
        outputs: dict[str, Any] = {}
        if failure is None:
            assert change.manifest is not None
            try:
                outputs = prepared.result(change.manifest, self._facts)
            except errors.OutputMissing as error:
                tail = change.manifest.stderr_tail.rstrip()
                failure = Failure(
                    FailureCode.OUTPUT_MISSING,
                    error.sentence + (f"; the end of stderr:\n{tail}" if tail else ""),
                )
        if failure is not None:
            if not self._searches_for_memory(call, change, failure):
                self._attempt_failed(call, change, failure)
            return
        assert change.manifest is not None
        self._ends.call_done(call, outputs)
        self._pin_outputs(change.manifest, outputs)
        self._record_attempt(call, change, AttemptState.SUCCEEDED, None)
        self._detach(call)

    @property
    def _memory_keys(self) -> tuple[str, ...]:
        return self._settings.memory_keys if self._options.memory_retry_multiplier > 1 else ()

    def _growth(self, call: Call) -> float:
        """How much more memory this attempt gets: each one before it that lacked some counts."""
        lacking = call.failed_before.count(FailureCode.OUT_OF_MEMORY)
        return self._options.memory_retry_multiplier**lacking

    def _searches_for_memory(self, call: Call, change: Change, failure: Failure) -> bool:
        """Whether the whole of stderr is being searched first: the manifest has only its end."""
        manifest = change.manifest
        if (
            failure.code is not FailureCode.WRONG_RETURN_CODE
            or manifest is None
            or not self._memory_keys
            or manifest.stderr.size <= len(manifest.stderr_tail.encode())
        ):
            return False
        self._searched[call.ref.token] = (call, change, failure)
        self._outbox.perform(Search(call.ref.token, manifest.stderr.uri, self._memory_keys))
        return True

    def searched(self, token: str, key: str | None) -> None:
        """The answer to Search: the first of its words that is there."""
        waiting = self._searched.pop(token, None)
        if waiting is not None:
            call, change, failure = waiting
            self._attempt_failed(
                call, change, failure if key is None else judgement.lacked_memory(failure, key)
            )

    def _attempt_failed(self, call: Call, change: Change | None, failure: Failure) -> None:
        """Another attempt, or the end of the call."""
        aborted = self.is_abort(failure)
        self._record_attempt(
            call, change, AttemptState.ABORTED if aborted else AttemptState.FAILED, failure
        )
        self._detach(call)
        delay = None
        limit = call.attributes.max_retries if call.attributes else 0
        if not aborted and not self._ends.holds():
            delay = self._settings.retry.delay(failure, call.failed_before, limit)
        if delay is None:
            self._ends.call_failed(call, failure)
            return
        call.failed_before.append(failure.code)
        self._outbox.event(
            call.flow.record.id,
            "Retrying",
            call_id=call.ready.id,
            attempt=call.attempt,
            detail={
                "code": failure.code,
                "class": failure.retry_class,
                "message": failure.message,
                "delay_seconds": delay,
                **self._settings.retry.spent(failure, call.failed_before, limit),
            },
        )
        call.attempt += 1
        call.prepared = None
        self._delay(call, self._outbox.now + delay)

    def is_abort(self, failure: Failure) -> bool:
        """Ended by us. A job that somebody else ended is a failure of its call."""
        return self.stopping and failure.code is FailureCode.ABORTED

    def _pause(self, call: Call, attempt: AttemptRecord) -> float:
        """Seconds that were to pass after this failed attempt."""
        try:
            failure = Failure(FailureCode(attempt.failure_code or ""), "")
        except ValueError:  # a code of another release
            return 0.0
        # It was decided already that there is a next attempt; only the delay is asked for.
        limit = len(call.failed_before) + 1
        return self._settings.retry.delay(failure, call.failed_before, limit) or 0.0

    def _record_attempt(
        self, call: Call, change: Change | None, state: AttemptState, failure: Failure | None
    ) -> None:
        record = call.attempt_record
        assert record is not None
        manifest = change.manifest if change else None
        self._outbox.record(
            states.moved(
                record,
                state=state,
                job_id=change.job_id if change else None,
                return_code=manifest.return_code if manifest else None,
                failure_code=failure.code if failure else None,
                failure_message=failure.message if failure else None,
                log_stream=change.log_stream if change else None,
                phases=_phases_as_json(change),
                peak_memory_bytes=manifest.peak_memory_bytes if manifest else None,
                peak_disk_bytes=manifest.peak_disk_bytes if manifest else None,
                started_at=(change and change.started_at) or record.started_at,
                ended_at=(change and change.ended_at) or self._outbox.now,
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
                self._steps.pin(
                    FactRecord(self._outbox.root_id, "stat", value, True, known.size, known.etag)
                )

    # --- small parts

    def _attach(self, call: Call, record: AttemptRecord) -> None:
        self._attached[record.workflow_id, record.call_id, record.attempt] = call
        call.attempt_record = record

    def _detach(self, call: Call) -> None:
        del self._attached[call.flow.record.id, call.ready.id, call.attempt]
        call.attempt_record = None

    def _call_of(self, live: LiveSubmission, index: int) -> Call | None:
        ref = live.handle.attempts[index]
        return self._attached.get((ref.workflow_id, ref.call_id, ref.attempt))

    def _settle(self, live: LiveSubmission, state: SubmissionState) -> None:
        live.record = states.moved(live.record, state=state)
        self._outbox.record(live.record)
        self._submissions.pop(live.record.id, None)
        self._answered(live.record.id)

    def _cancel(self, live: LiveSubmission) -> None:
        if live.remaining:
            self._outbox.perform(Cancel(live.handle, tuple(sorted(live.remaining))))

    def _delay(self, call: Call, due: float) -> None:
        heapq.heappush(self._delayed, (due, next(self._order), call))

    def _again(self, effect: Find | Cancel) -> None:
        heapq.heappush(self._looking, (self._outbox.now + 5.0, next(self._order), effect))


def _phases_as_json(change: Change | None) -> str:
    if change is None:
        return "[]"
    phases = [*change.phases, *(change.manifest.phases if change.manifest else ())]
    return json.dumps([(phase.name, phase.started_at, phase.ended_at) for phase in phases])


def _strings(value: Any) -> Iterator[str]:
    """Every string in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield key
            yield from _strings(item)
    elif isinstance(value, Iterable):
        for item in value:
            yield from _strings(item)
