"""Which job definitions are removed, on AWS as it is and as it can be."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from orchestrator import errors
from orchestrator.backends.aws_batch import AwsBatchBackend
from orchestrator.backends.aws_batch.definitions_cleaning import Cleaning, Verdict
from orchestrator.model.job import Shape
from tests.batch_cloud import Cloud, backend_on

from .conftest import collect, submission
from .test_backend import DEPLOYMENT

DAY = 86_400.0
NOW = 1_800_000_000.0
QUEUES = [f"arn:queue-{number}" for number in range(2)]


def definition(number: int, *, age_days: float | None = 30.0, **fields: Any) -> dict[str, Any]:
    name = f"test_orchestrator-{number:032x}"
    tags = {"orchestrator:environment": "test"}
    if age_days is not None:
        moment = datetime.fromtimestamp(NOW - age_days * DAY, UTC)
        tags["orchestrator:registered"] = moment.isoformat(timespec="seconds")
    made = {
        "jobDefinitionName": name,
        "jobDefinitionArn": f"arn:{name}:1",
        "revision": 1,
        "status": "ACTIVE",
        "tags": tags,
    }
    return made | fields


class Batch:
    """AWS Batch with small pages: jobs are (queue, status, definition's ARN, age in days)."""

    def __init__(self, *definitions: dict[str, Any]) -> None:
        self.definitions = list(definitions)
        self.jobs: list[tuple[str, str, str, float]] = []
        self.removed: list[str] = []
        self.throttles = 0
        self.calls = 0
        self.lost: list[str] = []

    def _page(self, field: str, items: list[Any], token: str | None) -> dict[str, Any]:
        self.calls += 1
        if self.throttles:
            self.throttles -= 1
            answer: Any = {"Error": {"Code": "TooManyRequestsException", "Message": "slow"}}
            raise ClientError(answer, "any")
        start = int(token or 0)
        page: dict[str, Any] = {field: items[start : start + 2]}
        if start + 2 < len(items):
            page["nextToken"] = str(start + 2)
        return page

    def describe_job_definitions(self, status: str, nextToken: str | None = None) -> Any:
        assert status == "ACTIVE"
        return self._page("jobDefinitions", self.definitions, nextToken)

    def describe_job_queues(self, nextToken: str | None = None) -> Any:
        queues = [{"jobQueueArn": queue} for queue in QUEUES]
        return self._page("jobQueues", queues, nextToken)

    def list_jobs(self, jobQueue: str, nextToken: str | None = None, **request: Any) -> Any:
        here = [job for job in self.jobs if job[0] == jobQueue]
        if "filters" in request:
            [wanted] = request["filters"]
            assert wanted["name"] == "JOB_DEFINITION"
            here = [job for job in here if job[2] in wanted["values"]]
        else:
            here = [job for job in here if job[1] == request["jobStatus"]]
        here.sort(key=lambda job: job[3])
        summaries = [
            {"jobDefinition": arn, "createdAt": int((NOW - age * DAY) * 1000)}
            for _, _, arn, age in here
        ]
        return self._page("jobSummaryList", summaries, nextToken)

    def deregister_job_definition(self, jobDefinition: str) -> Any:
        self._page("", [], None)
        if jobDefinition in self.lost:
            answer: Any = {"Error": {"Code": "ClientException", "Message": "not found"}}
            raise ClientError(answer, "DeregisterJobDefinition")
        self.removed.append(jobDefinition)
        return {}


def clean(batch: Batch, *, days: float = 7, dry_run: bool = False) -> dict[str, str]:
    """ARN -> why it was kept; empty for what was removed."""
    cleaning = Cleaning(cast(Any, batch), DEPLOYMENT, clock=lambda: NOW, sleep=lambda _: None)
    verdicts: list[Verdict] = list(cleaning.run(days, dry_run=dry_run))
    return {verdict.definition.arn: verdict.kept for verdict in verdicts}


def test_only_what_is_of_this_environment_is_looked_at() -> None:
    ours = definition(1)
    name = ours["jobDefinitionName"]
    strangers = [
        definition(2, jobDefinitionName=f"other-{2:032x}"),
        definition(3, jobDefinitionName="test_orchestrator-by-hand"),
        definition(4, jobDefinitionName=f"{name}-more"),
        definition(5, jobDefinitionName=f"test_orchestrator-two-{5:032x}"),
        definition(6, tags={"orchestrator:environment": "other"}),
        definition(7, tags={}),
    ]
    batch = Batch(*strangers[:3], ours, *strangers[3:])
    assert clean(batch) == {ours["jobDefinitionArn"]: ""}
    assert batch.removed == [ours["jobDefinitionArn"]]


@pytest.mark.parametrize("status", ["SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING"])
def test_what_a_live_job_uses_stays_however_old_both_are(status: str) -> None:
    one = definition(1, age_days=400)
    batch = Batch(one, definition(2))
    batch.jobs = [(QUEUES[1], "RUNNING", "arn:foreign", 0.0) for _ in range(5)]
    batch.jobs.append((QUEUES[1], status, one["jobDefinitionArn"], 30.0))
    kept = clean(batch)
    assert "not over" in kept[one["jobDefinitionArn"]]
    assert batch.removed == [definition(2)["jobDefinitionArn"]]


def test_what_was_registered_or_used_lately_stays() -> None:
    new, used, old = definition(1, age_days=6.9), definition(2), definition(3)
    batch = Batch(new, used, old)
    batch.jobs = [
        (QUEUES[0], "SUCCEEDED", old["jobDefinitionArn"], 7.1),
        (QUEUES[0], "FAILED", used["jobDefinitionArn"], 8.0),
        (QUEUES[1], "FAILED", used["jobDefinitionArn"], 6.9),
    ]
    assert clean(batch) == {
        new["jobDefinitionArn"]: "it was registered lately",
        used["jobDefinitionArn"]: "it was used lately",
        old["jobDefinitionArn"]: "",
    }
    assert clean(batch, days=2) == dict.fromkeys(clean(batch), "")


@pytest.mark.parametrize("stamp", [None, "yesterday", "2020-01-01T00:00:00", ""])
def test_what_does_not_say_when_it_was_registered_stays(stamp: str | None) -> None:
    one = definition(1, age_days=None)
    if stamp is not None:
        one["tags"]["orchestrator:registered"] = stamp
    assert "age is not known" in clean(Batch(one))[one["jobDefinitionArn"]]


def test_each_revision_is_judged_for_itself() -> None:
    name = definition(1)["jobDefinitionName"]
    revisions = [
        definition(1, revision=number, jobDefinitionArn=f"arn:{name}:{number}")
        for number in (10, 9, 2)
    ]
    batch = Batch(*revisions)
    batch.jobs = [(QUEUES[0], "RUNNING", f"arn:{name}:10", 9.0)]
    assert list(clean(batch)) == [f"arn:{name}:{number}" for number in (2, 9, 10)]
    assert batch.removed == [f"arn:{name}:2", f"arn:{name}:9"]


def test_a_dry_run_removes_nothing_and_says_the_same() -> None:
    batch = Batch(*(definition(number) for number in range(5)))
    said = clean(batch, dry_run=True)
    assert batch.removed == []
    assert clean(batch) == said
    assert len(batch.removed) == 5


def test_throttling_is_waited_out_more_and_more_patiently() -> None:
    batch = Batch(definition(1))
    batch.throttles = 5
    pauses: list[float] = []
    cleaning = Cleaning(cast(Any, batch), DEPLOYMENT, clock=lambda: NOW, sleep=pauses.append)
    assert [verdict.kept for verdict in cleaning.run(7, dry_run=False)] == [""]
    waits = [pause for pause in pauses if pause >= 1]
    assert waits == [2.0, 4.0, 8.0, 16.0, 32.0]
    assert len(pauses) == batch.calls + len(waits)  # and no call without a pause before it
    batch.throttles = 10**6
    with pytest.raises(errors.TryLater):
        list(cleaning.run(7, dry_run=False))
    assert batch.calls < 100


def test_one_that_cannot_be_removed_does_not_stop_the_others() -> None:
    batch = Batch(*(definition(number) for number in range(3)))
    batch.lost = [batch.definitions[1]["jobDefinitionArn"]]
    kept = clean(batch)
    assert "did not remove it" in kept[batch.lost[0]]
    assert len(batch.removed) == 2


def test_where_there_is_nothing_of_ours_no_queue_is_asked() -> None:
    batch = Batch(definition(1, tags={}))
    assert clean(batch) == {}
    assert batch.calls <= 2


# --- on the local AWS


SHAPES = itertools.count(1)


@pytest.fixture
def shape() -> Shape:
    """One that no other test has."""
    return Shape(image="busybox", cpu=0.25, memory_mib=64, shared_memory_mib=next(SHAPES) + 1000)


def active(cloud: Cloud) -> set[str]:
    pages = cloud.client("batch").get_paginator("describe_job_definitions")
    return {
        found["jobDefinitionArn"]
        for page in pages.paginate(status="ACTIVE")
        for found in page["jobDefinitions"]
    }


def used_by(cloud: Cloud, job_id: str) -> str:
    [job] = cloud.client("batch").describe_jobs(jobs=[job_id])["jobs"]
    found: str = job["jobDefinition"]
    return found


def later(cloud: Cloud, days: float) -> Iterator[Verdict]:
    return Cleaning(
        cloud.client("batch"),
        cloud.deployment,
        clock=lambda: time.time() + days * DAY,
        sleep=lambda _: None,
    ).run(7, dry_run=False)


def test_a_definition_goes_when_its_jobs_are_over_and_comes_again_when_it_is_wanted(
    cloud: Cloud, backend: AwsBatchBackend, shape: Shape, tmp_path: Path
) -> None:
    script = f"until [ -e {tmp_path}/go ]; do sleep 0.05; done"
    job_id = backend.submit(submission(backend, script, script, shape=shape))
    arn = used_by(cloud, job_id)
    assert {v.definition.arn: v.kept for v in later(cloud, 30)}[arn] == (
        "a job that is not over uses it"
    )
    (tmp_path / "go").touch()
    collect(backend, 2)
    lately = {v.definition.arn: v.kept for v in backend.clean_definitions(1, dry_run=False)}
    assert lately[arn] == "it was registered lately"
    assert arn in active(cloud)
    assert {v.definition.arn: v.kept for v in later(cloud, 30)}[arn] == ""
    assert arn not in active(cloud)
    # This backend still believes in it.
    again = submission(backend, "true", shape=shape)
    with pytest.raises(errors.TryLater, match="definition was removed"):
        backend.submit(again)
    new_arn = used_by(cloud, backend.submit(again))
    assert new_arn != arn
    collect(backend, 1)


def test_a_definition_is_registered_once_also_when_the_answer_is_lost_and_after_a_restart(
    cloud: Cloud, backend: AwsBatchBackend, shape: Shape
) -> None:
    cloud.clear_calls()
    cloud.fault(match="^batch RegisterJobDefinition", lost="after")
    first = submission(backend, "true", shape=shape)
    with pytest.raises(errors.TryLater):
        backend.submit(first)
    backend.submit(first)
    other = backend_on(cloud)
    other.submit(submission(other, "true", shape=shape))
    other.close()
    backend.submit(submission(backend, "true", shape=replace(shape, cpu=0.5, memory_mib=128)))
    assert cloud.calls()["batch"]["RegisterJobDefinition"] == 1
    collect(backend, 2)
