"""Jobs on AWS Batch, whose ListJobs shows a job five seconds after it was submitted."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.engine.faultpoints import Step
from tests import batch_cloud
from tests.batch_cloud import Cloud
from tests.crash.engine_process import Cloud as CloudSetup
from tests.crash.engines import Setup, World, eventually
from tests.crash.workflows import WHOLE, WHOLE_RAN, WHOLE_TOTAL, WIDE, numbers

pytestmark = pytest.mark.xdist_group("crash-aws")

LAG = 5.0
ONE, TWO = "host-1/boot/1/1", "host-2/boot/2/2"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    base = tmp_path_factory.mktemp("cloud")
    with batch_cloud.running(base, listjobs_lag_seconds=LAG) as running:
        yield running


@pytest.fixture
def world(cloud: Cloud, tmp_path: Path, url: str) -> Iterator[World]:
    setup = Setup(url, cloud.deployment.root, cloud=CloudSetup(cloud.endpoint, cloud.deployment))
    world = World(tmp_path, setup, tmp_path / "ledger")
    yield world
    world.close()
    cloud.clear_faults()


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/store.db"


def started(world: World, cloud: Cloud) -> str:
    uri = f"s3://{cloud.deployment.bucket}/{world.folder.name}/numbers"
    cloud.put(uri, Path(numbers(world.folder)).read_bytes())
    return world.submit(WHOLE, numbers=uri)


def all_is_right(world: World, root_id: str) -> None:
    assert world.outputs(root_id)["w.total"] == WHOLE_TOTAL
    assert world.ran() == WHOLE_RAN, world.said
    assert len(set(world.lines())) == len(world.lines())


def jobs_of(cloud: Cloud, root_id: str) -> list[str]:
    """Ids of all jobs that AWS Batch was given, arrays by their parent."""
    batch = cloud.client("batch")
    found: list[str] = []
    for status in [
        "SUBMITTED",
        "PENDING",
        "RUNNABLE",
        "STARTING",
        "RUNNING",
        "SUCCEEDED",
        "FAILED",
    ]:
        for page in batch.get_paginator("list_jobs").paginate(
            jobQueue=cloud.deployment.default_queue_arn, jobStatus=status
        ):
            found += [job["jobId"] for job in page["jobSummaryList"]]
    described = [
        job
        for start in range(0, len(found), 100)
        for job in batch.describe_jobs(jobs=found[start : start + 100])["jobs"]
    ]
    return [job["jobId"] for job in described if root_id in job.get("tags", {}).values()]


def jobs_are(cloud: Cloud, root_id: str, count: int) -> None:
    """Four when nothing went wrong: an array of three, and three single ones."""
    time.sleep(LAG)  # not to wait for something: until then ListJobs hides what is too much
    assert len(jobs_of(cloud, root_id)) == count


FORWARD = [step for step in Step if step < Step.FINDING]
RECOVERY = [step for step in Step if step >= Step.FINDING]


@pytest.mark.parametrize(
    "step",
    [
        pytest.param(s, id=s.name, marks=() if s is Step.SUBMITTED else pytest.mark.slow)
        for s in FORWARD
    ],
)
def test_killed_once_and_resumed(world: World, cloud: Cloud, step: Step) -> None:
    root_id = started(world, cloud)
    world.engine(root_id, fault=step).was_killed()
    if step < Step.WORKFLOW_END_RECORDED:
        world.engine(root_id).succeeded()
    all_is_right(world, root_id)


@pytest.mark.slow
@pytest.mark.parametrize("step", RECOVERY, ids=lambda step: step.name)
def test_killed_again_while_it_recovers(world: World, cloud: Cloud, step: Step) -> None:
    root_id = started(world, cloud)
    world.engine(root_id, fault=Step.INTENT_RECORDED).was_killed()
    world.engine(root_id, fault=step).was_killed()
    world.engine(root_id).succeeded()
    all_is_right(world, root_id)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_killed_at_random_with_hundreds_of_calls_in_flight(
    world: World, cloud: Cloud, seed: int
) -> None:
    """And some answers to SubmitJob get lost besides."""
    chance, n = random.Random(seed), 200
    root_id = world.submit(WIDE, n=n)
    cloud.fault(match="batch SubmitJob", lost="after", times=2)
    for _ in range(8):
        engine = world.engine(root_id)
        engine.process.join(chance.uniform(0.5, 6.0))
        engine.kill()
    world.engine(root_id).succeeded()
    assert world.outputs(root_id) == {"w.o": [i + 1 for i in range(n)]}
    assert world.ran() == {f"{name} {i}": 1 for name in ("first", "second") for i in range(n)}
    assert len(set(world.lines())) == len(world.lines())
    assert world.nothing_is_open(root_id)


@pytest.mark.slow
@pytest.mark.parametrize("nth", [2, 3, 4])
@pytest.mark.parametrize("step", [Step.INTENT_RECORDED, Step.SUBMITTED])
def test_killed_at_a_later_call_or_attempt(
    world: World, cloud: Cloud, step: Step, nth: int
) -> None:
    root_id = started(world, cloud)
    world.engine(root_id, fault=f"{step}:{nth}").was_killed()
    world.engine(root_id).succeeded()
    all_is_right(world, root_id)


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["before", "after"])
def test_answers_to_submit_job_that_get_lost(world: World, cloud: Cloud, lost: str) -> None:
    """Every one of them: nothing is submitted twice, and what never arrived is submitted anew."""
    root_id = started(world, cloud)
    cloud.fault(match="batch SubmitJob", lost=lost, times=4 if lost == "after" else 2)
    world.engine(root_id).succeeded()
    all_is_right(world, root_id)
    jobs_are(cloud, root_id, 4)


@pytest.mark.slow
def test_the_answer_is_lost_and_then_the_engine_too(world: World, cloud: Cloud) -> None:
    root_id = started(world, cloud)
    cloud.fault(match="batch SubmitJob", lost="after")
    world.engine(root_id, fault=Step.FOUND).was_killed()
    world.engine(root_id).succeeded()
    all_is_right(world, root_id)
    jobs_are(cloud, root_id, 4)


@pytest.mark.slow
class TestTwoEngines:
    @pytest.fixture
    def url(self, postgres_url: str) -> str:
        return postgres_url

    @pytest.mark.parametrize(
        "step", [Step.INTENT_RECORDED, Step.SUBMITTING, Step.SUBMITTED], ids=lambda step: step.name
    )
    def test_one_is_stopped_at_submit_job_and_goes_on_when_its_lease_was_stolen(
        self, world: World, cloud: Cloud, step: Step
    ) -> None:
        root_id = started(world, cloud)
        first = world.engine(owner=ONE, capacity=1, lease_seconds=3.0, fault=f"{step}:1:STOP")
        eventually(first.is_stopped)
        second = world.engine(owner=TWO, capacity=1, lease_seconds=3.0)
        eventually(lambda: world.workflow(root_id).ended_at)
        second.signal(signal.SIGTERM)
        assert second.end() == 0
        all_is_right(world, root_id)
        jobs_are(cloud, root_id, 4)
        cloud.clear_calls()
        first.signal(signal.SIGCONT)
        other = started(world, cloud)  # it takes that when it has let go of the old one
        eventually(lambda: world.workflow(other).ended_at)
        assert world.outputs(other)["w.total"] == WHOLE_TOTAL
        assert len(set(world.lines())) == len(world.lines()) == 2 * sum(WHOLE_RAN.values())
        assert cloud.calls()["batch"]["SubmitJob"] == 4  # those of the other
