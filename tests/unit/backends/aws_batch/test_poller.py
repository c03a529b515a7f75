"""The poller against a simulated AWS Batch and a clock that only moves when somebody waits."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from orchestrator import errors
from orchestrator.backends.aws_batch.poller import Heard, Poller
from orchestrator.backends.aws_batch.reasons import Ended
from orchestrator.backends.aws_batch.reports import Report
from orchestrator.backends.aws_batch.settings import Settings
from orchestrator.backends.base import Change, JobState
from orchestrator.model.attempt import AttemptRef
from orchestrator.model.failures import Failure, FailureCode
from orchestrator.model.job import InputFile, SubmissionHandle
from orchestrator.model.manifest import Manifest, OutputFile

THROTTLED = ClientError(
    {
        "Error": {"Code": "TooManyRequestsException", "Message": "slow down"},
        "ResponseMetadata": {"HTTPStatusCode": 429},  # type: ignore[typeddict-item]
    },
    "DescribeJobs",
)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Waiting(threading.Condition):
    """Waiting lets time pass at once."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self._clock.now += max(timeout, 0.001)
        return True


class AtOnce:
    """A pool that works on the caller's thread."""

    def submit(self, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(work(*arguments))
        return done


@dataclass
class Job:
    """Runs from `begins` to `ends`."""

    begins: float
    ends: float
    fails: bool = False
    reason: str = "Essential container in task exited"
    exit_code: int | None = 0

    def status(self, now: float) -> str:
        if now < self.begins:
            return "RUNNABLE"
        if now < self.ends:
            return "RUNNING"
        return "FAILED" if self.fails else "SUCCEEDED"


@dataclass
class FakeBatch:
    """Jobs by id; a list of jobs is an array. Counts calls."""

    clock: Clock
    jobs: dict[str, list[Job] | Job] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    times: list[float] = field(default_factory=list)
    lag: float = 0.0
    page: int = 1000
    failing: list[Exception] = field(default_factory=list)

    def _call(self, name: str) -> None:
        self.calls[name] += 1
        self.times.append(self.clock.now)
        if self.failing:
            raise self.failing.pop()

    def describe_jobs(self, jobs: list[str]) -> Any:
        assert 0 < len(jobs) <= 100
        self._call("DescribeJobs")
        return {"jobs": [d for job_id in jobs if (d := self._detail(job_id)) is not None]}

    def _detail(self, job_id: str) -> Any:
        parent, _, index = job_id.partition(":")
        job = self.jobs.get(parent)
        if job is None:
            return None
        if isinstance(job, Job):
            return self._one(job_id, job)
        if index:
            return self._one(job_id, job[int(index)]) if int(index) < len(job) else None
        summary = Counter(child.status(self.clock.now) for child in job)
        over = all(child.ends <= self.clock.now for child in job)
        status = ("FAILED" if summary["FAILED"] else "SUCCEEDED") if over else "PENDING"
        return {"jobId": job_id, "status": status, "arrayProperties": {"statusSummary": summary}}

    def _one(self, job_id: str, job: Job) -> Any:
        status = job.status(self.clock.now)
        detail: dict[str, Any] = {"jobId": job_id, "status": status, "container": {}}
        if status in ("SUCCEEDED", "FAILED"):
            detail |= {"statusReason": job.reason, "stoppedAt": int(job.ends * 1000)}
            if job.exit_code is not None:
                detail["container"] = {"exitCode": job.exit_code}
        return detail

    def list_jobs(
        self,
        arrayJobId: str,
        jobStatus: str,
        maxResults: int,
        nextToken: str = "0",
    ) -> Any:
        self._call("ListJobs")
        children = self.jobs[arrayJobId]
        assert isinstance(children, list)
        now = self.clock.now - self.lag
        rows = [
            self._one(f"{arrayJobId}:{index}", child)
            for index, child in enumerate(children)
            if child.status(now) == jobStatus
        ]
        start, size = int(nextToken), min(maxResults, self.page)
        more = {"nextToken": str(start + size)} if len(rows) > start + size else {}
        return {"jobSummaryList": rows[start : start + size], **more}


@dataclass
class FakeManifests:
    """What `read` gives; by default a good manifest."""

    answers: list[Any] = field(default_factory=list)
    reads: int = 0

    def read(
        self, submission_id: str, attempt: AttemptRef, inputs: Callable[[], Iterable[InputFile]]
    ) -> Manifest | Failure | None:
        self.reads += 1
        answer = self.answers.pop(0) if self.answers else manifest(submission_id, attempt)
        if isinstance(answer, Exception):
            raise answer
        return answer


def manifest(submission_id: str, attempt: AttemptRef, **more: Any) -> Manifest:
    log = OutputFile("stdout", "s3://b/stdout", 0)
    return Manifest(
        submission_id, attempt.token, "job", more.pop("return_code", 0), log, log, **more
    )


class World:
    def __init__(self, **settings: Any) -> None:
        self.clock = Clock()
        self.batch = FakeBatch(self.clock)
        self.manifests = FakeManifests()
        self.over: list[str] = []
        self.poller = Poller(
            self.batch,  # type: ignore[arg-type]
            self.manifests,  # type: ignore[arg-type]
            Settings(**settings),
            AtOnce(),  # type: ignore[arg-type]
            inputs_of=lambda handle, index: [],
            settled=lambda handle: self.over.append(handle.id),
            clock=self.clock,
            condition=Waiting(self.clock),
        )

    def watch(self, jobs: list[Job] | Job, name: str = "a") -> SubmissionHandle:
        size = len(jobs) if isinstance(jobs, list) else 1
        attempts = tuple(AttemptRef("w", "w", "d", f"c-{i}", "c", (i,)) for i in range(size))
        handle = SubmissionHandle(name, name, "b", "q", self.clock.now, attempts)
        self.batch.jobs[name] = jobs
        self.poller.watch(handle, name)
        return handle

    def run(self, seconds: float) -> list[tuple[float, Change]]:
        """All changes within so much time, with the moment they were handed on."""
        end, found = self.clock.now + seconds, list[tuple[float, Change]]()
        while self.clock.now < end:
            found += [(self.clock.now, change) for change in self.poller.changes(1.0)]
        return found

    def finished(self, seconds: float) -> list[tuple[float, Change]]:
        return [(at, c) for at, c in self.run(seconds) if c.state is JobState.FINISHED]


@pytest.mark.parametrize("lasting", [5.0, 60.0, 100.0])
def test_a_thousand_children_cost_few_calls_and_each_is_reported_once(lasting: float) -> None:
    world = World()
    start = world.clock.now
    jobs = [Job(start, start + (i + 1) * lasting / 1000, fails=i % 97 == 0) for i in range(1000)]
    world.watch(jobs)
    found = world.finished(lasting + 60)
    assert sorted(change.index for _, change in found) == list(range(1000))
    assert sum(world.batch.calls.values()) <= 28, world.batch.calls
    last = max(at for at, _ in found)
    assert last - (start + lasting) <= 5
    assert world.over == ["a"]


def test_a_plain_thousand_child_array_of_a_minute_takes_at_most_22_polls() -> None:
    world = World()
    start = world.clock.now
    world.watch([Job(start, start + (i + 1) * 0.06) for i in range(1000)])
    assert len(world.finished(120)) == 1000
    assert sum(world.batch.calls.values()) <= 22, world.batch.calls


def test_children_of_a_long_array_are_noticed_within_half_a_minute() -> None:
    world = World()
    start = world.clock.now
    world.watch([Job(start, start + (i + 1) * 30) for i in range(120)])
    for at, change in world.finished(4000):
        assert at - (start + (change.index + 1) * 30) < 31


def test_listing_goes_through_all_pages() -> None:
    world = World()
    world.batch.page = 100
    start = world.clock.now
    world.watch([Job(start, start + 1) for _ in range(450)])
    assert len(world.finished(60)) == 450


def test_a_single_job_is_noticed_within_a_second_or_two() -> None:
    world = World()
    start = world.clock.now
    world.watch(Job(start + 1, start + 7))
    changes = world.run(60)
    assert [c.state for _, c in changes] == [JobState.RUNNING, JobState.FINISHED]
    assert changes[1][0] - (start + 7) <= 1.1
    assert changes[1][1].failure is None
    assert changes[1][1].manifest is not None


def test_an_old_job_is_noticed_within_seconds() -> None:
    world = World()
    start = world.clock.now
    world.watch(Job(start, start + 36_000.5))
    [(at, _)] = world.finished(36_100)
    assert at - (start + 36_000.5) <= 5.1
    assert world.batch.calls["DescribeJobs"] < 36_000 / 4


def test_thousands_of_single_jobs_stay_below_the_limit_of_calls() -> None:
    world = World()
    start = world.clock.now
    for number in range(3000):
        world.watch(Job(start, start + 50 + number / 100), name=f"job-{number}")
    found = world.finished(120)
    assert len({change.submission_id for _, change in found}) == len(found) == 3000
    times = world.batch.times
    for at in range(int(start), int(start) + 120, 5):
        assert sum(at <= t < at + 5 for t in times) <= 60
    assert world.batch.calls["ListJobs"] == 0


def test_small_arrays_are_described_with_everything_else() -> None:
    world = World()
    start = world.clock.now
    for number in range(10):
        world.watch([Job(start, start + 0.5) for _ in range(3)], name=f"a{number}")
    assert len(world.finished(3)) == 30
    assert world.batch.calls == {"DescribeJobs": 1}


def test_thousands_of_jobs_in_small_arrays_are_noticed_within_seconds() -> None:
    world = World()
    start = world.clock.now
    for number in range(400):
        world.watch([Job(start, start + 100) for _ in range(20)], name=f"a{number}")
    found = world.finished(200)
    assert len(found) == 8000
    assert max(at for at, _ in found) <= start + 100 + 17
    assert len(world.batch.times) <= 120 * 6


def test_a_lagging_listing_loses_nobody() -> None:
    world = World()
    world.batch.lag = 20
    start = world.clock.now
    world.watch([Job(start, start + 1 + i / 10) for i in range(100)])
    found = world.finished(120)
    assert sorted(change.index for _, change in found) == list(range(100))


def test_a_listing_that_never_shows_a_child_is_overruled_by_describing_it() -> None:
    world = World(settle_seconds=10)
    world.batch.lag = 1e9
    start = world.clock.now
    world.watch([Job(start, start + 1) for _ in range(150)])
    assert len(world.finished(60)) == 150


def test_an_array_that_ended_before_its_children_were_made() -> None:
    world = World(settle_seconds=10)

    class Childless(FakeBatch):
        def _detail(self, job_id: str) -> Any:
            if ":" in job_id:
                return None
            return {"jobId": job_id, "status": "FAILED", "statusReason": "MISCONFIGURATION:X"}

        def list_jobs(self, *_: Any, **__: Any) -> Any:
            return {"jobSummaryList": []}

    world.batch.__class__ = Childless
    world.manifests.answers = [None] * 60
    world.watch([Job(0, 0) for _ in range(30)])
    found = world.finished(60)
    assert len(found) == 30
    assert all(c.failure and c.failure.code is FailureCode.SUBMIT_REFUSED for _, c in found)


def test_failing_calls_are_repeated_ever_more_slowly_and_nothing_is_lost() -> None:
    world = World()
    world.batch.failing = [THROTTLED, ReadTimeoutError(endpoint_url="x")] * 5
    start = world.clock.now
    world.watch([Job(start, start + 1) for _ in range(50)])
    world.watch(Job(start, start + 1), name="single")
    found = world.finished(900)
    assert len(found) == 51
    gaps = [b - a for a, b in zip(world.batch.times, world.batch.times[1:], strict=False)]
    assert gaps[3] > gaps[0] > 1
    assert max(gaps) <= 61


def test_a_failure_between_two_calls_of_a_sweep_loses_nothing() -> None:
    world = World()
    start = world.clock.now
    for number in range(250):
        world.watch(Job(start, start + 0.1), name=f"job-{number}")
    world.batch.failing = [THROTTLED]
    real, count = world.batch._call, [0]

    def second_fails(name: str) -> None:
        count[0] += 1
        if count[0] == 2:
            real(name)
        else:
            failing, world.batch.failing = world.batch.failing, []
            real(name)
            world.batch.failing = failing

    world.batch._call = second_fails  # type: ignore[method-assign]
    assert len(world.finished(60)) == 250


def test_a_manifest_that_comes_late_is_waited_for() -> None:
    world = World()
    world.manifests.answers = [None]
    start = world.clock.now
    world.watch(Job(start, start + 1, fails=True, exit_code=1))
    [(_, change)] = world.finished(30)
    assert change.manifest is not None
    assert change.failure is None


def test_a_manifest_that_never_comes_is_replaced_by_what_batch_says() -> None:
    world = World()
    world.manifests.answers = [None, None]
    start = world.clock.now
    world.watch(
        Job(start, start + 1, fails=True, reason="Host EC2 (i-1) terminated", exit_code=None)
    )
    [(_, change)] = world.finished(30)
    assert change.manifest is None
    assert change.failure is not None
    assert change.failure.code is FailureCode.SPOT_LOSS


def test_storage_that_does_not_answer_is_asked_until_it_does() -> None:
    world = World()
    world.manifests.answers = [errors.TryLater("s3 is away")] * 4 + [RuntimeError("bug")]
    start = world.clock.now
    world.watch(Job(start, start + 1))
    [(_, change)] = world.finished(300)
    assert change.manifest is not None
    assert world.manifests.reads == 6


def test_a_refused_manifest_is_a_failure() -> None:
    world = World()
    world.manifests.answers = [Failure(FailureCode.DELOCALIZATION_FAILED, "forged")]
    start = world.clock.now
    world.watch(Job(start, start + 1))
    [(_, change)] = world.finished(30)
    assert change.failure is not None
    assert change.failure.message == "forged"


def test_the_manifest_wins_over_batchs_status() -> None:
    world = World()
    start = world.clock.now
    handle = world.watch(Job(start, start + 1, fails=False))
    world.manifests.answers = [manifest(handle.id, handle.attempts[0], return_code=9)]
    [(_, change)] = world.finished(30)
    assert change.failure is None
    assert change.manifest is not None
    assert change.manifest.return_code == 9


def test_a_wrapper_that_was_told_to_stop_learns_from_batch_why() -> None:
    world = World()
    start = world.clock.now
    handle = world.watch(
        Job(start, start + 1, fails=True, reason="Job attempt duration exceeded timeout")
    )
    stopped = Failure(FailureCode.ABORTED, "told to stop")
    world.manifests.answers = [
        manifest(handle.id, handle.attempts[0], return_code=143, failure=stopped)
    ]
    [(_, change)] = world.finished(30)
    assert change.failure is not None
    assert change.failure.code is FailureCode.TIMEOUT
    assert change.manifest is not None
    assert change.manifest.failure == change.failure


def test_a_job_too_new_to_be_seen_is_not_taken_for_lost() -> None:
    world = World()
    start = world.clock.now
    world.watch(Job(start, start + 30))
    job = world.batch.jobs.pop("a")
    assert not world.finished(20)
    world.batch.jobs["a"] = job
    [(_, change)] = world.finished(60)
    assert change.manifest is not None


@pytest.mark.parametrize("size", [1, 5, 50])
def test_jobs_batch_has_forgotten_are_lost_when_they_left_no_manifest(size: int) -> None:
    world = World()
    world.manifests.answers = [None] * size * 2
    world.watch([Job(0, 0)] * size if size > 1 else Job(0, 0))
    del world.batch.jobs["a"]
    found = world.finished(120)
    assert len(found) == size
    assert all(c.failure and c.failure.code is FailureCode.LOST for _, c in found)


def test_watching_again_reports_nothing_twice() -> None:
    world = World()
    start = world.clock.now
    handle = world.watch(Job(start, start + 1))
    world.poller.watch(handle, "a")
    assert len(world.finished(10)) == 1
    world.poller.watch(handle, "a")
    assert not world.finished(10)


def heard(job_id: str, *, succeeded: bool = True) -> Report:
    return Report(job_id, Ended(succeeded), "job/x/1", 5.0, 6.0)


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_what_is_heard_and_has_a_manifest_is_over_at_once_and_costs_no_call(size: int) -> None:
    world = World()
    now = world.clock.now
    job = Job(now, now + 3000)
    world.watch([job] * size if size > 1 else job)
    world.run(40)
    world.batch.calls.clear()
    name = "a:0" if size > 1 else "a"
    assert world.poller.hint(heard(name)) is Heard.HERE
    assert world.poller.hint(heard(name)) is Heard.HERE  # it comes twice
    [change] = [c for c in world.poller.changes(0.1) if c.state is JobState.FINISHED]
    assert (change.index, change.job_id, change.log_stream) == (0, name, "job/x/1")
    assert (change.started_at, change.ended_at) == (5.0, 6.0)
    assert not world.batch.calls
    assert not [c for _, c in world.finished(30) if c.index == 0]


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_what_is_heard_and_has_no_manifest_is_asked_of_batch(size: int) -> None:
    world = World()
    now = world.clock.now
    end = Job(now, now + 40, fails=True, reason="Host EC2 (instance i-1) terminated.")
    world.watch([end] + [Job(now, now + 9000)] * (size - 1) if size > 1 else end)
    world.run(39)
    world.clock.now = heard_at = now + 41
    world.manifests.answers = [None, None, None]
    assert world.poller.hint(heard("a:0" if size > 1 else "a", succeeded=False)) is Heard.HERE
    [(at, change)] = world.finished(15)
    assert change.failure is not None
    assert change.failure.code is FailureCode.SPOT_LOSS
    assert at - heard_at < 5


def test_a_lie_ends_nothing_and_the_truth_after_it_does() -> None:
    world = World()
    now = world.clock.now
    world.watch([Job(now, now + 5000)] * 30)
    world.run(30)
    world.manifests.answers = [None]
    assert world.poller.hint(heard("a:7")) is Heard.HERE
    assert not world.finished(20)
    world.poller.hint(heard("a:7"))
    [(_, change)] = world.finished(2)
    assert change.index == 7
    assert len(world.finished(5200)) == 29


def test_batch_is_asked_why_the_wrapper_was_stopped_also_where_an_event_says_it() -> None:
    world = World()
    now = world.clock.now
    handle = world.watch(
        Job(now, now + 40, fails=True, reason="Host EC2 (instance i-1) terminated.")
    )
    world.run(39.5)
    world.clock.now += 1
    stopped = manifest("a", handle.attempts[0], failure=Failure(FailureCode.ABORTED, "SIGTERM"))
    world.manifests.answers = [stopped, stopped]
    world.poller.hint(Report("a", Ended(False, "anything that somebody wrote")))
    [(_, change)] = world.finished(10)
    assert change.failure is not None
    assert change.failure.code is FailureCode.SPOT_LOSS


def test_storage_that_fails_when_something_is_heard_fails_nothing() -> None:
    world = World()
    now = world.clock.now
    world.watch(Job(now, now + 10))
    world.run(11)
    world.manifests.answers = [errors.TryLater("S3 is away")]
    world.poller.hint(heard("a"))
    assert len(world.finished(20)) <= 1


def test_hints_about_others_and_about_what_is_over() -> None:
    world = World()
    assert world.poller.hint(heard("unknown:1")) is Heard.ELSEWHERE
    assert not world.poller.busy(0.0)
    world.watch([Job(0, 0)] * 3)
    assert world.poller.busy(0.0)
    for job_id in ("a", "a:99", "a:", "a:x", "a:-1"):
        assert world.poller.hint(heard(job_id)) is Heard.HERE
    assert sorted(c.index for _, c in world.finished(10)) == [0, 1, 2]
    assert world.poller.hint(heard("a:1")) is Heard.HERE
    assert not world.poller.changes(0.5)


def test_waiting_ends_in_time_where_there_is_nothing() -> None:
    world = World()
    before = world.clock.now
    assert world.poller.changes(3.0) == []
    assert world.clock.now - before == pytest.approx(3.0, abs=0.1)
    assert not world.batch.calls
