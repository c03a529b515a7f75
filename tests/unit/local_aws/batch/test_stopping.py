"""Timeouts, TerminateJob, CancelJob."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from orchestrator.local_aws.batch import definitions
from tests.unit.local_aws.batch.conftest import Cloud, until


def test_an_attempt_that_takes_too_long_is_ended_and_not_retried(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(definitions, "LEAST_TIMEOUT_SECONDS", 1)
    job = cloud.run(
        "exec sleep 60",
        timeout={"attemptDurationSeconds": 1},
        retryStrategy={"attempts": 3},
    )
    assert job["status"] == "FAILED"
    assert job["statusReason"] == "Job attempt duration exceeded timeout"
    assert job["attempts"][0]["statusReason"] == "Job attempt duration exceeded timeout"
    assert job["timeout"] == {"attemptDurationSeconds": 1}
    assert len(job["attempts"]) == 1
    assert 1000 <= job["stoppedAt"] - job["startedAt"] < 30_000


def test_a_timeout_runs_for_each_child(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(definitions, "LEAST_TIMEOUT_SECONDS", 1)
    parent = cloud.run(
        '[ "$AWS_BATCH_JOB_ARRAY_INDEX" = 0 ] || exec sleep 60',
        timeout={"attemptDurationSeconds": 1},
        arrayProperties={"size": 2},
    )
    assert parent["status"] == "FAILED"
    reason = cloud.job(f"{parent['jobId']}:1")["statusReason"]
    assert reason == "Job attempt duration exceeded timeout"


def test_timeouts_below_60_seconds_are_refused(cloud: Cloud) -> None:
    with pytest.raises(ClientError, match="at least 60"):
        cloud.submit(cloud.queue(), cloud.define("true"), timeout={"attemptDurationSeconds": 59})
    with pytest.raises(ClientError, match="at least 60"):
        cloud.define("true", timeout={"attemptDurationSeconds": 59})


def test_terminate_ends_a_running_job_with_the_reason_given(cloud: Cloud) -> None:
    job_id = cloud.submit(cloud.queue(), cloud.define("sleep", "60"), retryStrategy={"attempts": 3})
    cloud.in_status(job_id, "RUNNING")
    cloud.batch.terminate_job(jobId=job_id, reason="not needed any more")
    job = cloud.finished(job_id)
    assert job["status"] == "FAILED"
    assert job["statusReason"] == "not needed any more"
    assert job["attempts"][0]["statusReason"] == "not needed any more"
    assert job["container"]["exitCode"] == 143
    assert job["isTerminated"]
    assert not job["isCancelled"]
    assert len(job["attempts"]) == 1


def test_terminate_gives_the_job_time_to_clean_up(cloud: Cloud) -> None:
    definition = cloud.define(
        "/bin/sh", "-c", "trap 'echo cleaned; exit 9' TERM; echo ready; sleep 60 & wait"
    )
    job_id = cloud.submit(cloud.queue(), definition)
    running = cloud.in_status(job_id, "RUNNING")
    until(lambda: cloud.output(running), "the job is ready")
    cloud.batch.terminate_job(jobId=job_id, reason="enough")
    job = cloud.finished(job_id)
    assert job["container"]["exitCode"] == 9
    assert cloud.output(job) == ["ready", "cleaned"]


def test_a_job_that_ignores_sigterm_is_killed_after_the_grace(
    make_cloud: Callable[..., Cloud],
) -> None:
    cloud = make_cloud(stop_grace_seconds=0.3)
    definition = cloud.define("/bin/sh", "-c", "trap '' TERM; echo ready; sleep 60")
    job_id = cloud.submit(cloud.queue(), definition)
    running = cloud.in_status(job_id, "RUNNING")
    until(lambda: cloud.output(running), "the job is ready")
    cloud.batch.terminate_job(jobId=job_id, reason="enough")
    job = cloud.finished(job_id)
    assert job["container"]["exitCode"] == 137
    assert job["statusReason"] == "enough"


def test_terminate_of_a_waiting_job_means_it_never_runs(cloud: Cloud, tmp_path: Path) -> None:
    queue = cloud.queue(cloud.environment(max_vcpus=1))
    first = cloud.submit(queue, cloud.define("sleep", "60"))
    cloud.in_status(first, "RUNNING")
    waiting = cloud.submit(queue, cloud.define("touch", str(tmp_path / "ran")))
    cloud.in_status(waiting, "RUNNABLE")
    cloud.batch.terminate_job(jobId=waiting, reason="enough")
    job = cloud.job(waiting)
    assert (job["status"], job["statusReason"], job["attempts"]) == ("FAILED", "enough", [])
    assert job["isTerminated"]
    cloud.batch.terminate_job(jobId=first, reason="make room")
    cloud.finished(cloud.submit(queue, cloud.define("true")))
    assert not (tmp_path / "ran").exists()


def test_terminate_of_an_array_ends_running_and_waiting_children(cloud: Cloud) -> None:
    queue = cloud.queue(cloud.environment(max_vcpus=2))
    job_id = cloud.submit(queue, cloud.define("sleep", "60"), arrayProperties={"size": 5})
    until(
        lambda: cloud.job(job_id)["arrayProperties"]["statusSummary"]["RUNNING"] == 2,
        "two children run",
    )
    cloud.batch.terminate_job(jobId=job_id, reason="enough")
    parent = cloud.finished(job_id)
    assert (parent["status"], parent["statusReason"]) == ("FAILED", "enough")
    children = [cloud.job(f"{job_id}:{index}") for index in range(5)]
    assert {child["statusReason"] for child in children} == {"enough"}
    assert [len(child["attempts"]) for child in children] == [1, 1, 0, 0, 0]


def test_one_child_can_be_terminated(cloud: Cloud) -> None:
    job_id = cloud.submit(
        cloud.queue(),
        cloud.define("/bin/sh", "-c", '[ "$AWS_BATCH_JOB_ARRAY_INDEX" = 0 ] || exec sleep 60'),
        arrayProperties={"size": 2},
    )
    cloud.in_status(f"{job_id}:1", "RUNNING")
    cloud.batch.terminate_job(jobId=f"{job_id}:1", reason="this one")
    parent = cloud.finished(job_id)
    assert parent["statusReason"] == "Array Child Job failed"
    assert cloud.job(f"{job_id}:0")["status"] == "SUCCEEDED"
    assert cloud.job(f"{job_id}:1")["statusReason"] == "this one"


def test_terminate_leaves_a_finished_job_alone(cloud: Cloud) -> None:
    job = cloud.run("true")
    cloud.batch.terminate_job(jobId=job["jobId"], reason="too late")
    assert cloud.job(job["jobId"]) == job


def test_cancel_ends_a_waiting_job(cloud: Cloud) -> None:
    queue = cloud.queue(cloud.environment(max_vcpus=1))
    cloud.in_status(cloud.submit(queue, cloud.define("sleep", "60")), "RUNNING")
    waiting = cloud.submit(queue, cloud.define("true"))
    cloud.in_status(waiting, "RUNNABLE")
    cloud.batch.cancel_job(jobId=waiting, reason="changed my mind")
    job = cloud.job(waiting)
    assert (job["status"], job["statusReason"]) == ("FAILED", "changed my mind")
    assert job["isCancelled"]


def test_cancel_succeeds_without_effect_on_a_running_job(cloud: Cloud, tmp_path: Path) -> None:
    go = tmp_path / "go"
    job_id = cloud.submit(
        cloud.queue(), cloud.define("/bin/sh", "-c", f"until [ -e {go} ]; do sleep 0.05; done")
    )
    cloud.in_status(job_id, "RUNNING")
    cloud.batch.cancel_job(jobId=job_id, reason="changed my mind")
    go.touch()
    job = cloud.finished(job_id)
    assert job["status"] == "SUCCEEDED"
    assert not job["isCancelled"]


def test_cancel_of_an_array_lets_running_children_end(cloud: Cloud, tmp_path: Path) -> None:
    go = tmp_path / "go"
    queue = cloud.queue(cloud.environment(max_vcpus=1))
    job_id = cloud.submit(
        queue,
        cloud.define("/bin/sh", "-c", f"until [ -e {go} ]; do sleep 0.05; done"),
        arrayProperties={"size": 3},
    )
    cloud.in_status(f"{job_id}:0", "RUNNING")
    cloud.batch.cancel_job(jobId=job_id, reason="changed my mind")
    assert cloud.job(job_id)["status"] == "PENDING"
    go.touch()
    parent = cloud.finished(job_id)
    assert parent["status"] == "FAILED"
    assert parent["arrayProperties"]["statusSummary"]["SUCCEEDED"] == 1
    assert parent["arrayProperties"]["statusSummary"]["FAILED"] == 2


def test_unknown_jobs_and_empty_reasons_are_refused(cloud: Cloud) -> None:
    job = cloud.run("true")["jobId"]
    for verb in (cloud.batch.terminate_job, cloud.batch.cancel_job):
        with pytest.raises(ClientError, match="Job nothing not found"):
            verb(jobId="nothing", reason="x")
        with pytest.raises(ClientError, match="reason"):
            verb(jobId=job, reason="")
        with pytest.raises(ClientError, match="reason"):
            verb(jobId=job, reason="x" * 1025)


def test_deleting_a_queue_ends_its_jobs(cloud: Cloud) -> None:
    queue = cloud.queue(cloud.environment(max_vcpus=1))
    running = cloud.submit(queue, cloud.define("sleep", "60"))
    cloud.in_status(running, "RUNNING")
    waiting = cloud.submit(queue, cloud.define("true"))
    cloud.batch.delete_job_queue(jobQueue=queue)
    assert cloud.finished(running)["status"] == "FAILED"
    assert cloud.finished(waiting)["statusReason"] == "The job queue was deleted"
