"""Array jobs."""

from __future__ import annotations

import re
import time

import pytest
from botocore.exceptions import ClientError

from tests.unit.local_aws.batch.conftest import Cloud, until
from tests.unit.wdl.drive import lines_run

SUMMARY = ["SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED"]


def test_children_know_their_index_and_the_size(cloud: Cloud) -> None:
    parent = cloud.run(
        "echo $AWS_BATCH_JOB_ARRAY_INDEX of $AWS_BATCH_JOB_ARRAY_SIZE: $AWS_BATCH_JOB_ID",
        arrayProperties={"size": 3},
    )
    assert parent["status"] == "SUCCEEDED"
    for index in range(3):
        child = cloud.job(f"{parent['jobId']}:{index}")
        assert child["arrayProperties"]["index"] == index
        assert child["jobArn"] == f"{parent['jobArn']}:{index}"
        assert cloud.output(child) == [f"{index} of 3: {parent['jobId']}:{index}"]


def test_a_single_job_has_no_array_variables(cloud: Cloud) -> None:
    job = cloud.run("env")
    assert not [line for line in cloud.output(job) if "ARRAY" in line]
    assert "arrayProperties" not in job


def test_the_parent_is_pending_while_children_run(cloud: Cloud) -> None:
    job_id = cloud.submit(cloud.queue(), cloud.define("sleep", "60"), arrayProperties={"size": 2})
    cloud.in_status(f"{job_id}:1", "RUNNING")
    parent = cloud.job(job_id)
    assert parent["status"] == "PENDING"
    assert sorted(parent["arrayProperties"]["statusSummary"]) == sorted(SUMMARY)
    assert sum(parent["arrayProperties"]["statusSummary"].values()) == 2
    assert parent["arrayProperties"]["size"] == 2
    assert parent["attempts"] == []


def test_one_failed_child_fails_the_parent_when_all_have_ended(cloud: Cloud) -> None:
    parent = cloud.run("exit $AWS_BATCH_JOB_ARRAY_INDEX", arrayProperties={"size": 3})
    assert parent["status"] == "FAILED"
    assert parent["statusReason"] == "Array Child Job failed"
    summary = parent["arrayProperties"]["statusSummary"]
    assert (summary["SUCCEEDED"], summary["FAILED"]) == (1, 2)
    assert [
        cloud.job(f"{parent['jobId']}:{index}")["container"]["exitCode"] for index in range(3)
    ] == [0, 1, 2]
    assert "exitCode" not in parent["container"]


def test_children_are_listed_by_status_and_page(cloud: Cloud) -> None:
    parent = cloud.run("exit $((AWS_BATCH_JOB_ARRAY_INDEX % 2))", arrayProperties={"size": 7})[
        "jobId"
    ]
    failed = cloud.listed(arrayJobId=parent, jobStatus="FAILED", maxResults=2)
    assert [row["arrayProperties"]["index"] for row in failed] == [1, 3, 5]
    assert [row["container"]["exitCode"] for row in failed] == [1, 1, 1]
    succeeded = cloud.listed(arrayJobId=parent, jobStatus="SUCCEEDED", maxResults=3)
    assert [row["jobId"] for row in succeeded] == [f"{parent}:{i}" for i in (0, 2, 4, 6)]
    assert cloud.listed(arrayJobId=parent) == []  # RUNNING is what is meant by default


def test_children_are_not_listed_with_the_queue(cloud: Cloud) -> None:
    queue = cloud.queue()
    parent = cloud.run("true", queue, arrayProperties={"size": 2})["jobId"]
    rows = cloud.listed(jobQueue=queue, jobStatus="SUCCEEDED")
    assert [row["jobId"] for row in rows] == [parent]
    assert rows[0]["arrayProperties"] == {"size": 2}


def test_children_are_retried_each_on_its_own(cloud: Cloud) -> None:
    parent = cloud.run(
        '[ "$AWS_BATCH_JOB_ARRAY_INDEX" != 1 ] || [ "$AWS_BATCH_JOB_ATTEMPT" = 2 ]',
        arrayProperties={"size": 3},
        retryStrategy={"attempts": 3},
    )
    assert parent["status"] == "SUCCEEDED"
    tries = [len(cloud.job(f"{parent['jobId']}:{index}")["attempts"]) for index in range(3)]
    assert tries == [1, 2, 1]


@pytest.mark.parametrize("size", [0, 1, 10_001])
def test_sizes_that_batch_does_not_take_are_refused(cloud: Cloud, size: int) -> None:
    with pytest.raises(ClientError, match="between 2 and 10000"):
        cloud.submit(cloud.queue(), cloud.define("true"), arrayProperties={"size": size})


def test_ten_thousand_children_are_taken_in_and_terminated_quickly(cloud: Cloud) -> None:
    queue, definition = cloud.queue(), cloud.define("sleep", "600")
    jobs: list[str] = []

    def lines_a_child(size: int) -> float:
        """Of the call that takes the array in."""

        def submit() -> None:
            jobs.append(cloud.submit(queue, definition, arrayProperties={"size": size}))

        return lines_run(submit) / size

    lines_a_child(2)  # the first call loads what it needs
    few, many = lines_a_child(1_000), lines_a_child(10_000)
    assert many < 1.1 * few
    assert many < 100
    job_id = jobs[-1]
    cloud.in_status(f"{job_id}:9999", "RUNNABLE")
    began = time.process_time()
    cloud.batch.terminate_job(jobId=job_id, reason="enough")
    parent = cloud.finished(job_id)
    assert time.process_time() - began < 5.0
    assert parent["status"] == "FAILED"
    assert parent["arrayProperties"]["statusSummary"]["FAILED"] == 10_000
    assert len(cloud.listed(arrayJobId=job_id, jobStatus="FAILED")) == 10_000


def test_two_submissions_are_two_jobs(cloud: Cloud) -> None:
    queue, definition = cloud.queue(), cloud.define("true")
    first, second = (cloud.submit(queue, definition, name="same") for _ in range(2))
    assert first != second
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", first)


def test_waiting_children_are_runnable_and_few_run_at_once(cloud: Cloud) -> None:
    job_id = cloud.submit(cloud.queue(), cloud.define("sleep", "60"), arrayProperties={"size": 100})

    def settled() -> bool:
        summary = cloud.job(job_id)["arrayProperties"]["statusSummary"]
        return bool(summary["RUNNING"] == 8 and summary["RUNNABLE"] == 92)

    until(settled, "8 children run and 92 are runnable")
