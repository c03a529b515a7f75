"""The attempts of one root workflow: from a call that is ready to its outputs, or its failure.

prepare     inputs, command, runtime attributes -> a ready attempt, or no job at all
dispatch    as many ready attempts as there are places for, to `submissions`
finish      manifest -> outputs, or a failure -> another attempt or the end of the call
"""

from __future__ import annotations

import heapq
import itertools
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from orchestrator import errors
from orchestrator.backends.base import Backend, Change
from orchestrator.engine import dispatcher, faultpoints, judgement
from orchestrator.engine.actions import Search
from orchestrator.engine.calls import Call, Calls
from orchestrator.engine.faultpoints import Step
from orchestrator.engine.outbox import Outbox
from orchestrator.engine.retry import RetryPolicy
from orchestrator.engine.steps import Steps
from orchestrator.engine.submissions import Submissions
from orchestrator.model import runtime, states
from orchestrator.model.failures import Failure, FailureCode
from orchestrator.model.job import JobSpec, Shape
from orchestrator.model.manifest import Manifest, OutputFile
from orchestrator.model.options import WorkflowOptions
from orchestrator.model.records import AttemptRecord, FactRecord
from orchestrator.model.states import AttemptState
from orchestrator.wdl.facts import Facts
from orchestrator.wdl.task import PreparedTask


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
    shell: str = "/bin/bash"  # job-shell: runs commands, where the image has it
    slow_job_warning_seconds: float | None = None


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
        labels: Mapping[str, str],
        facts: Facts,
        outbox: Outbox,
        steps: Steps,
        calls: Calls,
        ends: Ends,
    ) -> None:
        self._backend = backend
        self._settings = settings
        self._options = options
        self._facts = facts
        self._outbox = outbox
        self._steps = steps
        self._calls = calls
        self._ends = ends
        self._ready: list[tuple[Call, dispatcher.ReadyAttempt]] = []
        self._delayed: list[tuple[float, int, Call]] = []  # a heap
        self._order = itertools.count()
        self._searched: dict[str, tuple[Call, Change, Failure]] = {}  # by attempt: ours to answer
        self._fits: dict[Shape, Failure | None] = {}
        self.submissions = Submissions(
            backend,
            workflow_name,
            labels,
            outbox,
            steps,
            calls,
            attempts=self,
            slow_job_warning_seconds=settings.slow_job_warning_seconds,
        )

    def dismantle(self) -> None:
        """See `Run.dismantle`."""
        self.submissions.dismantle()
        self._ready.clear()

    @property
    def waiting(self) -> int:
        """Attempts that wait for nothing but a place to run."""
        return len(self._ready)

    @property
    def idle(self) -> bool:
        """Whether nothing is with the backend and nothing will go there by itself."""
        return self.submissions.idle and not (self._ready or self._delayed)

    def wake_at(self) -> float | None:
        """When something is due by itself, if anything is."""
        due = (self._delayed[0][0] if self._delayed else None, self.submissions.wake_at())
        return min((at for at in due if at is not None), default=None)

    def wake(self) -> None:
        """Go on with what was to wait until now."""
        while self._delayed and self._delayed[0][0] <= self._outbox.now:
            self._queue_prepare(heapq.heappop(self._delayed)[2])
        self.submissions.wake()

    # --- from a call to a submission

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
            if self.submissions.resume(call, attempt):
                return
            call.attempt_record = attempt
        if due > self._outbox.now:
            self.delay(call, due)
        else:
            self._queue_prepare(call)

    def dispatch(self, limit: int | None, share: str) -> None:
        """Turn ready attempts into submissions; at most `limit` attempts, all when None."""
        taken = self._ready if limit is None else self._ready[:limit]
        self._ready = [] if limit is None else self._ready[limit:]
        self.submissions.submit(taken, share)

    def forget_waiting(self) -> None:
        """What is not with the backend yet never goes there."""
        self._ready.clear()
        self._delayed.clear()
        self.submissions.forget_waiting()

    def stop(self) -> None:
        """Nothing new, and what runs is ended."""
        self.forget_waiting()
        self.submissions.stop()

    def holds(self) -> bool:
        """Whether nothing new may start."""
        return self._ends.holds()

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
            attributes = runtime.parse(
                prepared.runtime,
                self._options.default_runtime_attributes,
                self._settings.default_runtime_attributes,
            ).with_memory_grown(self._growth(call))
            shape = replace(
                attributes.shape,
                shell=self._settings.shell,
                job_role_arn=self._options.aws_batch_job_role_arn or attributes.shape.job_role_arn,
            )
            if self._settings.retry.wants_lasting(call.failed_before):
                shape = self._backend.lasting(shape) or shape
            call.attributes = replace(attributes, shape=shape)
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

    # --- how an attempt ends

    def finished(self, call: Call, change: Change) -> None:
        """Its job is over: it is judged in a turn to come."""
        self._steps.add(
            lambda: self._finish(call, change),
            lambda error: self._attempt_failed(
                call, change, Failure(FailureCode.EVALUATION_FAILED, error.sentence)
            ),
        )

    def refused(self, call: Call, failure: Failure) -> None:
        """The backend never takes it."""
        self._attempt_failed(call, None, failure)

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
        self.submissions.detach(call)

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
        self.submissions.detach(call)
        delay = None
        limit = call.attributes.max_retries if call.attributes else 0
        further = judgement.further_attempts(change, failure, call.attributes)
        if not aborted and not self._ends.holds():
            delay = self._settings.retry.delay(failure, call.failed_before, limit, further)
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
                **self._settings.retry.spent(failure, call.failed_before, limit, further),
            },
        )
        call.attempt += 1
        call.prepared = None
        self.delay(call, self._outbox.now + delay)

    def is_abort(self, failure: Failure) -> bool:
        """Ended by us. A job that somebody else ended is a failure of its call."""
        return self.submissions.stopping and failure.code is FailureCode.ABORTED

    def _pause(self, call: Call, attempt: AttemptRecord) -> float:
        """Seconds that were to pass after this failed attempt."""
        try:
            failure = Failure(FailureCode(attempt.failure_code or ""), "")
        except ValueError:  # a code of another release
            return 0.0
        # It was decided already that there is a next attempt; only the delay is asked for.
        limit = len(call.failed_before) + 1
        return self._settings.retry.delay(failure, call.failed_before, limit, limit) or 0.0

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
        if change is not None:
            self.submissions.judged(record)

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

    def delay(self, call: Call, due: float) -> None:
        """Its next attempt, or the same one under another submission, not before that time."""
        if due - self._outbox.now > 1:
            due = math.ceil(due)  # what failed within one second goes on together, as an array
        heapq.heappush(self._delayed, (due, next(self._order), call))


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
