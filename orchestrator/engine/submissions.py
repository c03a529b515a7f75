"""What is, or may be, with the backend: from attempts that may be submitted to the end of each job.

    submit      ready attempts -> submissions, intended before they are made
    find        whatever may have been made is looked up: adopted, or made sure that it never runs
    changed     what the backend tells of a job

An attempt that may be with the backend is never made anew before that is looked up.
"""

from __future__ import annotations

import heapq
import itertools
import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Protocol

from orchestrator import errors
from orchestrator.backends.base import Backend, Change, JobState
from orchestrator.engine import dispatcher, faultpoints
from orchestrator.engine.actions import Cancel, Find, Revoke, Submit, Withdraw
from orchestrator.engine.calls import Call, Calls
from orchestrator.engine.faultpoints import Step
from orchestrator.engine.outbox import Outbox
from orchestrator.engine.recovery import LiveSubmission
from orchestrator.engine.slow_jobs import SlowJobs
from orchestrator.engine.steps import Steps
from orchestrator.model import states
from orchestrator.model.failures import Failure, FailureCode
from orchestrator.model.job import Submission
from orchestrator.model.records import AttemptRecord, SubmissionRecord
from orchestrator.model.states import AttemptState, CallState, SubmissionState

_PIECE = 200  # attempts that are dealt with in one go
_MOST_UNDER_WAY = 64  # submissions; a few times what the pool can make at the same time


class Attempts(Protocol):
    """Who is told what becomes of the attempts."""

    def holds(self) -> bool:
        """Whether nothing new may start."""

    def finished(self, call: Call, change: Change) -> None:
        """Its job is over: `detach` and `judged` once that is recorded."""

    def refused(self, call: Call, failure: Failure) -> None:
        """The backend never takes it: `detach` once that is recorded."""

    def delay(self, call: Call, due: float) -> None:
        """It goes on under another submission, not before that time."""


