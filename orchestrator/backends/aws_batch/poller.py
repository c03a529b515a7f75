"""One poller for all submissions: many jobs cost few calls.

Single jobs, array parents and the children of small arrays are described a hundred a call. The
children of a large array are listed, and only when its parent's summary says that more of them
have finished. Each finished job goes to the settler, which fetches its manifest; what comes of it
waits in `_ready` for `changes`. A call that fails is repeated later; nothing is noted as seen
before it is.

    watch ──> _watched ──(DescribeJobs, ListJobs)──> settler ──(pool: S3)──> _ready ──> changes

A hint that a job has ended goes to the settler too: if its manifest says the same, Batch need not
be asked at all. If not, Batch is asked for this job soon, and what it says counts.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, cast

import structlog
from botocore.exceptions import BotoCoreError, ClientError

from orchestrator.backends.aws_batch import reports
from orchestrator.backends.aws_batch.manifests import Manifests
from orchestrator.backends.aws_batch.reasons import Ended
from orchestrator.backends.aws_batch.reports import Report
from orchestrator.backends.aws_batch.settings import LONGEST_BACKOFF_SECONDS, Settings
from orchestrator.backends.aws_batch.settler import Finished, InputsOf, Settler
from orchestrator.backends.base import Change, JobState
from orchestrator.model.job import InputFile, SubmissionHandle

if TYPE_CHECKING:
    from types_boto3_batch import BatchClient

_log = structlog.get_logger(__name__)
_DESCRIBED = 100  # DescribeJobs takes no more ids
_REMEMBERED = 200_000  # ids of what is over
_LISTED = 1000  # ListJobs: the largest page with a status, without filters


class Heard(Enum):
    """Whose job a hint is about."""

    HERE = "here"  # watched, or watched until it ended
    ELSEWHERE = "elsewhere"  # another engine's, or not watched yet


@dataclass(eq=False, slots=True)
class _Watched:
    """A submission some jobs of which have not been handed on."""

    handle: SubmissionHandle
    job_id: str
    listed: bool  # children are listed; else each is described
    since: float
    next_at: float
    inputs: InputsOf
    open: set[int]  # not seen finished
    unsettled: set[int] = field(default_factory=set)  # seen finished, not in `_ready` yet
    running: set[int] = field(default_factory=set)
    finished: dict[str, int] = field(default_factory=dict)  # seen finished, by status
    reported: dict[str, int] = field(default_factory=dict)  # what the parent's summary says
    parent_ended: Ended | None = None
    listed_at: float = 0.0
    missing_since: float | None = None
    doubtful: set[int] = field(default_factory=set)  # children heard of, to be described

    @property
    def size(self) -> int:
        return len(self.handle.attempts)

    @property
    def finished_part(self) -> float:
        return sum(self.reported.get(status, 0) for status in reports.OVER) / self.size

    def count(self, ended: Ended, more: int) -> None:
        """So many more are seen finished: the parent's summary then tells whether to list."""
        if not ended.vanished:
            status = "SUCCEEDED" if ended.succeeded else "FAILED"
            self.finished[status] = self.finished.get(status, 0) + more

    def ids(self) -> list[str]:
        if self.size == 1:
            return [self.job_id]
        if self.listed:
            doubtful = sorted(self.doubtful & self.open)
            return [self.job_id, *(f"{self.job_id}:{index}" for index in doubtful)]
        return [f"{self.job_id}:{index}" for index in sorted(self.open)]


