"""Log streams."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.unit.local_aws.batch.conftest import Cloud, until


def logging_to(**options: str) -> dict[str, Any]:
    given = {name.replace("_", "-"): value for name, value in options.items()}
    return {"logConfiguration": {"logDriver": "awslogs", "options": given}}


def test_output_and_errors_are_events_in_the_stream_of_the_attempt(cloud: Cloud) -> None:
    before = int(time.time() * 1000)
    arn = cloud.define("/bin/sh", "-c", "echo out; echo err >&2; printf 'no end'")
    job = cloud.finished(cloud.submit(cloud.queue(), arn))
    stream = job["container"]["logStreamName"]
    name = arn.rpartition("/")[2].partition(":")[0]
    task = job["container"]["taskArn"].rpartition("/")[2]
    assert stream == f"{name}/default/{task}"
    events = cloud.logs.get_log_events(
        logGroupName="/aws/batch/job", logStreamName=stream, startFromHead=True
    )["events"]
    assert [event["message"] for event in events] == ["out", "err", "no end"]
    after = int(time.time() * 1000)
    assert all(before <= event["timestamp"] <= after for event in events)


def test_group_and_prefix_are_the_definitions(cloud: Cloud) -> None:
    cloud.logs.create_log_group(logGroupName="/mine")
    definition = cloud.define(
        "echo",
        "hello",
        container=logging_to(awslogs_group="/mine", awslogs_stream_prefix="prefix"),
    )
    job = cloud.finished(cloud.submit(cloud.queue(), definition))
    assert job["container"]["logStreamName"].startswith("prefix/default/")
    assert cloud.output(job, "/mine") == ["hello"]
    assert job["container"]["logConfiguration"]["options"]["awslogs-group"] == "/mine"


def test_a_group_that_is_missing_keeps_the_container_from_starting(cloud: Cloud) -> None:
    definition = cloud.define("true", container=logging_to(awslogs_group="/missing"))
    job = cloud.finished(cloud.submit(cloud.queue(), definition))
    assert job["statusReason"] == "Task failed to start"
    assert job["container"]["reason"] == (
        "CannotStartContainerError: Error response from daemon: failed to initialize logging "
        "driver: failed to create Cloudwatch log stream: ResourceNotFoundException: The specified "
        "log group does not exist."
    )
    assert not cloud.logs.describe_log_groups(logGroupNamePrefix="/missing")["logGroups"]


def test_a_group_is_created_when_the_definition_says_so(cloud: Cloud) -> None:
    definition = cloud.define(
        "echo",
        "hello",
        container=logging_to(awslogs_group="/new", awslogs_create_group="true"),
    )
    job = cloud.finished(cloud.submit(cloud.queue(), definition))
    assert cloud.output(job, "/new") == ["hello"]


def test_lines_are_there_while_the_job_runs(cloud: Cloud) -> None:
    definition = cloud.define("/bin/sh", "-c", "echo first; exec sleep 60")
    running = cloud.in_status(cloud.submit(cloud.queue(), definition), "RUNNING")
    until(lambda: cloud.output(running) == ["first"], "the line is written", seconds=5)
    assert cloud.job(running["jobId"])["status"] == "RUNNING"


def test_odd_output_is_kept_as_the_driver_keeps_it(cloud: Cloud) -> None:
    job = cloud.run(
        r"printf 'a\r\n\n\377b\n'; head -c 300000 /dev/zero | tr '\0' x; printf '\nlast\n'"
    )
    lines = cloud.output(job)
    assert lines[:2] == ["a", "\N{REPLACEMENT CHARACTER}b"]  # an empty line is no event
    assert [len(line) for line in lines[2:4]] == [262_118, 300_000 - 262_118]
    assert lines[4:] == ["last"]


def test_much_output_is_kept_whole_and_in_order(cloud: Cloud) -> None:
    job = cloud.run("seq 1 50000")
    stream = job["container"]["logStreamName"]
    events = cloud.backend.logs_backend.groups["/aws/batch/job"].streams[stream].events
    assert [event.message for event in events] == [str(i) for i in range(1, 50_001)]
    stamps = [event.timestamp for event in events]
    assert stamps == sorted(stamps)


def test_a_stream_deleted_while_the_job_runs_does_not_disturb_it(
    cloud: Cloud, tmp_path: Any
) -> None:
    go = tmp_path / "go"
    definition = cloud.define(
        "/bin/sh", "-c", f"echo one; until [ -e {go} ]; do sleep 0.02; done; echo two"
    )
    running = cloud.in_status(cloud.submit(cloud.queue(), definition), "RUNNING")
    until(lambda: cloud.output(running), "the first line")
    cloud.logs.delete_log_group(logGroupName="/aws/batch/job")
    go.touch()
    job = cloud.finished(running["jobId"])
    assert job["status"] == "SUCCEEDED"
    with pytest.raises(cloud.logs.exceptions.ResourceNotFoundException):
        cloud.output(job)
