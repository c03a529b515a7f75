"""Queues and scheduling policies that AWS Batch would not take."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.unit.local_aws.batch.conftest import Cloud

LIMIT = {
    "reason": "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT",
    "state": "RUNNABLE",
    "maxTimeSeconds": 1800,
    "action": "CANCEL",
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"maxTimeSeconds": 599}, "between 600 and 86400"),
        ({"maxTimeSeconds": 86_401}, "between 600 and 86400"),
        ({"state": "RUNNING"}, "state must be RUNNABLE"),
        ({"action": "TERMINATE"}, "TERMINATE is not supported by the local AWS"),
        ({"action": "STOP"}, "action must be CANCEL"),
        ({"reason": "BECAUSE"}, "reason must be one of"),
    ],
)
def test_a_time_limit_that_batch_refuses(
    cloud: Cloud, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ClientError, match=message):
        cloud.queue(jobStateTimeLimitActions=[LIMIT | change])
    queue = cloud.queue(jobStateTimeLimitActions=[LIMIT])
    with pytest.raises(ClientError, match=message):
        cloud.batch.update_job_queue(jobQueue=queue, jobStateTimeLimitActions=[LIMIT | change])
    (found,) = cloud.batch.describe_job_queues(jobQueues=[queue])["jobQueues"]
    assert found["jobStateTimeLimitActions"] == [LIMIT]


def test_a_queue_without_a_policy_never_gets_one(cloud: Cloud) -> None:
    policy = cloud.batch.create_scheduling_policy(name="late", fairsharePolicy={})["arn"]
    plain, fair = cloud.queue(), cloud.queue(schedulingPolicyArn=policy)
    with pytest.raises(ClientError, match="cannot get one any more"):
        cloud.batch.update_job_queue(jobQueue=plain, schedulingPolicyArn=policy)
    other = cloud.batch.create_scheduling_policy(name="other", fairsharePolicy={})["arn"]
    cloud.batch.update_job_queue(jobQueue=fair, schedulingPolicyArn=other)
    (found,) = cloud.batch.describe_job_queues(jobQueues=[fair])["jobQueues"]
    assert found["schedulingPolicyArn"] == other


def test_a_queue_of_a_policy_that_is_not_there_is_refused(cloud: Cloud) -> None:
    arn = "arn:aws:batch:us-east-1:123456789012:scheduling-policy/none"
    with pytest.raises(ClientError, match="scheduling-policy/none does not exist"):
        cloud.queue(schedulingPolicyArn=arn)


def test_a_queue_has_at_most_three_environments(cloud: Cloud) -> None:
    with pytest.raises(ClientError, match="has 4 entries, at most 3"):
        cloud.queue(*(cloud.environment() for _ in range(4)))


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ({"shareDecaySeconds": 604_801}, "shareDecaySeconds must be"),
        ({"computeReservation": 100}, "computeReservation must be"),
        ({"shareDistribution": [{"shareIdentifier": "a-b"}]}, "'a-b' is not valid"),
        (
            {"shareDistribution": [{"shareIdentifier": "a", "weightFactor": 1000.0}]},
            "weightFactor of a",
        ),
        (
            {"shareDistribution": [{"shareIdentifier": "a*"}, {"shareIdentifier": "ab"}]},
            "overlaps",
        ),
    ],
)
def test_a_policy_that_batch_refuses(cloud: Cloud, policy: dict[str, Any], message: str) -> None:
    with pytest.raises(ClientError, match=message):
        cloud.batch.create_scheduling_policy(name="refused", fairsharePolicy=policy)
    arn = cloud.batch.create_scheduling_policy(name="good", fairsharePolicy={})["arn"]
    with pytest.raises(ClientError, match=message):
        cloud.batch.update_scheduling_policy(arn=arn, fairsharePolicy=policy)