class Poller:
    """Knows which jobs are watched; `changes` does the work, on its caller's thread."""

    def __init__(
        self,
        batch: BatchClient,
        manifests: Manifests,
        settings: Settings,
        pool: ThreadPoolExecutor,
        *,
        inputs_of: Callable[[SubmissionHandle, int], Iterable[InputFile]],
        settled: Callable[[SubmissionHandle], None],
        on_spot: Callable[[str], bool] = lambda queue: True,
        clock: Callable[[], float] = time.monotonic,
        condition: threading.Condition | None = None,
    ) -> None:
        """`settled` is called on the pool when every job of a submission is finished."""
        self._batch = batch
        self._settings = settings
        self._inputs_of = inputs_of
        self._settled = settled
        self._clock = clock
        self._changed = condition or threading.Condition()
        self._watched: dict[str, _Watched] = {}
        self._by_job: dict[str, _Watched] = {}
        self._done: dict[str, None] = {}  # submissions and their jobs, the latest
        self._hints: list[tuple[_Watched, int, Report]] = []
        self._given_back: list[Finished] = []
        self._ready: list[Change] = []
        self._settler = Settler(
            manifests,
            settings,
            pool,
            clock,
            self._changed,
            self._hand_on,
            self._take_back,
            on_spot,
        )
        self._sweep_at = 0.0
        self._failures = 0
        self._closed = False

    # --- what may be called from any thread

    def watch(self, handle: SubmissionHandle, job_id: str, inputs: InputsOf | None = None) -> None:
        """Report on these jobs from now on. Idempotent."""
        now = self._clock()
        size = len(handle.attempts)
        with self._changed:
            if handle.id in self._watched or handle.id in self._done:
                return
            listed = size > self._settings.described_children
            self._watched[handle.id] = self._by_job[job_id] = _Watched(
                handle=handle,
                job_id=job_id,
                listed=listed,
                since=now,
                next_at=now + self._first(listed),
                inputs=inputs or (lambda index: self._inputs_of(handle, index)),
                open=set(range(size)),
                listed_at=now,
            )
            self._changed.notify_all()

    def job_id(self, submission_id: str) -> str | None:
        """The job's id while it is watched."""
        with self._changed:
            watched = self._watched.get(submission_id)
            return watched.job_id if watched else None

    def hint(self, hint: Report) -> Heard:
        """Somebody says so, and nobody vouches for it: harmless where it is wrong."""
        parent, _, child = hint.job_id.partition(":")
        with self._changed:
            watched = self._by_job.get(parent)
            if watched is None:
                return Heard.HERE if parent in self._done else Heard.ELSEWHERE
            if child or watched.size == 1:  # else the parent of an array: its children tell more
                index = int(child) if child.isdecimal() else 0
                if index in watched.open:
                    self._hints.append((watched, index, hint))
                    self._changed.notify_all()
            return Heard.HERE

    def busy(self, wait_seconds: float) -> bool:
        """Whether anything is watched; waits at most so long for something."""
        with self._changed:
            if not self._watched and not self._closed:
                self._changed.wait(wait_seconds)
            return bool(self._watched) and not self._closed

    def hurry(self, submission_id: str) -> None:
        """Something was done to this submission: look soon."""
        with self._changed:
            watched = self._watched.get(submission_id)
            if watched:
                watched.next_at = min(watched.next_at, self._clock() + self._first(False))
                self._changed.notify_all()

    def close(self) -> None:
        """`changes` returns."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    # --- the poller's thread

    def changes(self, wait_seconds: float) -> Sequence[Change]:
        """What moved; waits at most so long. Never raises for what may pass."""
        deadline = self._clock() + wait_seconds
        while True:
            self._take_hints()
            self._settler.start_due()
            with self._changed:
                if self._ready or self._closed:
                    ready, self._ready = self._ready, []
                    return ready
                if self._hints or self._given_back:
                    continue
                now = self._clock()
                wake = self._wake_at()
                if now < wake or now < self._sweep_at:
                    if now >= deadline:
                        return []
                    until = min(deadline, max(wake, self._sweep_at), self._settler.next_at)
                    self._changed.wait(max(0.0, until - now) if until > now else 0.0)
                    continue
            self._sweep()
            if self._clock() >= deadline:
                self._settler.start_due()
                with self._changed:
                    ready, self._ready = self._ready, []
                    return ready

    def _take_hints(self) -> None:
        """What was heard goes to the settler; what that could not confirm is asked of Batch."""
        with self._changed:
            hints, self._hints = self._hints, []
            given_back, self._given_back = self._given_back, []
        for watched, index, hint in hints:
            if index in watched.doubtful:
                continue  # its manifest was looked for, and Batch will tell
            self._finished(watched, index, hint, heard=True)
        soon = self._clock() + self._settings.gather_hints_seconds
        for item in given_back:
            watched = self._watched[item.handle.id]
            with self._changed:
                watched.unsettled.discard(item.index)
                watched.open.add(item.index)
                watched.next_at = min(watched.next_at, soon)
            watched.doubtful.add(item.index)
            watched.count(item.report.ended, -1)

    def _take_back(self, item: Finished) -> None:
        """Called on the pool: the manifest does not say that it has ended."""
        with self._changed:
            self._given_back.append(item)
            self._changed.notify_all()

    def _wake_at(self) -> float:
        return min((w.next_at for w in self._watched.values() if w.open), default=float("inf"))

    def _sweep(self) -> None:
        """Look at everything that is due, a hundred a call."""
        begun = self._clock()
        with self._changed:
            # What is nearly due comes along: it costs no further call.
            due = [
                watched
                for watched in self._watched.values()
                if watched.open and watched.next_at <= begun + self._first(False) / 2
            ]
        calls = 0
        try:
            for watched_by_id in _packs(due):
                calls += 1
                answer = self._batch.describe_jobs(jobs=list(watched_by_id))
                self._described(watched_by_id, answer["jobs"])
            for watched in due:
                if watched.listed and watched.open:
                    calls += self._list_children(watched)
        except (ClientError, BotoCoreError) as error:
            self._failures += 1
            pause = min(LONGEST_BACKOFF_SECONDS, 2.0**self._failures)
            _log.warning("jobs cannot be looked at; trying again", seconds=pause, reason=str(error))
            self._sweep_at = self._clock() + pause
            return
        self._failures = 0
        now = self._clock()
        self._sweep_at = now + (calls - 1) * self._settings.seconds_per_call
        for watched in due:
            watched.next_at = now + self._interval(watched, now)

    def _interval(self, watched: _Watched, now: float) -> float:
        age, settings = now - watched.since, self._settings
        first = self._first(watched.listed)
        if not watched.listed:
            wanted = age * settings.interval_of_age
            return max(first, min(wanted, settings.longest_interval_seconds))
        if watched.parent_ended:
            return first
        wanted = min(age * settings.array_interval_of_age, settings.array_longest_interval_seconds)
        part = watched.finished_part
        if part > 0:  # when will it be over at this rate?
            wanted = min(wanted, age * (1 - part) / part)
        return max(first, wanted)

    def _first(self, listed: bool) -> float:
        settings = self._settings
        return settings.array_first_interval_seconds if listed else settings.first_interval_seconds

    # --- DescribeJobs

    def _described(self, asked: Mapping[str, _Watched], jobs: Sequence[Mapping[str, Any]]) -> None:
        now = self._clock()
        answered = {job["jobId"]: job for job in jobs}
        for job_id, watched in asked.items():
            job = answered.get(job_id)
            if job is None:
                self._missing(watched, job_id, now)
            elif watched.listed and job_id == watched.job_id:
                watched.missing_since = None
                watched.reported = dict(job.get("arrayProperties", {}).get("statusSummary", {}))
                watched.parent_ended = reports.ended(job) if job["status"] in reports.OVER else None
            else:
                watched.missing_since = None
                self._seen(watched, job)

    def _missing(self, watched: _Watched, job_id: str, now: float) -> None:
        """A job too new to be seen, or too old to be known."""
        watched.missing_since = watched.missing_since or now
        if now - watched.missing_since < self._settings.vanished_after_seconds:
            return
        gone = Ended(succeeded=False, vanished=True)
        for index in [*watched.open] if job_id == watched.job_id else [reports.index(job_id)]:
            child = f"{watched.job_id}:{index}" if watched.size > 1 else job_id
            self._finished(watched, index, Report(child, gone))

    def _seen(self, watched: _Watched, job: Mapping[str, Any]) -> None:
        """One job as DescribeJobs or ListJobs shows it."""
        index, status = reports.index(job["jobId"]), job["status"]
        if index not in watched.open:
            return
        if status in reports.OVER:
            self._finished(watched, index, reports.of(job))
            return
        watched.doubtful.discard(index)  # what was heard was wrong: the next may be right
        if status == "RUNNING" and index not in watched.running:
            watched.running.add(index)
            change = Change(
                watched.handle.id,
                index,
                JobState.RUNNING,
                job["jobId"],
                log_stream=reports.log_stream(job),
                started_at=reports.seconds(job.get("startedAt")),
            )
            with self._changed:
                self._ready.append(change)

    # --- ListJobs

    def _list_children(self, watched: _Watched) -> int:
        """List what has finished, if it is worth it. How many calls that took."""
        over = watched.parent_ended is not None
        new = {
            status: watched.reported.get(status, 0) - watched.finished.get(status, 0)
            for status in reports.OVER
        }
        now = self._clock()
        if not over:
            settings, count = self._settings, sum(new.values())
            waited = now - watched.listed_at >= settings.list_children_after_seconds
            if count <= 0 or (count < watched.size * settings.list_children_part and not waited):
                return 0
        watched.listed_at = now
        calls = 0
        for status in reports.OVER:
            if new[status] > 0:
                calls += self._list(watched, status)
        if over and watched.open and now - watched.since > self._settings.settle_seconds:
            calls += self._ask_for_each(watched)
        return calls

    def _list(self, watched: _Watched, status: str) -> int:
        calls, token = 0, None
        while True:
            calls += 1
            page = self._batch.list_jobs(
                arrayJobId=watched.job_id,
                jobStatus=cast(Any, status),
                maxResults=_LISTED,
                **cast(Any, {"nextToken": token} if token else {}),
            )
            for job in page["jobSummaryList"]:
                self._seen(watched, job)
            token = page.get("nextToken")
            if not token or not watched.open:
                return calls

    def _ask_for_each(self, watched: _Watched) -> int:
        """The parent is over, but the listing lags, or children were never made."""
        calls = 0
        for indices in _packs_of(sorted(watched.open)):
            calls += 1
            answer = self._batch.describe_jobs(jobs=[f"{watched.job_id}:{i}" for i in indices])
            for job in answer["jobs"]:
                self._seen(watched, job)
            known = {reports.index(job["jobId"]) for job in answer["jobs"]}
            for index in set(indices) - known:
                ended = watched.parent_ended or Ended(succeeded=False, vanished=True)
                child = f"{watched.job_id}:{index}"
                self._finished(watched, index, Report(child, ended))
        return calls

    # --- finished jobs

    def _finished(
        self, watched: _Watched, index: int, report: Report, *, heard: bool = False
    ) -> None:
        if index not in watched.open:
            return
        watched.count(report.ended, 1)
        with self._changed:
            watched.open.discard(index)
            watched.unsettled.add(index)
            self._settler.add(Finished(watched.handle, index, report, watched.inputs, heard=heard))

    def _hand_on(self, change: Change) -> None:
        """Called on the pool with what became of a finished job."""
        with self._changed:
            watched = self._watched[change.submission_id]
            self._ready.append(change)
            watched.unsettled.discard(change.index)
            over = not watched.open and not watched.unsettled
            if over:
                del self._watched[change.submission_id]
                del self._by_job[watched.job_id]
                self._done |= {change.submission_id: None, watched.job_id: None}
                while len(self._done) > _REMEMBERED:
                    del self._done[next(iter(self._done))]
            self._changed.notify_all()
        if over:
            self._settled(watched.handle)


def _packs(due: Iterable[_Watched]) -> Iterator[dict[str, _Watched]]:
    """Ids to describe, a hundred at a time."""
    pack: dict[str, _Watched] = {}
    for watched in due:
        for job_id in watched.ids():
            pack[job_id] = watched
            if len(pack) == _DESCRIBED:
                yield pack
                pack = {}
    if pack:
        yield pack


def _packs_of(indices: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(indices), _DESCRIBED):
        yield indices[start : start + _DESCRIBED]
