"""Functions in templates, and custom resources that they answer for."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from tests.unit.local_aws.conftest import Cloud
from tests.unit.local_aws.deployed import att, of

# Says back what it was asked, as the resource's attribute.
CODE = """
import json, urllib.request
def handler(event, context):
    print("asked to", event["RequestType"])
    own = event["ResourceProperties"]
    if own.get("Mute"):
        raise ValueError("nothing to say")
    answer = {
        "Status": "FAILED" if own.get("Fail") else "SUCCESS", "Reason": "as it was told",
        "PhysicalResourceId": event.get("PhysicalResourceId", "one"),
        "Data": {"Said": json.dumps([event["RequestType"], own,
                                     event.get("OldResourceProperties")])},
        **{n: event[n] for n in ("StackId", "RequestId", "LogicalResourceId")},
    }
    request = urllib.request.Request(
        event["ResponseURL"], json.dumps(answer).encode(), method="PUT")
    urllib.request.urlopen(request)
    return own
"""
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "lambda.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    ],
}


def declared(code: str = CODE, **properties: Any) -> dict[str, Any]:
    return {
        "Role": of("IAM::Role", AssumeRolePolicyDocument=TRUST),
        "Function": of(
            "Lambda::Function",
            Code={"ZipFile": code},
            Handler="index.handler",
            Runtime="python3.13",
            Role=att("Role", "Arn"),
            Timeout=60,
            MemorySize="256",
        ),
        "Custom": {
            "Type": "Custom::Thing",
            "Properties": {"ServiceToken": att("Function", "Arn"), **properties},
        },
    }


def said(cloud: Cloud, name: str) -> Any:
    return json.loads(cloud.outputs(name)["Said"])


OUTPUTS = {"Said": {"Value": att("Custom", "Said")}}


def test_a_custom_resource_is_what_its_function_says(cloud: Cloud) -> None:
    name = cloud.create(declared(Size=3, Big=True), Outputs=OUTPUTS)
    assert cloud.status(name) == "CREATE_COMPLETE"
    # CloudFormation sends texts.
    assert said(cloud, name) == ["Create", {"Size": "3", "Big": "true"}, None]
    assert cloud.physical(name, "Custom") == "one"
    cloud.update(name, declared(Size=4), Outputs=OUTPUTS)
    assert said(cloud, name) == ["Update", {"Size": "4"}, {"Size": "3", "Big": "true"}]
    cloud.delete(name)
    functions = cloud.client("lambda").list_functions()["Functions"]
    assert not [f for f in functions if f["FunctionName"].startswith(name)]


@pytest.mark.parametrize(
    ("how", "why"),
    [({"Fail": "1"}, "as it was told"), ({"Mute": "1"}, "ValueError: nothing to say")],
)
def test_a_failure_of_the_function_is_that_of_the_stack(
    cloud: Cloud, how: dict[str, str], why: str
) -> None:
    name = cloud.create(declared(**how))
    assert cloud.status(name) == "ROLLBACK_COMPLETE"
    assert why in _events(cloud, name)


def _events(cloud: Cloud, name: str) -> str:
    answer = cloud.client("cloudformation").describe_stack_events(StackName=name)
    return " ".join(e.get("ResourceStatusReason", "") for e in answer["StackEvents"])


def test_a_function_runs_its_new_code_and_says_what_it_returns(cloud: Cloud) -> None:
    name = cloud.create(declared())
    code = "def handler(event, context):\n    return {'got': event}\n"
    resources = declared(code)
    del resources["Custom"]
    cloud.update(name, resources)  # the new code answers no event of CloudFormation
    function = cloud.physical(name, "Function")
    answer = cloud.client("lambda").invoke(
        FunctionName=function, Payload=io.BytesIO(b'{"a": 1}'), LogType="Tail"
    )
    assert json.load(answer["Payload"]) == {"got": {"a": 1}}


def test_what_is_not_supported_is_named(cloud: Cloud) -> None:
    resources = declared()
    resources["Function"]["Properties"]["Code"] = {"S3Bucket": "b", "S3Key": "k"}
    name = cloud.create(resources)
    assert cloud.status(name) == "ROLLBACK_COMPLETE"
    assert "supports only Code.ZipFile" in _events(cloud, name)