class Submissions:
    """See the module. Each event is told by a method; what comes of it goes to the outbox."""

    def __init__(
        self,
        backend: Backend,
        workflow_name: str,
        labels: Mapping[str, str],
        outbox: Outbox,
        steps: Steps,
        calls: Calls,
        attempts: Attempts,
        slow_job_warning_seconds: float | None = None,
    ) -> None:
        self.stopping = False  # jobs in flight are being ended
        self._backend = backend
        self._workflow_name = workflow_name
        self._labels = tuple(labels.items())
        self._outbox = outbox
        self._steps = steps
        self._calls = calls
        self._attempts = attempts
        self._attached: dict[tuple[str, str, int], Call] = {}  # with the backend, by attempt
        self._slow_jobs = SlowJobs(slow_job_warning_seconds, outbox, self._attached)
        self._live: dict[str, LiveSubmission] = {}
        self._early: dict[tuple[str, int], Change] = {}
        self._looking: list[tuple[float, int, Find | Cancel]] = []  # a heap: to be tried again
        self._order = itertools.count()
        self._throttled = 0  # TryLater answers in a row
        self._grouped: deque[tuple[Submission, list[Call]]] = deque()  # to be intended
        self._under_way: set[str] = set()  # submissions intended here, without an answer yet
        self._intending = 0  # attempts on their way to a submission

    def dismantle(self) -> None:
        """See `Run.dismantle`."""
        for parts in (self._attached, self._live, self._early):
            while parts:
                parts.popitem()

    @property
    def inflight(self) -> int:
        """Attempts that are, or may be, with the backend."""
        return len(self._attached) + self._intending

    @property
    def idle(self) -> bool:
        """Whether nothing is with the backend, as far as anybody knows."""
        return not (
            self._attached
            or self._intending
            # Of a call that the replay did not come to: it may be with the backend.
            or any(live.record.state is SubmissionState.INTENDED for live in self._live.values())
        )

    def wake_at(self) -> float | None:
        """When something is to be looked up, or told, again."""
        due = (self._looking[0][0] if self._looking else None, self._slow_jobs.wake_at)
        return min((at for at in due if at is not None), default=None)

    def wake(self) -> None:
        """Go on with what was to wait until now."""
        while self._looking and self._looking[0][0] <= self._outbox.now:
            effect = heapq.heappop(self._looking)[2]
            if effect.handle.id in self._live:
                self._outbox.perform(effect)
        self._slow_jobs.wake()

    # --- from attempts to submissions

    def adopt(self, live: LiveSubmission) -> None:
        """A submission that the journal leaves open: whatever may be with the backend is looked
        up before anything is submitted."""
        self._live[live.record.id] = live
        self._outbox.perform(Find(live.handle))

    def resume(self, call: Call, attempt: AttemptRecord) -> bool:
        """Whether this attempt of the journal is with the backend, or may be: it goes on there."""
        live = self._live.get(attempt.submission_id or "")
        if live is None or attempt.array_index not in live.remaining:
            return False
        self._attach(call, attempt)
        if live.record.state is not SubmissionState.INTENDED:
            self._take_early(live, attempt.array_index)
        return True

    def submit(self, ready: Iterable[tuple[Call, dispatcher.ReadyAttempt]], share: str) -> None:
        """Ready attempts become submissions. `share`: see `Submission`."""
        by_ref = {item.spec.attempt: (call, item) for call, item in ready}
        for submission in dispatcher.group(
            (item for _, item in by_ref.values()),
            workflow_name=self._workflow_name,
            backend=self._backend.name,
            max_array_size=self._backend.max_array_size,
            now=self._outbox.now,
            share=share,
            labels=self._labels,
        ):
            calls = [by_ref[ref][0] for ref in submission.handle.attempts]
            self._grouped.append((submission, calls))
        self._intending += len(by_ref)
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
            if self._attempts.holds():
                self._intending -= len(calls)
                continue
            self._under_way.add(submission.handle.id)
            for index, call in enumerate(calls):
                self._intend_attempt(submission, index, call)
                done += 1
                if done % _PIECE == 0:
                    yield
            self._intend(submission)

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
        self._live[handle.id] = LiveSubmission(record, handle, set(range(record.size)))
        self._outbox.perform(Submit(submission))
        self._outbox.seal()

    def _answered(self, submission_id: str) -> None:
        """Nobody need look for it any more."""
        if submission_id in self._under_way:
            self._under_way.remove(submission_id)
            self._intend_more()

    def forget_waiting(self) -> None:
        """What is not with the backend yet never goes there."""
        self._intending -= sum(len(calls) for _, calls in self._grouped)
        self._grouped.clear()

    def stop(self) -> None:
        """Nothing new, and what runs is ended."""
        self.stopping = True
        self.forget_waiting()
        for live in self._live.values():
            if live.record.state is SubmissionState.SUBMITTED:
                self._cancel(live)
            else:
                self._outbox.perform(Withdraw(live.record.id))

    def end(self) -> None:
        """The workflow is over: what is still with the backend, of calls that nobody waits for,
        is ended."""
        for live in list(self._live.values()):
            self._cancel(live)
            self._settle(live, SubmissionState.SETTLED)

    # --- what the backend tells

    def submitted(self, submission_id: str, job_id: str) -> None:
        """The backend has it: by answer, or found by its name."""
        live = self._live.get(submission_id)
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
        live = self._live.get(submission_id)
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
                self._attempts.refused(call, failure)
                self._outbox.seal()
            if done % _PIECE == 0:
                yield
        self._settle(live, SubmissionState.REVOKED)

    def found(self, submission_id: str, job_id: str | None) -> None:
        """The answer to Find: adopt it, or make sure that it never runs."""
        live = self._live.get(submission_id)
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
        live = self._live.get(submission_id)
        if live is not None:
            self._again(Find(live.handle))

    def cancel_failed(self, submission_id: str) -> None:
        """Try again later, until its jobs have ended."""
        live = self._live.get(submission_id)
        if live is not None and live.remaining:
            self._again(Cancel(live.handle, tuple(sorted(live.remaining))))

    def revoked(self, submission_id: str) -> None:
        """It never runs: its attempts go on under a new submission."""
        live = self._live.get(submission_id)
        if live is None:
            return
        waiting = [self._call_of(live, index) for index in sorted(live.remaining)]
        self._settle(live, SubmissionState.REVOKED)
        pause = min(2.0 ** min(self._throttled, 6), 60.0) if self._throttled else 0.0
        for call in waiting:
            if call is not None:
                record = call.attempt_record
                self.detach(call)
                call.attempt_record = record  # goes on, or ends with the workflow
                if not self._attempts.holds():
                    self._attempts.delay(call, self._outbox.now + pause)

    def changed(self, change: Change) -> bool:
        """One job moved. False: not one of this run's."""
        live = self._live.get(change.submission_id)
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
            self._attempts.finished(call, change)
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

    # --- what becomes of its attempts

    def detach(self, call: Call) -> None:
        """Its attempt is over, or goes on under another submission."""
        del self._attached[call.flow.record.id, call.ready.id, call.attempt]
        call.attempt_record = None

    def judged(self, record: AttemptRecord) -> None:
        """The end of a job is recorded. Its submission is settled with the last one.

        Not before: until then a restart has to find the job, or it would run again.
        """
        live = self._live.get(record.submission_id or "")
        if live is not None:
            live.judging -= 1
            if not live.remaining and not live.judging:
                self._settle(live, SubmissionState.SETTLED)

    # --- small parts

    def _take_early(self, live: LiveSubmission, index: int) -> None:
        change = self._early.pop((live.record.id, index), None)
        if change is not None:
            self.changed(change)

    def _attach(self, call: Call, record: AttemptRecord) -> None:
        self._attached[record.workflow_id, record.call_id, record.attempt] = call
        call.attempt_record = record

    def _call_of(self, live: LiveSubmission, index: int) -> Call | None:
        ref = live.handle.attempts[index]
        return self._attached.get((ref.workflow_id, ref.call_id, ref.attempt))

    def _settle(self, live: LiveSubmission, state: SubmissionState) -> None:
        live.record = states.moved(live.record, state=state)
        self._outbox.record(live.record)
        self._live.pop(live.record.id, None)
        self._answered(live.record.id)

    def _cancel(self, live: LiveSubmission) -> None:
        if live.remaining:
            self._outbox.perform(Cancel(live.handle, tuple(sorted(live.remaining))))

    def _again(self, effect: Find | Cancel) -> None:
        heapq.heappush(self._looking, (self._outbox.now + 5.0, next(self._order), effect))
