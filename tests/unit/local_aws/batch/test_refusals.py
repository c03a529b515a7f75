"""What SubmitJob refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests
from botocore.exceptions import ClientError

from tests.unit.local_aws.batch.conftest import Cloud


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        pytest.param({"jobName": ""}, "job name '' is not valid", id="no name"),
        pytest.param({"jobName": "-x"}, "is not valid", id="name's first letter"),
        pytest.param({"jobName": "x" * 129}, "is not valid", id="long name"),
        pytest.param({"jobName": "x.y"}, "is not valid", id="name's letters"),
        pytest.param({"jobQueue": "nothing"}, "JobQueue nothing not found", id="queue"),
        pytest.param(
            {"jobDefinition": "nothing"},
            "JobDefinition nothing not found or inactive",
            id="definition",
        ),
        pytest.param({"dependsOn": [{"jobId": "x"}]}, "dependsOn is not supported", id="depends"),
        pytest.param(
            {"dependsOn": [{"type": "SEQUENTIAL"}], "arrayProperties": {"size": 2}},
            "dependsOn is not supported",
            id="sequential",
        ),
        pytest.param({"nodeOverrides": {"numNodes": 2}}, "nodeOverrides is not", id="nodes"),
        pytest.param(
            {"ecsPropertiesOverride": {"taskProperties": [{}]}},
            "ecsPropertiesOverride is not supported",
            id="ecs",
        ),
        pytest.param(
            {"eksPropertiesOverride": {"podProperties": {"metadata": {"labels": {"a": "b"}}}}},
            "eksPropertiesOverride is not supported",
            id="eks",
        ),
        pytest.param(
            {"containerOverrides": {"command": ["x" * 8192]}},
            "Container Overrides length must be at most 8192",
            id="large overrides",
        ),
        pytest.param(
            {"parameters": {"x": "y" * (30 << 10)}}, "takes at most 30720", id="large request"
        ),
        pytest.param(
            {"containerOverrides": {"environment": [{"name": "AWS_BATCH_X", "value": "1"}]}},
            "reserved",
            id="reserved variable",
        ),
        pytest.param(
            {"containerOverrides": {"resourceRequirements": [{"type": "VCPU", "value": "x"}]}},
            "value 'x' for type VCPU",
            id="vcpus",
        ),
        pytest.param({"tags": {"aws:x": "y"}}, "reserved", id="tag"),
        pytest.param({"tags": {"x": "y" * 257}}, "at most 256", id="tag value"),
        pytest.param({"tags": {str(i): "" for i in range(51)}}, "at most 50", id="tags"),
        pytest.param({"schedulingPriorityOverride": 10_000}, "9999", id="priority"),
    ],
)
def test_what_cannot_be_is_refused_by_name(
    cloud: Cloud, request_: dict[str, Any], why: str
) -> None:
    request = {
        "jobName": "job",
        "jobQueue": cloud.queue(),
        "jobDefinition": cloud.define("true"),
        **request_,
    }
    with pytest.raises(ClientError, match=why) as caught:
        cloud.batch.submit_job(**request)
    assert caught.value.response["Error"]["Code"] == "ClientException"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        ("{}", 'Missing required parameter in input: "jobName"'),
        ('{"jobName": 1, "jobQueue": "q", "jobDefinition": "d"}', "parameter jobName, value: 1"),
        (
            '{"jobName": "j", "jobQueue": "q", "jobDefinition": "d", "colour": 1}',
            'Unknown parameter in input: "colour"',
        ),
        (
            '{"jobName": "j", "jobQueue": "q", "jobDefinition": "d", '
            '"arrayProperties": {"size": "2"}}',
            "arrayProperties.size",
        ),
    ],
)
def test_requests_that_no_sdk_sends_are_refused_too(cloud: Cloud, body: str, why: str) -> None:
    answer = requests.post(
        "https://batch.us-east-1.amazonaws.com/v1/submitjob", data=body, timeout=5
    )
    assert answer.status_code == 400
    assert why in json.loads(answer.text)["message"]


def test_the_largest_overrides_are_taken(cloud: Cloud) -> None:
    frame = len(json.dumps({"command": ["true", ""]}, separators=(",", ":")))
    command = ["true", "x" * (8192 - frame)]
    job = cloud.finished(
        cloud.submit(cloud.queue(), cloud.define(), containerOverrides={"command": command})
    )
    assert job["status"] == "SUCCEEDED"
