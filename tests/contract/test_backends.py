"""What every backend promises, checked on each of them.

To add a backend: a context manager that makes a `Lab`, in `LABS`. Scripts here are POSIX sh and
touch nothing but their own directories, so they run in any image.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from orchestrator import errors
from orchestrator.backends.base import Backend, Change, JobState
from orchestrator.backends.local import LocalBackend
from orchestrator.model.attempt import AttemptRef
from orchestrator.model.failures import FailureCode
from orchestrator.model.job import (
    InlineFile,
    InputFile,
    JobSpec,
    OutputPlan,
    Shape,
    Submission,
    SubmissionHandle,
)
from orchestrator.model.manifest import Manifest
from tests import batch_cloud, containers


@dataclass
class Lab:
    """A backend, a way to make another one over the same records, and what its jobs look like.

    `put` makes an input and gives its URI; `read` reads a kept file by its URI.
    """

    make: Callable[[], Backend]
    shape: Shape
    put: Callable[[str, bytes], str]
    read: Callable[[str], bytes]
    seconds: float = 60.0  # within which a job that does nothing is over
    backends: list[Backend] = field(default_factory=list)
    seen: dict[int, list[Change]] = field(default_factory=dict)
    count: int = 0

    def backend(self) -> Backend:
        """The backend that runs now."""
        if not self.backends:
            self.backends.append(self.make())
        return self.backends[-1]

    def restart(self) -> Backend:
        """Close the backend and make another, as a new process would."""
        self.backend().close()
        self.backends.append(self.make())
        return self.backend()

    def close(self) -> None:
        for backend in self.backends:
            backend.close()

    def job(
        self,
        script: str,
        *,
        inputs: Mapping[str, str] | None = None,
        inline: Mapping[str, bytes] | None = None,
        outputs: OutputPlan | None = None,
    ) -> JobSpec:
        """`inputs`: name -> URI, `inline`: name -> content; both lie in `../inputs/`."""
        self.count += 1
        attempt = AttemptRef("root-id", "root-id", "flow/root-id", f"call-t-{self.count}", "t",
                             (self.count,))  # fmt: skip
        work_dir = self.backend().work_dir(attempt)
        below = work_dir.path.rpartition("/")[0] + "/inputs"
        return JobSpec(
            attempt=attempt,
            work_dir=work_dir,
            script=script,
            inputs=tuple(InputFile(u, f"{below}/{n}") for n, u in (inputs or {}).items()),
            inline_files=tuple(InlineFile(f"{below}/{n}", c) for n, c in (inline or {}).items()),
            outputs=outputs or OutputPlan(),
        )

    def submission(self, *jobs: JobSpec, shape: Shape | None = None) -> Submission:
        identity = secrets.token_hex(16)
        handle = SubmissionHandle(
            id=identity,
            name=f"t-{identity}",
            backend=self.backend().name,
            queue=self.shape.queue,
            created_at=time.time(),
            attempts=tuple(job.attempt for job in jobs),
        )
        return Submission(handle, shape or self.shape, jobs, (("workflow", "root-id"),))

    def submit(self, *jobs: JobSpec, shape: Shape | None = None) -> SubmissionHandle:
        submission = self.submission(*jobs, shape=shape)
        return replace(submission.handle, job_id=self.backend().submit(submission))

    def wait(
        self,
        handle: SubmissionHandle,
        state: JobState = JobState.FINISHED,
        indices: Sequence[int] | None = None,
    ) -> dict[int, Change]:
        """The changes of these jobs to this state. Everything seen is kept in `seen`."""
        wanted = set(range(len(handle.attempts)) if indices is None else indices)
        found: dict[int, Change] = {}
        deadline = time.monotonic() + self.seconds
        while set(found) != wanted:
            assert time.monotonic() < deadline, f"of {wanted} only {set(found)} became {state}"
            for change in self.backend().changes(0.2):
                if change.submission_id != handle.id:
                    continue
                self.seen.setdefault(change.index, []).append(change)
                if change.state is state:
                    assert change.index not in found or state is JobState.RUNNING
                    found[change.index] = change
        return found

    def finished(self, handle: SubmissionHandle, index: int = 0) -> Manifest:
        """The manifest of a job that must have one."""
        manifest = self.wait(handle)[index].manifest
        assert manifest is not None
        return manifest


@contextlib.contextmanager
def _local(tmp_path: Path, image: str = "") -> Iterator[Lab]:
    inputs = tmp_path / "in puts"
    inputs.mkdir()

    def put(name: str, content: bytes) -> str:
        (inputs / name).write_bytes(content)
        return str(inputs / name)

    def make() -> Backend:
        return LocalBackend(
            tmp_path / "executions", cores=4, memory_mib=4096, containers="auto", grace_seconds=2
        )

    shape = Shape(image=image, cpu=1, memory_mib=64)
    yield Lab(make, shape, put, lambda uri: Path(uri).read_bytes())


@contextlib.contextmanager
def _docker(tmp_path: Path) -> Iterator[Lab]:
    if reason := containers.why_not():
        pytest.skip(reason)
    with _local(tmp_path, containers.image()) as lab:
        yield lab


@functools.cache
def _cloud() -> batch_cloud.Cloud:
    """One AWS for all tests of this process; it ends with it."""
    # Not TemporaryDirectory: it removes itself before what is registered here is called.
    base = Path(tempfile.mkdtemp(prefix="batch-contract-"))
    ending = contextlib.ExitStack()
    ending.callback(shutil.rmtree, base)
    cloud = ending.enter_context(batch_cloud.running(base))
    atexit.register(ending.close)
    return cloud


@contextlib.contextmanager
def _aws_batch(_: Path) -> Iterator[Lab]:
    cloud = _cloud()

    def put(name: str, content: bytes) -> str:
        uri = f"s3://{cloud.deployment.bucket}/in puts/{secrets.token_hex(4)}/{name}"
        cloud.put(uri, content)
        return uri

    # Attempts are named alike in every test: a root of their own keeps their files apart.
    root = f"s3://{cloud.deployment.bucket}/root {secrets.token_hex(4)}"
    shape = Shape(image="busybox", cpu=1, memory_mib=64)
    yield Lab(lambda: batch_cloud.backend_on(cloud, root=root), shape, put, cloud.get)


LABS = {
    "aws-batch": pytest.param(_aws_batch, id="aws-batch"),
    "local": pytest.param(_local, id="local"),
    "local-docker": pytest.param(_docker, id="local-docker", marks=pytest.mark.docker),
}


@pytest.fixture(params=LABS.values())
def lab(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lab]:
    with request.param(tmp_path) as lab, contextlib.closing(lab):
        yield lab


def test_a_job_runs_and_leaves_a_manifest_of_its_own(lab: Lab) -> None:
    job = lab.job("echo to stdout; echo to stderr >&2", outputs=OutputPlan())
    handle = lab.submit(job)
    change = lab.wait(handle)[0]
    manifest = change.manifest
    assert manifest is not None
    assert manifest.belongs_to(handle.id, job.attempt.token)
    assert (manifest.return_code, manifest.failure) == (0, None)
    assert lab.read(manifest.stdout.uri) == b"to stdout\n"
    assert lab.read(manifest.stderr.uri) == b"to stderr\n"
    assert manifest.stdout.uri == job.work_dir.stdout
    assert "to stderr" in manifest.stderr_tail
    assert [phase.name for phase in manifest.phases] == ["localize", "command", "delocalize"]
    assert lab.read(job.work_dir.return_code).strip() == b"0"
    assert change.failure is None
    assert change.job_id == handle.job_id
    assert change.started_at is not None
    assert change.ended_at is not None
    assert change.started_at <= change.ended_at


def test_changes_come_in_order_and_the_end_only_once(lab: Lab) -> None:
    handle = lab.submit(lab.job("sleep 0.3"), lab.job("sleep 0.3"))
    lab.wait(handle)
    deadline = time.monotonic() + 1.5
    while time.monotonic() < deadline:
        assert [c for c in lab.backend().changes(0.2) if c.submission_id == handle.id] == []
    order = list(JobState)
    for changes in lab.seen.values():
        states = [order.index(change.state) for change in changes]
        assert states == sorted(states)
        assert [change.state for change in changes].count(JobState.FINISHED) == 1


def test_every_job_of_an_array_runs_its_own_script(lab: Lab) -> None:
    jobs = [lab.job(f"echo I am {number}") for number in range(5)]
    handle = lab.submit(*jobs)
    ends = lab.wait(handle)
    assert len({change.job_id for change in ends.values()}) == 5
    for index, job in enumerate(jobs):
        manifest = ends[index].manifest
        assert manifest is not None
        assert manifest.belongs_to(handle.id, job.attempt.token)
        assert lab.read(manifest.stdout.uri) == f"I am {index}\n".encode()


def test_a_return_code_is_told_not_judged(lab: Lab) -> None:
    change = lab.wait(lab.submit(lab.job("exit 3")))[0]
    assert change.failure is None
    assert change.manifest is not None
    assert (change.manifest.return_code, change.manifest.failure) == (3, None)


def test_inputs_come_in_and_outputs_are_found(lab: Lab) -> None:
    uri = lab.put("reads 'a' $x.txt", b"ACGT\n")
    script = """
        cat "../inputs/reads 'a' \\$x.txt" ../inputs/inline > joined.txt
        mkdir sub && echo b > sub/b.txt && echo a > sub/a.txt
        ls -A > listing
    """
    job = lab.job(
        script,
        inputs={"reads 'a' $x.txt": uri},
        inline={"inline": b"inline\n"},
        outputs=OutputPlan(
            files=("joined.txt", "missing.txt"),
            globs=("sub/*.txt",),
            reads=("joined.txt", "listing"),
        ),
    )
    job = replace(job, outputs=replace(job.outputs, files=(*job.outputs.files, "listing")))
    manifest = lab.finished(lab.submit(job))
    assert (manifest.return_code, manifest.failure) == (0, None)
    joined = manifest.files["joined.txt"]
    assert joined.content == b"ACGT\ninline\n"
    assert joined.uri == f"{job.work_dir.uri}/joined.txt"
    assert lab.read(joined.uri) == b"ACGT\ninline\n"
    assert "missing.txt" not in manifest.files
    assert manifest.globs["sub/*.txt"] == ("sub/a.txt", "sub/b.txt")
    # The command's directory is its own: a glob never meets files of the backend.
    assert manifest.files["listing"].content == b"joined.txt\nlisting\nsub\n"


def test_an_input_that_is_not_there_fails_the_attempt_before_its_command(lab: Lab) -> None:
    gone = lab.put("gone", b"") + "-not"
    job = lab.job("echo ran > ../inputs/ran", inputs={"gone": gone})
    manifest = lab.finished(lab.submit(job))
    assert manifest.return_code is None
    assert manifest.failure is not None
    assert manifest.failure.code is FailureCode.LOCALIZATION_FAILED
    assert "gone-not" in manifest.failure.message


def test_a_running_job_is_cancelled(lab: Lab) -> None:
    handle = lab.submit(lab.job("echo began; sleep 300; echo went on"))
    lab.wait(handle, JobState.RUNNING)
    began = time.monotonic()
    lab.backend().cancel([(handle, [0])])
    lab.backend().cancel([(handle, [0])])
    change = lab.wait(handle)[0]
    assert time.monotonic() - began < 60
    failure = change.manifest.failure if change.manifest else change.failure
    assert failure is not None
    assert failure.code is FailureCode.ABORTED


def test_some_jobs_of_an_array_are_cancelled_and_the_others_go_on(lab: Lab) -> None:
    handle = lab.submit(*(lab.job("sleep 2; echo done") for _ in range(3)))
    lab.backend().cancel([(handle, [1])])
    ends = lab.wait(handle)
    for index in (0, 2):
        manifest = ends[index].manifest
        assert manifest is not None
        assert manifest.return_code == 0
    failure = ends[1].manifest.failure if ends[1].manifest else ends[1].failure
    assert failure is not None
    assert failure.code is FailureCode.ABORTED


def test_a_running_job_is_found_after_a_restart_and_ran_once(lab: Lab) -> None:
    job = lab.job("echo once >> ../inputs/ledger; sleep 2; cat ../inputs/ledger",
                  inline={"other": b""})  # fmt: skip
    handle = lab.submit(job)
    lab.wait(handle, JobState.RUNNING)
    again = lab.restart()
    assert again.find(handle) == handle.job_id
    assert again.find(handle) == handle.job_id
    manifest = lab.finished(handle)
    assert lab.read(manifest.stdout.uri) == b"once\n"


def test_a_finished_job_is_found_after_a_restart_without_its_id(lab: Lab) -> None:
    job = lab.job("echo hello")
    handle = lab.submit(job)
    lab.wait(handle)
    again = lab.restart()
    assert again.find(replace(handle, job_id=None)) == handle.job_id
    manifest = lab.finished(handle)
    assert manifest.belongs_to(handle.id, job.attempt.token)
    assert lab.read(manifest.stdout.uri) == b"hello\n"


def test_what_was_never_submitted_is_not_found(lab: Lab) -> None:
    assert lab.backend().find(lab.submission(lab.job("true")).handle) is None


def test_a_revoked_submission_never_runs(lab: Lab) -> None:
    submission = lab.submission(lab.job("echo ran"))
    lab.backend().revoke(submission.handle)
    lab.backend().revoke(submission.handle)
    with contextlib.suppress(errors.OrchestratorError):
        lab.backend().submit(submission)
    for change in lab.backend().changes(2.0):
        assert change.manifest is None
        assert change.state is not JobState.RUNNING
    with pytest.raises(OSError):  # noqa: PT011 - nothing was written, whatever the storage says
        lab.read(submission.jobs[0].work_dir.stdout)


def test_revoking_what_has_ended_changes_nothing(lab: Lab) -> None:
    handle = lab.submit(lab.job("echo hello"))
    manifest = lab.finished(handle)
    lab.backend().revoke(handle)
    assert lab.read(manifest.stdout.uri) == b"hello\n"


def test_an_ordinary_shape_fits(lab: Lab) -> None:
    assert lab.backend().fits(lab.shape) is None


def test_the_log_holds_what_the_command_says(lab: Lab) -> None:
    handle = lab.submit(lab.job("echo one; echo two >&2; echo three"))
    lab.wait(handle)
    lines = list(lab.backend().logs(handle, 0))
    assert {"one", "two", "three"} <= set(lines)
    assert lines.index("one") < lines.index("three")


def test_a_job_is_explained_at_every_stage(lab: Lab) -> None:
    handle = lab.submit(lab.job("sleep 1"))
    lab.wait(handle, JobState.RUNNING)
    running = lab.backend().explain(handle, 0)
    assert running.state
    assert running.cause
    lab.wait(handle)
    assert lab.backend().explain(handle, 0).cause


def test_the_place_of_an_attempt_is_its_own_and_always_the_same(lab: Lab) -> None:
    first = AttemptRef("r", "r", "flow/r", "call-t", "t")
    other = AttemptRef("r", "r", "flow/r", "call-t-0", "t", (0,))
    places = {
        lab.backend().work_dir(attempt).path
        for attempt in (first, replace(first, attempt=2), other)
    }
    assert len(places) == 3
    assert lab.backend().work_dir(first) == lab.restart().work_dir(first)


def test_a_name_that_cannot_be_carried_is_refused_and_nothing_starts(lab: Lab) -> None:
    job = lab.job("echo ran", inputs={"x": lab.put("x", b"")})
    bad = replace(job, inputs=(replace(job.inputs[0], path=job.inputs[0].path + "\0x"),))
    submission = lab.submission(bad)
    with pytest.raises(errors.InvalidInputs):
        lab.backend().submit(submission)
    assert lab.backend().find(submission.handle) is None
