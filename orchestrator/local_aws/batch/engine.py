"""The engine: takes submissions, starts what the scheduler places, records how it ends.

Threads, however many jobs wait: one that schedules, one worker for each running job (bounded by
what the machine bears), one that writes logs, a few that stop jobs, and the runner's own. One lock
guards all jobs and queues; it is never held while a process, a container or a log is dealt with.
More than 400 lines because all of it changes one state under that lock.
"""

from __future__ import annotations

import contextlib
import functools
import heapq
import itertools
import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from moto.batch.models import BatchBackend

from orchestrator.local_aws.batch import detail, environment, infrastructure, logs, notices, tags
from orchestrator.local_aws.batch.jobs import Attempt, Job, JobTable, Status, Submission
from orchestrator.local_aws.batch.listing import Listing
from orchestrator.local_aws.batch.runners.base import CannotStart, Exit, Runner, RunningTask, Task
from orchestrator.local_aws.batch.scheduler import Blocked, Machine, Placement, Scheduler

EXITED = "Essential container in task exited"
NOT_STARTED = "Task failed to start"
TIMED_OUT = "Job attempt duration exceeded timeout"
QUEUE_DELETED = "The job queue was deleted"
TOO_MANY_TAGS = "The combined tags of job and job definition are more than 50"

_log = logging.getLogger(__name__)
_AT_ONCE = 1000  # jobs dealt with before the lock is given up for a moment
_LOOK_AGAIN_SECONDS = 1.0  # queues and environments change without telling


@dataclass(frozen=True, slots=True)
class Limits:
    """What this machine bears, and how patient the engine is."""

    max_jobs: int
    memory_mib: float
    stop_grace_seconds: float
    list_jobs_lag_seconds: float


class Region:
    """The jobs of one account and region, on one state of moto's backend."""

    def __init__(
        self,
        backend: BatchBackend,
        limits: Limits,
        machine: Machine,
        events: notices.Notices,
    ) -> None:
        self.account = backend.account_id
        self.name = backend.region_name
        self.backend = backend
        self.table = JobTable(Listing(limits.list_jobs_lag_seconds), self._changed)
        self.scheduler = Scheduler(self.queue, machine)
        self.discarded = False
        self._events = events

    def _changed(self, job: Job) -> None:
        self.note(job, notices.STATE_CHANGE)

    def note(self, job: Job, kind: str) -> None:
        """An event about a job, as it is now."""
        made = functools.partial(detail.of_job, self.backend, job)
        self._events.note(self.account, self.name, kind, job.arn, job.status, made)

    def queue(self, arn: str) -> infrastructure.Queue | None:
        return infrastructure.queue(self.backend, arn)


@dataclass(slots=True, eq=False)
class _Live:
    """One attempt from its placement to its end."""

    region: Region
    job: Job
    attempt: Attempt
    placement: Placement
    running: RunningTask | None = None
    ended: bool = False


