"""Templates: what is understood, and what is refused before anything is begun."""

from __future__ import annotations

import json
from typing import Any

import pytest

from orchestrator.local_aws.cloudformation import template
from orchestrator.local_aws.cloudformation.errors import ValidationError

YAML = """
AWSTemplateFormatVersion: 2010-09-09
Description: short forms
Conditions:
  Always: !Equals [a, a]
Resources:
  Log:
    Type: AWS::Logs::LogGroup
    Condition: Always
    Properties:
      LogGroupName: !Sub "/x/${AWS::StackName}"
  Value:
    Type: AWS::SSM::Parameter
    DependsOn: Log
    Properties:
      Type: String
      Value: !Join ["-", [!Ref Log, !GetAtt Log.Arn, !If [Always, 1, !Ref "AWS::NoValue"]]]
  Role:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument: {Version: 2012-10-17, Statement: []}
"""


def parse(document: dict[str, Any]) -> template.Template:
    return template.parse(json.dumps(document))


def log_group(**more: Any) -> dict[str, Any]:
    return {"Type": "AWS::Logs::LogGroup", **more}


def test_yaml_short_forms_are_the_long_forms() -> None:
    parsed = template.parse(YAML)
    value = parsed.resources["Value"].properties["Value"]["Fn::Join"][1]
    assert value == [
        {"Ref": "Log"},
        {"Fn::GetAtt": ["Log", "Arn"]},
        {"Fn::If": ["Always", 1, {"Ref": "AWS::NoValue"}]},
    ]


def test_dates_in_yaml_stay_text() -> None:
    parsed = template.parse(YAML)
    role = parsed.resources["Role"].properties["AssumeRolePolicyDocument"]
    assert role["Version"] == "2012-10-17"
    assert parsed.document["AWSTemplateFormatVersion"] == "2010-09-09"


def test_resources_come_after_what_they_depend_on() -> None:
    order = parse(
        {
            "Resources": {
                "A": log_group(DependsOn=["B"]),
                "B": log_group(Properties={"LogGroupName": {"Fn::Sub": "${C}-x"}}),
                "C": log_group(Properties={"LogGroupName": {"Fn::GetAtt": ["D", "Arn"]}}),
                "D": log_group(),
            }
        }
    ).order
    assert order == ("D", "C", "B", "A")


def test_a_literal_in_sub_is_no_reference() -> None:
    parsed = parse(
        {"Resources": {"A": log_group(Properties={"LogGroupName": {"Fn::Sub": "${!Nothing}"}})}}
    )
    assert parsed.order == ("A",)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "At least one Resources member"),
        ({"Resources": {"A": log_group()}, "Resource": {}}, "Invalid template property.*Resource"),
        ({"Resources": {"A": log_group()}, "Transform": "X"}, "Transform"),
        ({"Resources": {"A": {"Properties": {}}}}, "must contain a Type"),
        ({"Resources": {"A": log_group(Propertys={})}}, "Propertys"),
        ({"Resources": {"A": log_group(DependsOn="B")}}, r"\['B'\]"),
        ({"Resources": {"A": log_group(Condition="B")}}, "Unresolved condition B"),
        ({"Resources": {"A": log_group(DeletionPolicy="Keep")}}, "Unrecognized DeletionPolicy"),
        (
            {"Resources": {"A": log_group(Properties={"LogGroupName": {"Ref": "B"}})}},
            r"Unresolved resource dependencies \['B'\] in the Resources block",
        ),
        (
            {
                "Resources": {"A": log_group()},
                "Outputs": {"O": {"Value": {"Fn::If": ["No", "a", "b"]}}},
            },
            "Unresolved condition dependency No",
        ),
        (
            {"Resources": {"A": log_group(DependsOn="B"), "B": log_group(DependsOn="A")}},
            r"Circular dependency between resources: \[A, B\]",
        ),
    ],
)
def test_what_is_wrong_is_refused_and_named(document: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        parse(document)


@pytest.mark.parametrize("text", ["", "- a", "{a: ", "just words", "!!python/object:os.system {}"])
def test_what_is_no_template_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        template.parse(text)
