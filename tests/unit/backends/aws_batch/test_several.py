"""Queues of several regions behind one backend, from the configuration to the jobs."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator import assembly, deployment, errors
from orchestrator.backends.aws_batch import AwsBatchBackend, SeveralEnvironments
from orchestrator.config import settings
from orchestrator.deployment import Deployment, Queue
from orchestrator.model.job import OutputPlan, Shape, Submission
from tests.batch_cloud import Cloud, batch_configuration, make_queue

from .conftest import collect, submission
from .test_backend import DEPLOYMENT, make

EUROPE = "eu-west-1"


def _client(cloud: Cloud, service: str) -> Any:
    make_client: Any = cloud.session.client
    return make_client(service, region_name=EUROPE, endpoint_url=cloud.endpoint)


@pytest.fixture(scope="module")
def europe(cloud: Cloud) -> Deployment:
    """A second environment of the same account, in another region."""
    ec2, batch = _client(cloud, "ec2"), _client(cloud, "batch")
    arn = make_queue(ec2, batch, cloud.deployment.job_role_arn, max_vcpus=8)
    _client(cloud, "logs").create_log_group(logGroupName="/jobs-eu")
    queue = Queue(name="spot", arn=arn, kind="spot", max_vcpus=4, max_memory_mib=8_000)
    return cloud.deployment.model_copy(
        update={
            "environment": "test-eu",
            "region": EUROPE,
            "queues": (queue,),
            "default_queue_arn": arn,
            "log_group": "/jobs-eu",
            "job_definition_prefix": "test-eu-job",
        }
    )


@pytest.fixture
def both(cloud: Cloud, europe: Deployment, tmp_path: Path) -> Iterator[SeveralEnvironments]:
    """As a configuration with `further-environments` makes it."""
    for contract, ssm in ((cloud.deployment, cloud.client("ssm")), (europe, _client(cloud, "ssm"))):
        ssm.put_parameter(
            Name=deployment.parameter_name(contract.environment),
            Value=contract.model_dump_json(),
            Type="String",
            Overwrite=True,
        )
    path = batch_configuration(
        tmp_path,
        cloud.deployment.default_queue_arn,
        f"""root = "s3://root-bucket/two"
        further-environments = [{{ name = test-eu, region = {EUROPE} }}]""",
        aws=f'endpoint-url = "{cloud.endpoint}",',
    )
    made = assembly.assemble(settings.load(path))
    backend = made.backends["B"]
    assert isinstance(backend, SeveralEnvironments)
    yield backend
    made.close()


def _at(backend: SeveralEnvironments, queue: str, script: str) -> Submission:
    home: Any = backend
    job = submission(
        home,
        script,
        outputs=OutputPlan(files=("where.txt",), reads=("where.txt",)),
        shape=Shape(image="busybox", cpu=0.25, memory_mib=64, queue=queue),
    )
    return dataclasses.replace(job, handle=dataclasses.replace(job.handle, queue=queue))


def test_each_job_runs_in_the_region_of_its_queue(
    cloud: Cloud, europe: Deployment, both: SeveralEnvironments
) -> None:
    any_backend: Any = both
    jobs = {
        region: _at(both, queue, "echo $AWS_REGION $AWS_DEFAULT_REGION > where.txt; echo said")
        for region, queue in (
            ("us-east-1", ""),
            (EUROPE, europe.default_queue_arn),
        )
    }
    ids = {region: both.submit(job) for region, job in jobs.items()}
    changes = {change.submission_id: change for change in collect(any_backend, 2)}
    for region, job in jobs.items():
        change = changes[job.handle.id]
        assert change.failure is None
        assert change.manifest is not None
        assert change.manifest.files["where.txt"].content == f"{region} {region}\n".encode()
        handle = dataclasses.replace(job.handle, job_id=ids[region])
        assert both.find(handle) == ids[region]
        assert list(both.logs(handle, 0)) == ["said"]
        assert both.explain(handle, 0).state == "SUCCEEDED"
    described = _client(cloud, "batch").describe_jobs(jobs=[ids[EUROPE]])["jobs"]
    assert [job["jobQueue"] for job in described] == [europe.default_queue_arn]
    assert not cloud.client("batch").describe_jobs(jobs=[ids[EUROPE]])["jobs"]


def test_a_job_is_cancelled_where_it_runs(europe: Deployment, both: SeveralEnvironments) -> None:
    any_backend: Any = both
    jobs = [_at(both, queue, "sleep 600") for queue in ("", europe.default_queue_arn)]
    for job in jobs:
        both.submit(job)
    both.cancel((job.handle, [0]) for job in jobs)
    codes = [change.failure.code for change in collect(any_backend, 2) if change.failure]
    assert codes == ["ABORTED", "ABORTED"]


def test_what_fits_is_asked_of_the_queues_environment(
    europe: Deployment, both: SeveralEnvironments
) -> None:
    assert both.fits(Shape(image="i", cpu=8)) is None
    there = both.fits(Shape(image="i", cpu=8, queue=europe.default_queue_arn))
    assert there is not None
    assert "at most 4 vCPUs" in there.message
    nowhere = both.fits(Shape(image="i", queue="arn:aws:batch:sa-east-1:1:job-queue/x"))
    assert nowhere is not None
    for arn in (europe.default_queue_arn, "us-east-1"):
        assert arn in nowhere.message


def test_hosts_whose_disks_are_at_different_places_are_refused() -> None:
    other = DEPLOYMENT.model_copy(update={"environment": "other", "scratch_path": "/scratch"})
    backends: list[AwsBatchBackend] = [make(), make()]
    with pytest.raises(errors.InvalidConfig, match=re.escape("/scratch, those of 'test'")):
        SeveralEnvironments([(DEPLOYMENT, backends[0]), (other, backends[1])])
