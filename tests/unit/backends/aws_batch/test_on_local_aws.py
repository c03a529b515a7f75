"""Whole jobs: submitted, run by the wrapper, their changes reported; with AWS misbehaving."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator import errors
from orchestrator.backends.aws_batch import AwsBatchBackend
from orchestrator.backends.base import JobState
from orchestrator.model.failures import FailureCode
from orchestrator.model.job import InputFile, OutputPlan, Shape
from tests.batch_cloud import Cloud, backend_on

from .conftest import collect, submission

Make = Callable[..., AwsBatchBackend]


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not come"
        time.sleep(0.02)


def test_a_job_runs_and_its_manifest_streams_and_outputs_lie_in_cromwells_layout(
    cloud: Cloud, backend: AwsBatchBackend
) -> None:
    etag = cloud.put("s3://root-bucket/in/reads.txt", b"ACGT")
    item = InputFile("s3://root-bucket/in/reads.txt", "{dir}/inputs/reads.txt", size=4, etag=etag)
    job = submission(
        backend,
        "cat '{dir}/inputs/reads.txt'; echo oops >&2; echo done > result.txt",
        inputs=[item],
        outputs=OutputPlan(files=("result.txt",), reads=("result.txt",)),
    )
    job_id = backend.submit(job)
    changes = collect(backend, 1)
    [change] = changes
    assert (change.submission_id, change.index, change.job_id) == (job.handle.id, 0, job_id)
    assert change.failure is None
    assert change.manifest is not None
    assert change.manifest.return_code == 0
    assert change.manifest.job_id == job_id
    assert change.manifest.files["result.txt"].content == b"done\n"
    assert change.started_at is not None
    assert change.ended_at is not None
    assert change.ended_at >= change.started_at > time.time() - 120
    [queue] = change.phases
    assert (queue.name, queue.ended_at <= change.started_at) == ("queue", True)
    assert queue.ended_at >= queue.started_at > time.time() - 120
    assert [phase.name for phase in change.manifest.phases] == ["localize", "command", "delocalize"]
    assert change.manifest.peak_disk_bytes
    base = f"s3://root-bucket/cromwell execution/{job.handle.attempts[0].directory}/call-t"
    assert cloud.get(f"{base}/t-stdout.log") == b"ACGT"
    assert cloud.get(f"{base}/t-stderr.log") == b"oops\n"
    assert cloud.get(f"{base}/t-rc.txt") == b"0\n"
    assert cloud.get(f"{base}/script") == job.jobs[0].script.encode()
    assert cloud.get(f"{base}/result.txt") == b"done\n"
    handle = replace(job.handle, job_id=job_id)
    assert sorted(backend.logs(handle, 0)) == ["ACGToops"] or list(backend.logs(handle, 0))
    assert backend.explain(handle, 0).state == "SUCCEEDED"
    assert not list(cloud.scratch.glob(f"{job.handle.attempts[0].token}*"))
    detail = cloud.client("batch").describe_jobs(jobs=[job_id])["jobs"][0]
    assert detail["jobName"].endswith(job.handle.id)
    assert detail["tags"]["orchestrator:submission"] == job.handle.id
    assert detail["tags"]["label"] == "value"


def test_the_log_of_an_arrays_child_is_read_on_while_it_runs_from_its_own_group(
    cloud: Cloud, backend: AwsBatchBackend, tmp_path: Path
) -> None:
    cloud.client("logs").create_log_group(logGroupName="/of-this-task")
    command = f"echo begun; until [ -e {tmp_path}/go ]; do sleep 0.1; done; echo over"
    job = submission(
        backend,
        "true",
        command,
        shape=Shape(image="busybox", cpu=0.25, memory_mib=64, log_group="/of-this-task"),
    )
    handle = replace(job.handle, job_id=backend.submit(job))
    log, lines = backend_on(cloud).logs(handle, 1), list[str]()
    deadline = time.monotonic() + 60
    while not lines:
        assert time.monotonic() < deadline
        lines += log
        time.sleep(0.1)
    assert lines == ["begun"]
    (tmp_path / "go").touch()
    collect(backend, 2)
    while len(lines) < 2:
        assert time.monotonic() < deadline
        lines += log
        time.sleep(0.1)
    assert lines == ["begun", "over"]
    assert list(log) == []


def test_bundles_are_gone_when_every_job_has_ended(cloud: Cloud, backend: AwsBatchBackend) -> None:
    job = submission(backend, "true", "false")
    prefix = f"s3://root-bucket/scratch/submissions/{job.handle.id}/"
    backend.submit(job)
    assert cloud.keys(prefix)
    collect(backend, 2)
    deadline = time.monotonic() + 20
    while cloud.keys(prefix):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("described_children", [0, 20])
def test_an_array_is_one_submission_and_every_child_finishes_once(
    cloud: Cloud, make_backend: Make, described_children: int
) -> None:
    backend = make_backend(described_children=described_children)
    job = submission(
        backend,
        *[f"echo {i} > out; exit {i}" for i in range(4)],
        outputs=OutputPlan(files=("out",), reads=("out",)),
    )
    cloud.clear_calls()
    job_id = backend.submit(job)
    assert cloud.calls()["batch"]["SubmitJob"] == 1
    changes = collect(backend, 4)
    assert sorted(change.index for change in changes) == [0, 1, 2, 3]
    for change in changes:
        assert change.job_id == f"{job_id}:{change.index}"
        assert change.manifest is not None
        assert change.manifest.return_code == change.index
        assert change.failure is None
        assert change.manifest.files["out"].content == f"{change.index}\n".encode()
    deadline = time.monotonic() + 1.5
    while time.monotonic() < deadline:
        assert not backend.changes(0.2)
    uri = job.jobs[3].work_dir.uri
    assert uri.endswith("/call-t/shard-3")
    assert cloud.get(f"{uri}/t-3-rc.txt") == b"3\n"


def test_more_than_a_bundle_of_jobs(cloud: Cloud, make_backend: Make) -> None:
    backend = make_backend()
    job = submission(backend, *[f"echo {i}" for i in range(104)])
    begun = time.monotonic()
    backend.submit(job)
    changes = collect(backend, 104, seconds=120)
    print(f"104 jobs in {time.monotonic() - begun:.1f} s, {cloud.calls()['batch']}")
    assert sorted(change.index for change in changes) == list(range(104))
    assert cloud.get(job.jobs[103].work_dir.stdout) == b"103\n"


def test_a_running_job_is_reported_with_its_log(backend: AwsBatchBackend, tmp_path: Path) -> None:
    job = submission(
        backend, f"touch {tmp_path}/on; while ! [ -e {tmp_path}/go ]; do sleep 0.05; done"
    )
    backend.submit(job)
    [change] = collect(backend, 1, until=lambda change: change.state is JobState.RUNNING)
    assert change.log_stream
    assert backend.explain(job.handle, 0).state in ("RUNNING", "Unknown")
    (tmp_path / "go").touch()
    collect(backend, 1)


def test_cancelling_ends_running_and_waiting_jobs(backend: AwsBatchBackend, tmp_path: Path) -> None:
    job = submission(backend, *[f"touch {tmp_path}/on-{i}; sleep 600" for i in range(3)])
    job_id = backend.submit(job)
    for index in range(3):
        wait_for(tmp_path / f"on-{index}")
    backend.cancel([(replace(job.handle, job_id=job_id), [1])])
    [one] = collect(backend, 1)
    assert one.index == 1
    assert one.failure is not None
    assert one.failure.code is FailureCode.ABORTED
    backend.cancel([(job.handle, [0, 1, 2])])
    backend.cancel([(job.handle, [0, 1, 2])])
    rest = collect(backend, 2)
    assert {change.index for change in rest} == {0, 2}
    assert all(c.failure and c.failure.code is FailureCode.ABORTED for c in rest)
    assert all(c.manifest and c.manifest.failure == c.failure for c in rest)


def test_a_job_ended_from_outside_says_by_whom(
    cloud: Cloud, backend: AwsBatchBackend, tmp_path: Path
) -> None:
    job = submission(backend, f"touch {tmp_path}/on; sleep 600")
    job_id = backend.submit(job)
    wait_for(tmp_path / "on")
    cloud.client("batch").terminate_job(jobId=job_id, reason="out of money")
    [change] = collect(backend, 1)
    assert change.failure is not None
    assert change.failure.code is FailureCode.ABORTED
    assert "out of money" in change.failure.message


def test_a_lost_host_is_a_spot_loss(cloud: Cloud, backend: AwsBatchBackend, tmp_path: Path) -> None:
    job = submission(backend, f"touch {tmp_path}/on; sleep 600")
    job_id = backend.submit(job)
    wait_for(tmp_path / "on")
    reason = "Host EC2 (instance i-0123456789abcdef0) terminated."
    cloud.client("batch").terminate_job(jobId=job_id, reason=reason)
    [change] = collect(backend, 1)
    assert change.failure is not None
    assert change.failure.code is FailureCode.SPOT_LOSS


def test_a_lost_answer_is_ambiguous_and_the_job_is_found_and_adopted(
    cloud: Cloud, backend: AwsBatchBackend
) -> None:
    job = submission(backend, "echo once")
    cloud.fault(match="batch SubmitJob", lost="after", times=1)
    with pytest.raises(errors.Ambiguous):
        backend.submit(job)
    found = backend.find(job.handle)
    assert found is not None
    [change] = collect(backend, 1)
    assert change.job_id == found
    assert change.manifest is not None
    name = job.handle.name
    listed = cloud.client("batch").list_jobs(
        jobQueue=cloud.deployment.default_queue_arn,
        filters=[{"name": "JOB_NAME", "values": [name]}],
    )["jobSummaryList"]
    assert len(listed) == 1


def test_a_request_that_never_arrived_is_not_found_and_can_be_revoked(
    cloud: Cloud, backend: AwsBatchBackend
) -> None:
    job = submission(backend, "echo never")
    cloud.fault(match="batch SubmitJob", lost="before", times=1)
    with pytest.raises(errors.Ambiguous):
        backend.submit(job)
    assert backend.find(job.handle) is None
    backend.revoke(job.handle)
    backend.revoke(job.handle)
    [key] = cloud.keys(f"s3://root-bucket/scratch/submissions/{job.handle.id}")
    assert cloud.get(f"s3://root-bucket/{key}") == b""


def test_who_was_stopped_while_it_submitted_brings_back_nothing(
    cloud: Cloud, backend: AwsBatchBackend
) -> None:
    """Another server revokes what this one has not sent yet."""
    job = submission(backend, "echo never")
    backend_on(cloud).revoke(job.handle)
    cloud.clear_calls()
    with pytest.raises(errors.NotAllowed, match="revoked"):
        backend.submit(job)
    assert "SubmitJob" not in cloud.calls().get("batch", {})


def test_a_bundle_whose_answer_was_lost_is_not_taken_for_a_revoked_one(
    cloud: Cloud, backend: AwsBatchBackend
) -> None:
    job = submission(backend, "echo ran")
    cloud.fault(match="s3 PutObject", lost="after", times=1)
    backend.submit(job)
    [change] = collect(backend, 1)
    assert change.manifest is not None


def test_a_revoked_submission_runs_nothing_even_if_batch_starts_it(
    cloud: Cloud, backend: AwsBatchBackend
) -> None:
    job = submission(backend, "echo never", "echo never")
    packed = list(backend._bundles.pack(job))
    assert packed
    request = backend._request(job, backend._definitions.arn(job.shape))
    backend.revoke(job.handle)
    job_id = cloud.client("batch").submit_job(**request)["jobId"]
    assert backend.find(replace(job.handle, job_id=job_id)) == job_id
    changes = collect(backend, 2)
    assert all(change.manifest is None for change in changes)
    assert all(change.failure and "was revoked" in change.failure.message for change in changes)
    assert not cloud.keys(job.jobs[0].work_dir.uri)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"error": "TooManyRequestsException", "status": 429}, errors.TryLater),
        ({"error": "ThrottlingException", "status": 400}, errors.TryLater),
        ({"error": "ServerException", "status": 500}, errors.Ambiguous),
        ({"error": "ClientException", "status": 400, "message": "no such thing"}, errors.Invalid),
        ({"error": "AccessDeniedException", "status": 403}, errors.NotAllowed),
    ],
)
def test_errors_of_submit_job_say_whether_it_may_have_started(
    cloud: Cloud, backend: AwsBatchBackend, fault: dict[str, object], kind: type[Exception]
) -> None:
    backend._sleep = lambda seconds: None
    cloud.fault(match="batch SubmitJob", times=5, **fault)
    cloud.clear_calls()
    with pytest.raises(kind) as raised:
        backend.submit(submission(backend, "true"))
    assert type(raised.value) is kind
    # Only what certainly had no effect is tried again.
    assert cloud.calls()["batch"]["SubmitJob"] == (5 if kind is errors.TryLater else 1)
    if fault.get("message"):
        assert "no such thing" in str(raised.value)


def test_a_throttled_submission_is_made_when_aws_takes_it_and_once(
    cloud: Cloud, backend: AwsBatchBackend
) -> None:
    backend._sleep = lambda seconds: None
    cloud.fault(match="batch SubmitJob", error="TooManyRequestsException", status=429, times=3)
    cloud.clear_calls()
    job = submission(backend, "echo ran")
    backend.submit(job)
    assert cloud.calls()["batch"]["SubmitJob"] == 4
    [change] = collect(backend, 1)
    assert change.manifest is not None
    listed = cloud.client("batch").list_jobs(
        jobQueue=cloud.deployment.default_queue_arn,
        filters=[{"name": "JOB_NAME", "values": [job.handle.name]}],
    )
    assert len(listed["jobSummaryList"]) == 1


def test_nothing_is_submitted_when_a_bundle_cannot_be_written(
    cloud: Cloud, backend: AwsBatchBackend
) -> None:
    cloud.fault(match="s3 PutObject", error="AccessDenied", status=403, times=1)
    cloud.clear_calls()
    with pytest.raises(errors.NotAllowed):
        backend.submit(submission(backend, "true"))
    assert "SubmitJob" not in cloud.calls().get("batch", {})


def test_a_failing_poll_loses_nothing(cloud: Cloud, backend: AwsBatchBackend) -> None:
    cloud.fault(match="batch DescribeJobs", error="TooManyRequestsException", status=429, times=6)
    cloud.fault(match="s3 GetObject", error="InternalError", status=500, skip=4, times=7)
    job = submission(backend, "echo a", "echo b")
    backend.submit(job)
    changes = collect(backend, 2, seconds=120)
    assert sorted(change.index for change in changes) == [0, 1]
    assert all(change.manifest for change in changes)


def test_another_process_finds_what_this_one_submitted(make_backend: Make, cloud: Cloud) -> None:
    first, second = make_backend(), make_backend()
    cloud.put("s3://root-bucket/in/x", b"x")
    job = submission(
        first,
        "ln -s '{dir}/inputs/x' same; sleep 0.5",
        "ln -s '{dir}/inputs/x' same",
        inputs=[InputFile("s3://root-bucket/in/x", "{dir}/inputs/x")],
        outputs=OutputPlan(files=("same",)),
    )
    job_id = first.submit(job)
    first.close()
    assert second.find(job.handle) == job_id
    assert second.find(replace(job.handle, job_id=job_id)) == job_id
    changes = collect(second, 2)
    for change in changes:
        assert change.manifest is not None, change.failure
        assert change.manifest.files["same"].uri == "s3://root-bucket/in/x"


def test_a_job_batch_has_forgotten_is_settled_by_its_manifest_or_lost(
    cloud: Cloud, make_backend: Make
) -> None:
    first = make_backend()
    job = submission(first, "echo hi")
    first.submit(job)
    collect(first, 1)
    later = make_backend(vanished_after_seconds=0.3)
    gone = "00000000-0000-0000-0000-000000000000"
    later.find(replace(job.handle, job_id=gone))
    [change] = collect(later, 1)
    assert change.manifest is not None
    other = submission(first, "never", "never")
    later.find(replace(other.handle, job_id=gone))
    changes = collect(later, 2)
    assert all(c.failure and c.failure.code is FailureCode.LOST for c in changes)


def test_a_job_without_a_manifest_is_classified_from_batch(
    cloud: Cloud, backend: AwsBatchBackend, tmp_path: Path
) -> None:
    job = submission(
        backend, f"echo $PPID > {tmp_path}/pid; mv {tmp_path}/pid {tmp_path}/on; sleep 600"
    )
    backend.submit(job)
    wait_for(tmp_path / "on")
    # The wrapper is the parent of the command's session leader.
    wrapper_pid = int((tmp_path / "on").read_text())
    import os
    import signal

    os.kill(wrapper_pid, signal.SIGKILL)
    [change] = collect(backend, 1)
    assert change.manifest is None
    assert change.failure is not None
    assert change.failure.code is FailureCode.LOST


def test_a_manifest_of_another_submission_is_not_accepted(
    cloud: Cloud, backend: AwsBatchBackend, tmp_path: Path
) -> None:
    job = submission(backend, "echo one")
    backend.submit(job)
    collect(backend, 1)
    foreign = cloud.get(job.jobs[0].work_dir.manifest)
    other = submission(backend, f"touch {tmp_path}/on; sleep 600")
    job_id = backend.submit(other)
    wait_for(tmp_path / "on")
    cloud.put(other.jobs[0].work_dir.manifest, foreign)
    cloud.client("batch").terminate_job(jobId=job_id, reason="x" * 3)
    [change] = collect(backend, 1)
    assert change.manifest is not None
    assert change.manifest.submission_id == other.handle.id


def test_a_definition_is_registered_once_for_all_processes(
    cloud: Cloud, make_backend: Make
) -> None:
    shape = Shape(image="image:of-its-own", cpu=1, memory_mib=64, shared_memory_mib=128)
    cloud.clear_calls()
    arns = set()
    for _ in range(2):
        backend = make_backend()
        arns |= {backend._definitions.arn(shape) for _ in range(3)}
        arns.add(backend._definitions.arn(replace(shape, cpu=4, memory_mib=9)))
    assert len(arns) == 1
    assert cloud.calls()["batch"]["RegisterJobDefinition"] == 1
    assert make_backend()._definitions.arn(replace(shape, image="other")) not in arns


def test_a_definition_that_somebody_changed_under_our_name_is_not_used(
    cloud: Cloud, make_backend: Make
) -> None:
    shape = Shape(image="image:hijacked")
    arn = make_backend()._definitions.arn(shape)
    name = arn.rpartition("/")[2].partition(":")[0]
    batch = cloud.client("batch")
    found = batch.describe_job_definitions(jobDefinitionName=name)["jobDefinitions"][0]
    changed = {**found["containerProperties"], "command": ["sh", "-c", "evil"]}
    batch.register_job_definition(
        jobDefinitionName=name, type="container", containerProperties=changed
    )
    assert make_backend()._definitions.arn(shape) == arn