class Engine:
    """One a process. `description` says in one line how jobs run."""

    def __init__(self, runner: Runner, limits: Limits, endpoint: str) -> None:
        self.description = runner.description
        self.runner_name = runner.name
        self._runner = runner
        self._limits = limits
        self._endpoint = endpoint
        self._machine = Machine(limits.max_jobs, limits.memory_mib)
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._dirty = False
        self._closing = False
        self._regions: dict[tuple[str, str], Region] = {}
        self._submitted: deque[tuple[Region, Job]] = deque()
        self._live: dict[str, _Live] = {}
        self._timers: list[tuple[float, int, _Live, str]] = []
        self._count = itertools.count()
        self._logs = logs.Writer()
        self._events = notices.Notices()
        self._threads: set[threading.Thread] = set()
        self._thread = threading.Thread(target=self._schedule, name="batch-scheduler", daemon=True)
        self._thread.start()

    # -- what the verbs ask for

    @contextlib.contextmanager
    def region(self, backend: BatchBackend) -> Iterator[Region]:
        """The jobs of this backend, under the engine's lock."""
        with self._lock:
            yield self._region(backend)

    def submit(
        self, backend: BatchBackend, submission: Submission, job_tags: Mapping[str, str]
    ) -> str:
        """Take it in; the answer is the job's id. The tags are those of the job or array."""
        job_id = str(uuid.uuid4())
        if job_tags:
            backend.tag_resource(submission.arn_prefix + job_id, dict(job_tags))
        with self._lock:
            region = self._region(backend)
            job = region.table.add(job_id, submission)
            self._submitted.extend((region, one) for one in job.children or (job,))
            self._notify()
            return job.id

    def stop_job(self, backend: BatchBackend, job_id: str, reason: str, *, terminate: bool) -> bool:
        """CancelJob, or with `terminate` TerminateJob. False when there is no such job."""
        with self._lock:
            region = self._region(backend)
            job = region.table.jobs.get(job_id)
            if job is None:
                return False
            if job.status.terminal:
                return True
            targets = job.children or [job]
            if job.children:
                self._mark(job, terminate)
                job.stop_reason = job.stop_reason or reason
        for start in range(0, len(targets), _AT_ONCE):
            with self._lock:
                for target in targets[start : start + _AT_ONCE]:
                    self._stop(region, target, reason, terminate=terminate)
        return True

    def queue_deleted(self, backend: BatchBackend, queue_arn: str) -> None:
        """Batch terminates the jobs of a queue that is deleted."""
        with self._lock:
            region = self._regions.get((backend.account_id, backend.region_name))
            if region is None or region.backend is not backend:
                return
            jobs = [
                job
                for job in region.table.jobs.values()
                if job.submission.queue_arn == queue_arn
                and not job.children
                and not job.status.terminal
            ]
        for start in range(0, len(jobs), _AT_ONCE):
            with self._lock:
                for job in jobs[start : start + _AT_ONCE]:
                    self._stop(region, job, QUEUE_DELETED, terminate=True)

    def discard(self, backend: BatchBackend) -> None:
        """moto forgets this backend's state (reset): kill its jobs and forget them."""
        with self._lock:
            key = (backend.account_id, backend.region_name)
            region = self._regions.get(key)
            if region is None or region.backend is not backend:
                return
            del self._regions[key]
            region.discarded = True
            live = [one for one in self._live.values() if one.region is region]
            self._notify()
        for one in live:
            if one.running is not None:
                one.running.kill()

    def close(self) -> None:
        """Kill every job and wait until all is gone. Idempotent."""
        with self._lock:
            self._closing = True
            self._notify()
        self._thread.join()
        self._runner.close()
        while True:
            with self._lock:
                threads = tuple(self._threads)
            if not threads:
                break
            for thread in threads:
                thread.join()
        self._logs.stop()
        self._events.stop()

    def abandon(self) -> None:
        """Kill every job, taking no lock: for a signal handler before the process ends."""
        self._closing = True
        self._runner.close()

    # -- all below hold the lock, unless they say otherwise

    def _region(self, backend: BatchBackend) -> Region:
        key = (backend.account_id, backend.region_name)
        region = self._regions.get(key)
        if region is None or region.backend is not backend:
            region = self._regions[key] = Region(backend, self._limits, self._machine, self._events)
        return region

    def _notify(self) -> None:
        self._dirty = True
        self._changed.notify_all()

    @staticmethod
    def _mark(job: Job, terminate: bool) -> None:
        if terminate:
            job.terminated = True
        else:
            job.cancelled = True

    def _stop(self, region: Region, job: Job, reason: str, *, terminate: bool) -> None:
        if job.status.terminal:
            return
        if job.status not in (Status.STARTING, Status.RUNNING):
            self._mark(job, terminate)
            region.table.move(job, Status.FAILED, reason, now=_now_ms())
            self._notify()
        elif terminate and not job.stop_reason:
            self._mark(job, terminate)
            job.stop_reason = reason
            if job.current is not None and (live := self._live.get(job.current.task_id)):
                self._end(live)

    def _end(self, live: _Live) -> None:
        """SIGTERM now, SIGKILL after the grace ECS gives."""
        if live.running is not None and not self._closing:
            self._spawn(live.running.terminate)
            self._arm(live, "kill", self._limits.stop_grace_seconds)

    def _spawn(self, act: Callable[..., None], *arguments: object) -> None:
        """A thread of its own for what may block. Daemons: a process that ends must not wait."""

        def run() -> None:
            try:
                act(*arguments)
            finally:
                with self._lock:
                    self._threads.discard(thread)

        thread = threading.Thread(target=run, name=f"batch-{act.__name__}", daemon=True)
        self._threads.add(thread)
        thread.start()

    def _arm(self, live: _Live, what: str, seconds: float) -> None:
        if len(self._timers) > 64 + 4 * len(self._live):
            self._timers = [timer for timer in self._timers if not timer[2].ended]
            heapq.heapify(self._timers)
        when = time.monotonic() + seconds
        heapq.heappush(self._timers, (when, next(self._count), live, what))
        if self._timers[0][0] == when:
            self._notify()

    # -- the scheduling thread

    def _schedule(self) -> None:
        """Takes the lock itself."""
        while True:
            with self._lock:
                if not self._dirty and not self._submitted:
                    self._changed.wait(self._pause())
                if self._closing:
                    return
                self._dirty = False
                try:
                    self._ring()
                    self._evaluate()
                    starts = self._start_jobs()
                except Exception:
                    # A defect must not end all scheduling in silence.
                    _log.exception("the scheduling of AWS Batch jobs failed; trying again")
                    starts = []
                for live in starts:
                    self._spawn(self._run, live)

    def _pause(self) -> float | None:
        pause = (
            _LOOK_AGAIN_SECONDS
            if any(region.scheduler.has_waiting for region in self._regions.values())
            else None
        )
        if self._timers:
            left = max(0.0, self._timers[0][0] - time.monotonic())
            pause = left if pause is None else min(pause, left)
        return pause

    def _ring(self) -> None:
        """Timeouts and graces that are over."""
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            _, _, live, what = heapq.heappop(self._timers)
            if live.ended or live.running is None:
                continue
            if what == "kill":
                self._spawn(live.running.kill)
            elif not live.job.stop_reason:
                live.job.stop_reason = TIMED_OUT
                self._end(live)

    def _evaluate(self) -> None:
        """SUBMITTED to RUNNABLE; only children pass PENDING: single jobs depend on nothing here."""
        now = _now_ms()
        for _ in range(min(_AT_ONCE, len(self._submitted))):
            region, job = self._submitted.popleft()
            if region.discarded or job.status is not Status.SUBMITTED:
                continue
            table, submission = region.table, job.submission
            if job.parent is not None:
                table.move(job, Status.PENDING, now=now)
            if submission.propagate_tags:
                own = region.backend.list_tags_for_resource((job.parent or job).arn)
                if len({**submission.definition_tags, **own}) > tags.MOST:
                    table.move(job, Status.FAILED, TOO_MANY_TAGS, now=now)
                    continue
            table.move(job, Status.RUNNABLE, now=now)
            region.scheduler.enqueue(job, fair=submission.share is not None)

    def _start_jobs(self) -> list[_Live]:
        starts = []
        for region in self._regions.values():
            placed, blocked, gone = region.scheduler.place(time.monotonic())
            now = _now_ms()
            for job, placement in placed:
                task_id = uuid.uuid4().hex
                attempt = Attempt(
                    number=len(job.attempts) + 1,
                    task_id=task_id,
                    environment_name=placement.environment_name,
                    log_stream=f"{job.submission.container.log_prefix}/default/{task_id}",
                )
                job.current = attempt
                region.table.move(job, Status.STARTING, now=now)
                live = _Live(region, job, attempt, placement)
                self._live[task_id] = live
                starts.append(live)
            for head in blocked:
                self._explain(region, head, now)
            for arn in gone:
                for job in region.scheduler.drop(arn):
                    region.table.move(job, Status.FAILED, QUEUE_DELETED, now=now)
        return starts

    def _explain(self, region: Region, head: Blocked, now: int) -> None:
        """Say why the head of a queue never starts; cancel it when the queue says so."""
        job = head.job
        if job.head_since is None:
            job.head_since = now
        if region.table.explain(job, head.reason):
            region.note(job, notices.QUEUE_BLOCKED)
        code = head.reason.partition(" ")[0]
        for limit in head.queue.time_limits:
            if limit.reason.startswith(code) and now - job.head_since >= limit.seconds * 1000:
                self._stop(region, job, limit.reason, terminate=False)
                return

    # -- a worker's thread

    def _run(self, live: _Live) -> None:
        """Takes the lock itself, never while something runs."""
        end, problem = Exit(1), ""
        stream: logs.Stream | None = None
        try:
            stream = self._logs.open(live.job.submission, live.attempt.log_stream)
            running = self._runner.start(self._task(live))
            try:
                self._started(live, running)
                end = running.wait(stream.write)
            except BaseException:
                running.kill()
                raise
        except CannotStart as error:
            problem = str(error)
        except Exception as error:
            _log.exception("AWS Batch job %s: its runner failed", live.job.id)
            problem = f"CannotInspectContainerError: {type(error).__name__}: {error}"
        finally:
            if stream is not None:
                self._logs.close(stream)
            with self._lock:
                self._finished(live, end, problem)

    def _started(self, live: _Live, running: RunningTask) -> None:
        with self._lock:
            job, now = live.job, _now_ms()
            live.running = running
            live.attempt.started_at = now
            unwanted = live.region.discarded or self._closing
        if unwanted:
            running.kill()
            return
        with self._lock:
            if live.region.discarded:
                return
            live.region.table.move(job, Status.RUNNING, now=now)
            if job.stop_reason:
                self._end(live)
            elif job.submission.timeout_seconds is not None:
                self._arm(live, "timeout", job.submission.timeout_seconds)

    def _finished(self, live: _Live, end: Exit, problem: str) -> None:
        job, attempt, region = live.job, live.attempt, live.region
        now = _now_ms()
        live.ended = True
        self._live.pop(attempt.task_id, None)
        region.scheduler.release(job, live.placement, time.monotonic())
        self._notify()
        attempt.stopped_at = now
        attempt.reason = (problem or end.reason)[:255]  # Batch keeps that much
        if not problem:
            attempt.exit_code = end.code
        attempt.status_reason = job.stop_reason or (NOT_STARTED if problem else EXITED)
        job.attempts.append(attempt)
        job.current = None
        if region.discarded:
            return
        if job.stop_reason:
            region.table.move(job, Status.FAILED, job.stop_reason, now=now)
        elif attempt.exit_code == 0:
            region.table.move(job, Status.SUCCEEDED, EXITED, now=now)
        elif job.submission.retry.retries(
            len(job.attempts), attempt.exit_code, attempt.reason, attempt.status_reason
        ):
            region.table.move(job, Status.RUNNABLE, now=now)
            region.scheduler.enqueue(job, fair=job.submission.share is not None)
        else:
            region.table.move(job, Status.FAILED, attempt.status_reason, now=now)

    def _task(self, live: _Live) -> Task:
        container = live.job.submission.container
        return Task(
            id=live.attempt.task_id,
            job_id=live.job.id,
            image=container.image,
            command=container.command,
            environment=environment.of(live.job, live.attempt, self._endpoint),
            vcpus=container.vcpus,
            memory_mib=container.memory_mib,
            gpus=container.gpus,
            properties=container.properties,
        )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
