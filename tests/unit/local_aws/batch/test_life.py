"""From submission to the end: statuses, exit codes, attempts, environment."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.unit.local_aws.batch.conftest import REGION, Cloud

ORDER = ["SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED"]


def test_a_job_that_exits_with_0_succeeded(cloud: Cloud) -> None:
    job = cloud.run("true")
    assert job["status"] == "SUCCEEDED"
    assert job["statusReason"] == "Essential container in task exited"
    assert job["container"]["exitCode"] == 0
    assert "reason" not in job["container"]
    assert job["createdAt"] <= job["startedAt"] <= job["stoppedAt"]


def test_an_exit_code_is_reported(cloud: Cloud) -> None:
    job = cloud.run("exit 42")
    assert job["status"] == "FAILED"
    assert job["statusReason"] == "Essential container in task exited"
    assert job["container"]["exitCode"] == 42


def test_a_signal_is_reported_as_a_shell_does(cloud: Cloud) -> None:
    assert cloud.run("kill -SEGV $$")["container"]["exitCode"] == 139


def test_the_attempt_is_on_record_when_it_has_ended(cloud: Cloud) -> None:
    queue = cloud.queue()
    job_id = cloud.submit(queue, cloud.define("sleep", "60"))
    running = cloud.in_status(job_id, "RUNNING")
    assert running["attempts"] == []
    assert running["container"]["logStreamName"]
    cloud.batch.terminate_job(jobId=job_id, reason="enough")
    job = cloud.finished(job_id)
    (attempt,) = job["attempts"]
    assert attempt["container"]["exitCode"] == 143
    assert attempt["container"]["logStreamName"] == job["container"]["logStreamName"]
    assert attempt["container"]["taskArn"].rpartition("/")[2] in job["container"]["logStreamName"]
    assert attempt["startedAt"] <= attempt["stoppedAt"]


def test_statuses_never_go_backwards(cloud: Cloud) -> None:
    job_id = cloud.submit(cloud.queue(), cloud.define("sleep", "0.2"), arrayProperties={"size": 20})
    seen: dict[str, list[str]] = {}
    while cloud.job(job_id)["status"] not in ("SUCCEEDED", "FAILED"):
        for job in cloud.batch.describe_jobs(jobs=[f"{job_id}:{i}" for i in range(20)])["jobs"]:
            statuses = seen.setdefault(job["jobId"], [])
            if not statuses or statuses[-1] != job["status"]:
                statuses.append(job["status"])
    assert len(seen) == 20
    for statuses in seen.values():
        assert statuses == sorted(statuses, key=ORDER.index)
        assert "RUNNING" in statuses


def test_a_program_that_is_missing_fails_to_start(cloud: Cloud) -> None:
    job = cloud.finished(cloud.submit(cloud.queue(), cloud.define("no-such-program")))
    assert job["status"] == "FAILED"
    assert job["statusReason"] == "Task failed to start"
    assert job["container"]["reason"].startswith("CannotStartContainerError: Error response from")
    assert "executable file not found in $PATH" in job["container"]["reason"]
    assert "exitCode" not in job["container"]
    assert "startedAt" not in job
    assert job["attempts"][0]["statusReason"] == "Task failed to start"


def test_a_job_without_command_fails_to_start(cloud: Cloud) -> None:
    job = cloud.finished(cloud.submit(cloud.queue(), cloud.define()))
    assert "No command specified" in job["container"]["reason"]


def test_the_environment_says_which_job_this_is(cloud: Cloud) -> None:
    environment = cloud.environment()
    queue = cloud.queue(environment)
    job = cloud.run("env", queue)
    variables = dict(line.split("=", 1) for line in cloud.output(job))
    assert variables["AWS_BATCH_JOB_ID"] == job["jobId"]
    assert variables["AWS_BATCH_JOB_ATTEMPT"] == "1"
    assert variables["AWS_BATCH_JQ_NAME"] == queue
    assert variables["AWS_BATCH_CE_NAME"] == environment
    assert variables["AWS_REGION"] == variables["AWS_DEFAULT_REGION"] == REGION
    assert variables["AWS_ENDPOINT_URL"] == variables["S3_ENDPOINT_URL"] == "http://127.0.0.1:1"
    assert variables["AWS_ACCESS_KEY_ID"]
    assert variables["AWS_SECRET_ACCESS_KEY"]


def test_overrides_win_over_the_definition_and_it_over_the_engine(cloud: Cloud) -> None:
    definition = cloud.define(
        "/bin/sh",
        "-c",
        "echo $A $B $C $AWS_ENDPOINT_URL",
        container={
            "environment": [
                {"name": "A", "value": "definition"},
                {"name": "B", "value": "definition"},
                {"name": "AWS_ENDPOINT_URL", "value": "http://other"},
            ]
        },
    )
    job = cloud.finished(
        cloud.submit(
            cloud.queue(),
            definition,
            containerOverrides={
                "environment": [
                    {"name": "B", "value": "override"},
                    {"name": "C", "value": "two\nlines"},
                ]
            },
        )
    )
    assert cloud.output(job) == ["definition override two lines http://other"]
    assert {"name": "B", "value": "override"} in job["container"]["environment"]
    assert not [one for one in job["container"]["environment"] if "AWS_BATCH" in one["name"]]


def test_command_and_resources_are_overridden(cloud: Cloud) -> None:
    job = cloud.finished(
        cloud.submit(
            cloud.queue(),
            cloud.define("false", vcpus=1, memory=64),
            containerOverrides={
                "command": ["echo", "overridden"],
                "resourceRequirements": [{"type": "MEMORY", "value": "128"}],
            },
        )
    )
    assert cloud.output(job) == ["overridden"]
    assert {(one["type"], one["value"]) for one in job["container"]["resourceRequirements"]} == {
        ("VCPU", "1"),
        ("MEMORY", "128"),
    }


def test_parameters_are_filled_in(cloud: Cloud) -> None:
    definition = cloud.define(
        "echo", "Ref::a/Ref::b", "Ref::unknown", "xRef::a", parameters={"a": "1", "b": "2"}
    )
    job = cloud.finished(cloud.submit(cloud.queue(), definition, parameters={"b": "3"}))
    assert cloud.output(job) == ["1/3 Ref::unknown x1"]
    assert job["parameters"] == {"a": "1", "b": "3"}


def test_tags_are_given_back(cloud: Cloud) -> None:
    job = cloud.run("true", tags={"team": "blue", "empty": ""})
    assert job["tags"] == {"team": "blue", "empty": ""}
    assert cloud.batch.list_tags_for_resource(resourceArn=job["jobArn"])["tags"] == job["tags"]


def test_too_many_propagated_tags_fail_the_job(cloud: Cloud) -> None:
    definition = cloud.define("true", tags={f"definition-{i}": "" for i in range(30)})
    queue = cloud.queue()
    own = {f"job-{i}": "" for i in range(30)}
    assert cloud.finished(cloud.submit(queue, definition, tags=own))["status"] == "SUCCEEDED"
    job = cloud.finished(cloud.submit(queue, definition, tags=own, propagateTags=True))
    assert job["status"] == "FAILED"
    assert "tags" in job["statusReason"]


def test_describe_jobs_leaves_out_what_it_does_not_know(cloud: Cloud) -> None:
    job = cloud.run("true")
    answer = cloud.batch.describe_jobs(jobs=["unknown", job["jobArn"], job["jobId"]])
    assert [one["jobId"] for one in answer["jobs"]] == [job["jobId"]]


def test_describe_jobs_takes_100_ids(cloud: Cloud) -> None:
    assert cloud.batch.describe_jobs(jobs=[str(i) for i in range(100)])["jobs"] == []
    with pytest.raises(ClientError, match="at most 100"):
        cloud.batch.describe_jobs(jobs=[str(i) for i in range(101)])


def test_submissions_from_many_threads_all_run(cloud: Cloud) -> None:
    queue, definition = cloud.queue(), cloud.define("true")
    ids: list[str] = []

    def submit() -> None:
        for _ in range(10):
            ids.append(cloud.submit(queue, definition))

    threads = [threading.Thread(target=submit) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    jobs: list[dict[str, Any]] = [cloud.finished(job_id) for job_id in ids]
    assert len(set(ids)) == 40
    assert {job["status"] for job in jobs} == {"SUCCEEDED"}
