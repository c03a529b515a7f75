"""What may run at once: environments, priorities, shares, this machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.unit.local_aws.batch.conftest import Cloud, until

TOO_LARGE = "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE"


def statuses(cloud: Cloud, ids: list[str]) -> list[str]:
    return [cloud.job(job_id)["status"] for job_id in ids]


def settle(cloud: Cloud, ids: list[str], expected: list[str]) -> None:
    until(lambda: statuses(cloud, ids) == expected, f"jobs in {expected}")


class Gate:
    """Jobs that run until their gate opens, and write down their name when they begin."""

    def __init__(self, cloud: Cloud, directory: Path) -> None:
        self.cloud = cloud
        self.go = directory / "go"
        self.began = directory / "began"

    def submit(self, queue: str, name: str, vcpus: int = 1, memory: int = 64, **more: Any) -> str:
        script = f"echo {name} >> {self.began}; until [ -e {self.go} ]; do sleep 0.02; done"
        definition = self.cloud.define("/bin/sh", "-c", script, vcpus=vcpus, memory=memory)
        return self.cloud.submit(queue, definition, name=name, **more)

    def open(self) -> None:
        self.go.touch()

    def order(self) -> list[str]:
        return self.began.read_text().split()


@pytest.fixture
def gate(cloud: Cloud, tmp_path: Path) -> Gate:
    return Gate(cloud, tmp_path)


def test_an_environment_runs_no_more_vcpus_than_its_maximum(cloud: Cloud, gate: Gate) -> None:
    queue = cloud.queue(cloud.environment(max_vcpus=4))
    ids = [gate.submit(queue, f"j{i}", vcpus=2) for i in range(3)]
    settle(cloud, ids, ["RUNNING", "RUNNING", "RUNNABLE"])
    gate.open()
    settle(cloud, ids, ["SUCCEEDED"] * 3)


def test_the_environments_of_a_queue_are_filled_in_their_order(cloud: Cloud, gate: Gate) -> None:
    first, second = cloud.environment(max_vcpus=1), cloud.environment(max_vcpus=2)
    queue = cloud.queue(first, second)
    ids = [gate.submit(queue, f"j{i}") for i in range(4)]
    settle(cloud, ids, ["RUNNING"] * 3 + ["RUNNABLE"])
    places = [cloud.job(job)["container"]["containerInstanceArn"] for job in ids[:3]]
    assert [place.split("/")[1] for place in places] == [first, second, second]


def test_a_disabled_environment_gets_no_jobs(cloud: Cloud, gate: Gate) -> None:
    first, second = cloud.environment(), cloud.environment()
    cloud.batch.update_compute_environment(computeEnvironment=first, state="DISABLED")
    job = gate.submit(cloud.queue(first, second), "j")
    place = cloud.in_status(job, "RUNNING")["container"]["containerInstanceArn"]
    assert place.split("/")[1] == second


def test_a_raised_maximum_counts_at_once(cloud: Cloud, gate: Gate) -> None:
    environment = cloud.environment(max_vcpus=1)
    ids = [gate.submit(cloud.queue(environment), f"j{i}") for i in range(2)]
    settle(cloud, ids, ["RUNNING", "RUNNABLE"])
    cloud.batch.update_compute_environment(
        computeEnvironment=environment, computeResources={"maxvCpus": 2}
    )
    settle(cloud, ids, ["RUNNING", "RUNNING"])


def test_memory_takes_the_vcpus_it_comes_with(cloud: Cloud, gate: Gate) -> None:
    """On c5 (2 GiB a vCPU) 7 GiB take up 4 vCPUs."""
    queue = cloud.queue(cloud.environment(max_vcpus=8, instance_types=("c5",)))
    ids = [gate.submit(queue, f"j{i}", memory=7 << 10) for i in range(3)]
    settle(cloud, ids, ["RUNNING", "RUNNING", "RUNNABLE"])


def test_a_job_larger_than_the_environment_waits_and_blocks_its_queue(
    cloud: Cloud, gate: Gate
) -> None:
    """As in AWS Batch: first in, first out, until somebody takes it away. Other queues go on."""
    environment = cloud.environment(max_vcpus=2)
    queue, other = cloud.queue(environment, priority=9), cloud.queue(environment)
    large = gate.submit(queue, "large", vcpus=4)
    behind, elsewhere = gate.submit(queue, "behind"), gate.submit(other, "elsewhere")
    settle(cloud, [large, behind, elsewhere], ["RUNNABLE", "RUNNABLE", "RUNNING"])
    assert cloud.job(large)["statusReason"].startswith(TOO_LARGE)
    cloud.batch.terminate_job(jobId=large, reason="too large")
    settle(cloud, [behind], ["RUNNING"])


def test_a_job_that_no_instance_type_holds_says_so(cloud: Cloud, gate: Gate) -> None:
    queue = cloud.queue(cloud.environment(instance_types=("m5.large",)))
    job = gate.submit(queue, "j", memory=8192)  # nominal; some of it is the host's
    until(
        lambda: "JOB_RESOURCE_REQUIREMENT" in cloud.job(job).get("statusReason", ""),
        "the reason is given",
    )
    assert cloud.job(job)["status"] == "RUNNABLE"


def test_a_queue_can_cancel_jobs_that_never_fit(cloud: Cloud, gate: Gate) -> None:
    queue = cloud.queue(
        cloud.environment(max_vcpus=2),
        jobStateTimeLimitActions=[
            {
                "reason": TOO_LARGE,
                "state": "RUNNABLE",
                "maxTimeSeconds": 600,
                "action": "CANCEL",
            }
        ],
    )
    (described,) = cloud.batch.describe_job_queues(jobQueues=[queue])["jobQueues"]
    assert described["jobStateTimeLimitActions"][0]["maxTimeSeconds"] == 600
    large = gate.submit(queue, "large", vcpus=4)
    until(lambda: cloud.job(large).get("statusReason"), "it is seen not to fit")
    behind = gate.submit(queue, "behind")
    found: Any = cloud.backend.get_job_queue(queue)
    found.job_state_time_limit_actions[0]["maxTimeSeconds"] = 0  # ten minutes have passed
    settle(cloud, [large, behind], ["FAILED", "RUNNING"])
    assert cloud.job(large)["statusReason"] == TOO_LARGE


def test_jobs_of_a_queue_start_in_the_order_of_submission(cloud: Cloud, gate: Gate) -> None:
    queue = cloud.queue(cloud.environment(max_vcpus=1))
    ids = [gate.submit(queue, f"j{i}") for i in range(4)]
    settle(cloud, ids, ["RUNNING"] + ["RUNNABLE"] * 3)
    snapshot = cloud.batch.get_job_queue_snapshot(jobQueue=queue)
    assert [one["jobArn"].rpartition("/")[2] for one in snapshot["frontOfQueue"]["jobs"]] == ids[1:]
    usage = snapshot["queueUtilization"]["totalCapacityUsage"]
    assert usage == [{"capacityUnit": "VCPU", "quantity": 1.0}]
    gate.open()
    settle(cloud, ids, ["SUCCEEDED"] * 4)
    assert gate.order() == ["j0", "j1", "j2", "j3"]


def test_the_queue_of_higher_priority_comes_first(cloud: Cloud, gate: Gate) -> None:
    environment = cloud.environment(max_vcpus=1)
    low, high = cloud.queue(environment, priority=1), cloud.queue(environment, priority=10)
    running = gate.submit(low, "first")
    settle(cloud, [running], ["RUNNING"])
    ids = [gate.submit(low, "low1"), gate.submit(low, "low2"), gate.submit(high, "high")]
    settle(cloud, ids, ["RUNNABLE"] * 3)
    gate.open()
    settle(cloud, ids, ["SUCCEEDED"] * 3)
    assert gate.order() == ["first", "high", "low1", "low2"]


def test_what_a_high_priority_head_waits_for_is_not_given_to_others(
    cloud: Cloud, gate: Gate
) -> None:
    environment = cloud.environment(max_vcpus=4)
    low, high = cloud.queue(environment, priority=1), cloud.queue(environment, priority=10)
    first = gate.submit(low, "first", vcpus=2)
    settle(cloud, [first], ["RUNNING"])
    large, small = gate.submit(high, "large", vcpus=4), gate.submit(low, "small", vcpus=1)
    settle(cloud, [large, small], ["RUNNABLE", "RUNNABLE"])
    gate.open()
    settle(cloud, [large, small], ["SUCCEEDED", "SUCCEEDED"])
    assert gate.order() == ["first", "large", "small"]


def test_this_machine_is_a_bound_besides(make_cloud: Callable[..., Cloud], tmp_path: Path) -> None:
    cloud = make_cloud(max_running_jobs=2)
    gate = Gate(cloud, tmp_path)
    queue = cloud.queue(cloud.environment(max_vcpus=256))
    ids = [gate.submit(queue, f"j{i}") for i in range(4)]
    settle(cloud, ids, ["RUNNING", "RUNNING", "RUNNABLE", "RUNNABLE"])
    gate.open()
    settle(cloud, ids, ["SUCCEEDED"] * 4)


def test_no_more_memory_is_promised_than_there_is_unless_a_job_is_alone(
    make_cloud: Callable[..., Cloud], tmp_path: Path
) -> None:
    cloud = make_cloud(memory_mib=1000)
    gate = Gate(cloud, tmp_path)
    queue = cloud.queue()
    ids = [gate.submit(queue, name, memory=600) for name in ("a", "b")]
    large = gate.submit(queue, "large", memory=4000)
    settle(cloud, [*ids, large], ["RUNNING", "RUNNABLE", "RUNNABLE"])
    gate.open()
    settle(cloud, [*ids, large], ["SUCCEEDED"] * 3)


def test_a_disabled_queue_takes_no_jobs_and_finishes_those_it_has(cloud: Cloud, gate: Gate) -> None:
    queue = cloud.queue(cloud.environment(max_vcpus=1))
    ids = [gate.submit(queue, f"j{i}") for i in range(2)]
    cloud.batch.update_job_queue(jobQueue=queue, state="DISABLED")
    with pytest.raises(ClientError, match="DISABLED"):
        gate.submit(queue, "refused")
    gate.open()
    settle(cloud, ids, ["SUCCEEDED", "SUCCEEDED"])


# -- shares


def fair_queue(cloud: Cloud, max_vcpus: int, **policy: Any) -> str:
    arn = cloud.batch.create_scheduling_policy(name=cloud.name("policy"), fairsharePolicy=policy)[
        "arn"
    ]
    return cloud.queue(cloud.environment(max_vcpus=max_vcpus), schedulingPolicyArn=arn)


def test_a_share_is_needed_with_a_policy_and_refused_without(cloud: Cloud) -> None:
    definition = cloud.define("true")
    with pytest.raises(ClientError, match="shareIdentifier must be specified"):
        cloud.submit(fair_queue(cloud, 1), definition)
    with pytest.raises(ClientError, match="shareIdentifier must not be given"):
        cloud.submit(cloud.queue(), definition, shareIdentifier="blue")
    with pytest.raises(ClientError, match="not valid"):
        cloud.submit(fair_queue(cloud, 1), definition, shareIdentifier="a-b")
    job = cloud.finished(cloud.submit(fair_queue(cloud, 1), definition, shareIdentifier="blue"))
    assert job["shareIdentifier"] == "blue"


def test_a_late_share_does_not_wait_for_all_of_an_early_one(cloud: Cloud, gate: Gate) -> None:
    queue = fair_queue(cloud, 1)
    early = [gate.submit(queue, f"early{i}", shareIdentifier="early") for i in range(3)]
    settle(cloud, early, ["RUNNING", "RUNNABLE", "RUNNABLE"])
    late = gate.submit(queue, "late", shareIdentifier="late")
    settle(cloud, [late], ["RUNNABLE"])
    gate.open()
    settle(cloud, [*early, late], ["SUCCEEDED"] * 4)
    assert gate.order()[:2] == ["early0", "late"]


def test_weights_are_honoured_by_vcpus_in_use(cloud: Cloud, gate: Gate) -> None:
    """A weight of 0.25 gets four times the vCPUs of a weight of 1."""
    queue = fair_queue(
        cloud, 5, shareDistribution=[{"shareIdentifier": "big*", "weightFactor": 0.25}]
    )
    for share in ("bigA", "small"):
        gate.submit(queue, share, shareIdentifier=share, arrayProperties={"size": 10})

    def running() -> Counter[str]:
        rows = cloud.batch.get_job_queue_snapshot(jobQueue=queue)["queueUtilization"]
        used = rows["fairshareUtilization"]["topCapacityUtilization"]
        return Counter(
            {one["shareIdentifier"]: int(one["capacityUsage"][0]["quantity"]) for one in used}
        )

    until(lambda: running().total() == 5, "five run")
    # The first share may have filled the environment before the second came; then they even out.
    for _ in range(20):
        if running() == {"bigA": 4, "small": 1}:
            break
        victims = cloud.batch.list_jobs(jobQueue=queue, jobStatus="PENDING")["jobSummaryList"]
        over = "bigA" if running()["bigA"] > 4 else "small"
        parent = next(one["jobId"] for one in victims if one["jobName"] == over)
        child = cloud.batch.list_jobs(arrayJobId=parent, jobStatus="RUNNING")["jobSummaryList"][0]
        cloud.batch.terminate_job(jobId=child["jobId"], reason="make room")
        cloud.finished(child["jobId"])
        until(lambda: running().total() == 5, "five run again")
    assert running() == {"bigA": 4, "small": 1}


def test_within_a_share_the_higher_scheduling_priority_comes_first(
    cloud: Cloud, gate: Gate
) -> None:
    queue = fair_queue(cloud, 1)
    ids = [gate.submit(queue, "first", shareIdentifier="a")]
    settle(cloud, ids, ["RUNNING"])
    for name, priority in (("low", 1), ("high", 9)):
        ids.append(
            gate.submit(queue, name, shareIdentifier="a", schedulingPriorityOverride=priority)
        )
    settle(cloud, ids[1:], ["RUNNABLE", "RUNNABLE"])
    gate.open()
    settle(cloud, ids, ["SUCCEEDED"] * 3)
    assert gate.order() == ["first", "high", "low"]


def test_a_compute_reservation_is_kept_for_shares_that_are_not_there_yet(
    cloud: Cloud, gate: Gate
) -> None:
    queue = fair_queue(cloud, 4, computeReservation=50)
    ids = [gate.submit(queue, f"a{i}", shareIdentifier="a") for i in range(4)]
    settle(cloud, ids, ["RUNNING", "RUNNING", "RUNNABLE", "RUNNABLE"])
    other = gate.submit(queue, "b", shareIdentifier="b")
    settle(cloud, [other], ["RUNNING"])
