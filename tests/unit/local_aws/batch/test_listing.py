"""ListJobs."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from botocore.exceptions import ClientError

from tests.unit.local_aws.batch.conftest import Cloud, until


def test_running_jobs_are_listed_unless_a_status_is_given(cloud: Cloud) -> None:
    queue = cloud.queue()
    running = cloud.submit(queue, cloud.define("sleep", "60"))
    cloud.in_status(running, "RUNNING")
    ended = cloud.run("exit 3", queue)["jobId"]
    assert [row["jobId"] for row in cloud.listed(jobQueue=queue)] == [running]
    (row,) = cloud.listed(jobQueue=queue, jobStatus="FAILED")
    assert row["jobId"] == ended
    assert row["container"] == {"exitCode": 3}
    assert row["statusReason"] == "Essential container in task exited"
    assert row["jobDefinition"] == cloud.job(ended)["jobDefinition"]
    assert row["createdAt"] <= row["startedAt"] <= row["stoppedAt"]


def test_pages_are_whole_and_newest_first(cloud: Cloud) -> None:
    queue = cloud.queue()
    definition = cloud.define("true")
    ids = [cloud.submit(queue, definition) for _ in range(7)]
    for job_id in ids:
        cloud.finished(job_id)
    first = cloud.batch.list_jobs(jobQueue=queue, jobStatus="SUCCEEDED", maxResults=3)
    assert len(first["jobSummaryList"]) == 3
    assert first["nextToken"]
    rows = cloud.listed(jobQueue=queue, jobStatus="SUCCEEDED", maxResults=3)
    assert [row["jobId"] for row in rows] == ids[::-1]


def test_a_page_is_not_shifted_by_jobs_that_move_meanwhile(cloud: Cloud) -> None:
    queue = cloud.queue(cloud.environment(max_vcpus=1))
    cloud.in_status(cloud.submit(queue, cloud.define("sleep", "60")), "RUNNING")
    definition = cloud.define("true")
    ids = [cloud.submit(queue, definition) for _ in range(6)]
    cloud.in_status(ids[-1], "RUNNABLE")
    first = cloud.batch.list_jobs(jobQueue=queue, jobStatus="RUNNABLE", maxResults=2)
    assert [row["jobId"] for row in first["jobSummaryList"]] == [ids[5], ids[4]]
    cloud.batch.terminate_job(jobId=ids[5], reason="moves")
    cloud.batch.terminate_job(jobId=ids[4], reason="moves")
    rest = cloud.listed(
        jobQueue=queue, jobStatus="RUNNABLE", maxResults=2, nextToken=first["nextToken"]
    )
    assert [row["jobId"] for row in rest] == ids[3::-1]


def test_names_are_matched_in_any_case_and_by_their_beginning(cloud: Cloud) -> None:
    queue = cloud.queue()
    for name in ("Align-1", "align-10", "sort-1"):
        cloud.run("true", queue, name=name)

    def named(*values: str) -> set[str]:
        filters = [{"name": "JOB_NAME", "values": list(values)}]
        return {row["jobName"] for row in cloud.listed(jobQueue=queue, filters=filters)}

    assert named("align-1") == {"Align-1"}
    assert named("ALIGN-1*") == {"Align-1", "align-10"}
    assert named("sort-1", "align-1") == {"sort-1", "Align-1"}
    assert named("*") == {"Align-1", "align-10", "sort-1"}
    assert named("lign") == set()


def test_a_filter_takes_all_statuses(cloud: Cloud) -> None:
    queue = cloud.queue()
    running = cloud.submit(queue, cloud.define("sleep", "60"), name="x-running")
    cloud.in_status(running, "RUNNING")
    cloud.run("exit 1", queue, name="x-failed")
    filters = [{"name": "JOB_NAME", "values": ["x-*"]}]
    for status in ({}, {"jobStatus": "SUCCEEDED"}):  # a status is ignored with a filter
        rows = cloud.listed(jobQueue=queue, filters=filters, **status)
        assert [row["status"] for row in rows] == ["FAILED", "RUNNING"]


def test_times_of_creation_are_filters(cloud: Cloud) -> None:
    queue = cloud.queue()
    first = cloud.run("true", queue)
    until(lambda: time.time() * 1000 > first["createdAt"] + 2, "a later millisecond")
    second = cloud.run("true", queue)
    moment = str(first["createdAt"] + 1)

    def created(name: str) -> list[str]:
        filters = [{"name": name, "values": [moment]}]
        return [row["jobId"] for row in cloud.listed(jobQueue=queue, filters=filters)]

    assert created("BEFORE_CREATED_AT") == [first["jobId"]]
    assert created("AFTER_CREATED_AT") == [second["jobId"]]


def test_job_definitions_are_a_filter(cloud: Cloud) -> None:
    queue = cloud.queue()
    arn = cloud.define("true")
    name = arn.rpartition("/")[2].partition(":")[0]
    job = cloud.finished(cloud.submit(queue, arn))["jobId"]
    cloud.run("true", queue)
    for value in (name, arn, f"{name[:-1]}*"):
        filters = [{"name": "JOB_DEFINITION", "values": [value]}]
        rows = cloud.listed(jobQueue=queue, filters=filters)
        assert job in [row["jobId"] for row in rows]
        assert len(rows) == (2 if value.endswith("*") else 1)


def test_a_filtered_page_has_at_most_100_rows(cloud: Cloud) -> None:
    queue = cloud.queue(cloud.environment(max_vcpus=1))
    definition = cloud.define("sleep", "60")
    for _ in range(103):
        cloud.submit(queue, definition)
    filters = [{"name": "JOB_NAME", "values": ["job"]}]
    page = cloud.batch.list_jobs(jobQueue=queue, filters=filters, maxResults=500)
    assert len(page["jobSummaryList"]) == 100
    assert len(cloud.listed(jobQueue=queue, filters=filters)) == 103


def test_with_a_lag_lists_are_late_and_descriptions_are_not(
    make_cloud: Callable[..., Cloud],
) -> None:
    cloud = make_cloud(list_jobs_lag_seconds=1.5)
    queue = cloud.queue()
    job = cloud.run("true", queue)["jobId"]
    began = time.monotonic()
    filters = [{"name": "JOB_NAME", "values": ["job"]}]
    assert cloud.job(job)["status"] == "SUCCEEDED"
    assert cloud.listed(jobQueue=queue, filters=filters) == []
    rows = until(lambda: cloud.listed(jobQueue=queue, jobStatus="SUCCEEDED"), "it is listed")
    assert [row["jobId"] for row in rows] == [job]
    assert time.monotonic() - began > 1.0


def test_with_a_lag_a_row_is_consistent_in_itself(make_cloud: Callable[..., Cloud]) -> None:
    cloud = make_cloud(list_jobs_lag_seconds=0.5)
    queue = cloud.queue()
    cloud.run("sleep 0.3", queue)
    filters = [{"name": "JOB_NAME", "values": ["job"]}]
    seen = []

    def ended() -> bool:
        for row in cloud.listed(jobQueue=queue, filters=filters):
            seen.append(row)
            if row["status"] == "SUCCEEDED":
                return True
        return False

    until(ended, "the end is listed")
    for row in seen:
        assert ("stoppedAt" in row) == (row["status"] == "SUCCEEDED")
        assert ("startedAt" in row) == (row["status"] in ("RUNNING", "SUCCEEDED"))
        assert ("container" in row) == (row["status"] == "SUCCEEDED")


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        ({}, "one of jobQueue and arrayJobId"),
        ({"jobQueue": "nothing"}, "JobQueue nothing not found"),
        ({"arrayJobId": "nothing"}, "nothing not found"),
        ({"jobQueue": "q", "arrayJobId": "a"}, "one of jobQueue and arrayJobId"),
        ({"multiNodeJobId": "a"}, "multiNodeJobId is not supported"),
        ({"jobQueue": "queue", "nextToken": "rubbish"}, "nextToken"),
        ({"jobQueue": "queue", "jobStatus": "SLEEPING"}, "SLEEPING"),
        ({"jobQueue": "queue", "maxResults": 0}, "maxResults"),
        ({"jobQueue": "queue", "filters": [{"name": "COLOUR", "values": ["x"]}]}, "COLOUR"),
        ({"jobQueue": "queue", "filters": [{"name": "JOB_NAME"}] * 2}, "only one filter"),
        (
            {"jobQueue": "queue", "filters": [{"name": "AFTER_CREATED_AT", "values": ["x"]}]},
            "milliseconds",
        ),
    ],
)
def test_requests_that_make_no_sense_are_refused(
    cloud: Cloud, request_: dict[str, object], why: str
) -> None:
    if request_.get("jobQueue") == "queue":
        request_ = {**request_, "jobQueue": cloud.queue()}
    with pytest.raises(ClientError, match=why):
        cloud.batch.list_jobs(**request_)
