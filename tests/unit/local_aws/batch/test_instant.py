"""Instant jobs: what they leave is what the wrapper leaves."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from orchestrator.backends.aws_batch import AwsBatchBackend
from orchestrator.model.job import OutputPlan
from tests import batch_cloud
from tests.batch_cloud import Cloud, backend_on
from tests.unit.backends.aws_batch.conftest import collect, submission


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with batch_cloud.running(tmp_path_factory.mktemp("cloud"), jobs="instant") as running:
        yield running


@pytest.fixture
def backend(cloud: Cloud) -> Iterator[AwsBatchBackend]:
    backend = backend_on(cloud)
    yield backend
    backend.close()


def test_each_child_of_an_array_leaves_a_manifest_and_all_that_it_names(
    cloud: Cloud, backend: AwsBatchBackend
) -> None:
    plan = OutputPlan(files=("it's/a file.txt",), reads=("it's/a file.txt",))
    job = submission(backend, *["exit 7"] * 3, outputs=plan)
    job_id = backend.submit(job)
    changes = collect(backend, 3)
    assert sorted(change.index for change in changes) == [0, 1, 2]
    for change in changes:
        content = f"{change.index}\n".encode()
        found = change.manifest
        assert found is not None
        assert (found.return_code, found.failure) == (0, None)
        assert found.job_id == f"{job_id}:{change.index}"
        file = found.files["it's/a file.txt"]
        assert file.content == content
        assert [cloud.get(one.uri) for one in (file, found.stdout)] == [content] * 2
        assert cloud.get(found.stderr.uri) == b""


def test_what_is_revoked_leaves_nothing(cloud: Cloud, backend: AwsBatchBackend) -> None:
    job = submission(backend, "true")
    definition = backend.submit(submission(backend, "true"))
    collect(backend, 1)
    batch = cloud.client("batch")
    detail = batch.describe_jobs(jobs=[definition])["jobs"][0]
    backend.revoke(job.handle)
    again = batch.submit_job(
        jobName="late",
        jobQueue=detail["jobQueue"],
        jobDefinition=detail["jobDefinition"],
        containerOverrides={
            "environment": [
                {
                    "name": "ORCHESTRATOR_BUNDLES",
                    "value": f"{cloud.deployment.scratch_root}/submissions/{job.handle.id}",
                }
            ]
        },
    )["jobId"]
    ended = _ended(cloud, again)
    assert (ended["status"], ended["container"]["exitCode"]) == ("FAILED", 90)


def test_another_orchestrators_job_succeeds(cloud: Cloud) -> None:
    batch = cloud.client("batch")
    definition = batch.register_job_definition(
        jobDefinitionName="theirs",
        type="container",
        containerProperties={
            "image": "any",
            "command": ["false"],
            "resourceRequirements": [
                {"type": "VCPU", "value": "1"},
                {"type": "MEMORY", "value": "512"},
            ],
        },
    )["jobDefinitionArn"]
    job_id = batch.submit_job(jobName="theirs", jobQueue="spot", jobDefinition=definition)["jobId"]
    assert _ended(cloud, job_id)["status"] == "SUCCEEDED"


def _ended(cloud: Cloud, job_id: str) -> Any:
    deadline = time.monotonic() + 60
    while True:
        job = cloud.client("batch").describe_jobs(jobs=[job_id])["jobs"][0]
        if job["status"] in ("SUCCEEDED", "FAILED"):
            return job
        assert time.monotonic() < deadline, job
        time.sleep(0.05)
