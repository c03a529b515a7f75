"""Intrinsic functions, conditions and dynamic references."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from orchestrator.local_aws.cloudformation import intrinsics
from orchestrator.local_aws.cloudformation.errors import ValidationError


class Names:
    """A scope with a parameter, a resource and two conditions."""

    def ref(self, name: str) -> Any:
        return {"P": "p", "List": ["a", "b"], "R": "r-1", "AWS::Region": "eu-west-1"}[name]

    def attribute(self, logical_id: str, name: str) -> Any:
        return f"{logical_id}.{name}!"

    def condition(self, name: str) -> bool:
        return {"Yes": True, "No": False}[name]

    def mapping(self, name: str) -> Mapping[str, Any]:
        return {"M": {"a": {"b": "c"}}}[name]

    def import_value(self, name: str) -> str:
        return f"imported {name}"

    def zones(self, region: str) -> list[str]:
        return [f"{region}a", f"{region}b"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("plain", "plain"),
        ({"Ref": "R"}, "r-1"),
        ({"Fn::GetAtt": ["R", "Arn"]}, "R.Arn!"),
        ({"Fn::GetAtt": "R.Endpoint.Port"}, "R.Endpoint.Port!"),
        ({"Fn::Join": ["-", ["a", {"Ref": "P"}, 3]]}, "a-p-3"),
        ({"Fn::Join": [",", {"Ref": "List"}]}, "a,b"),
        ({"Fn::Sub": "${P}/${R.Arn}/${!P}/$P"}, "p/R.Arn!/${P}/$P"),
        ({"Fn::Sub": ["${X}-${P}", {"X": {"Ref": "R"}}]}, "r-1-p"),
        ({"Fn::Select": ["1", {"Ref": "List"}]}, "b"),
        ({"Fn::Split": [".", "a.b.c"]}, ["a", "b", "c"]),
        ({"Fn::If": ["Yes", "a", {"Ref": "missing"}]}, "a"),
        ({"Fn::If": ["No", {"Ref": "missing"}, "b"]}, "b"),
        ({"Fn::FindInMap": ["M", "a", "b"]}, "c"),
        ({"Fn::Base64": "hi"}, "aGk="),
        ({"Fn::ImportValue": {"Fn::Sub": "net:${P}"}}, "imported net:p"),
        ({"Fn::GetAZs": ""}, ["eu-west-1a", "eu-west-1b"]),
        ({"Fn::Cidr": ["10.0.0.0/16", 2, 8]}, ["10.0.0.0/24", "10.0.1.0/24"]),
        ({"a": {"Ref": "AWS::NoValue"}, "b": [{"Ref": "AWS::NoValue"}, 1]}, {"b": [1]}),
        ({"a": {"Fn::If": ["No", 1, {"Ref": "AWS::NoValue"}]}}, {}),
        ({"Ref": "P", "Other": 1}, {"Ref": "P", "Other": 1}),
    ],
)
def test_functions(value: Any, expected: Any) -> None:
    assert intrinsics.evaluate(value, Names()) == expected


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"Fn::Equals": [{"Ref": "P"}, "p"]}, True),
        ({"Fn::Equals": [True, "true"]}, True),
        ({"Fn::Not": [{"Condition": "Yes"}]}, False),
        ({"Fn::And": [{"Condition": "Yes"}, {"Condition": "No"}]}, False),
        ({"Fn::Or": [{"Condition": "Yes"}, {"Condition": "No"}]}, True),
        ({"Fn::Contains": [["1", "2"], "2"]}, True),
        ({"Fn::EachMemberIn": [{"Ref": "List"}, ["a", "b", "c"]]}, True),
        ({"Fn::EachMemberEquals": [{"Ref": "List"}, "a"]}, False),
    ],
)
def test_conditions(condition: Any, expected: bool) -> None:
    assert intrinsics.test(condition, Names()) is expected


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"Fn::Transform": {"Name": "X"}}, "does not support the function Fn::Transform"),
        ({"Fn::Select": [5, {"Ref": "List"}]}, "Fn::Select"),
        ({"Fn::Select": [-1, {"Ref": "List"}]}, "Fn::Select"),
        ({"Fn::FindInMap": ["M", "a", "z"]}, "Fn::FindInMap"),
        ({"Fn::Join": ["-", "text"]}, "Fn::Join"),
        ({"Fn::Cidr": ["10.0.0.0/24", 300, 4]}, "Fn::Cidr"),
    ],
)
def test_what_cannot_be_evaluated_is_named(value: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        intrinsics.evaluate(value, Names())


def test_a_policy_condition_is_no_reference_to_a_condition() -> None:
    statement = {"Effect": "Deny", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}
    assert intrinsics.conditions_used(statement) == set()
    assert intrinsics.evaluate(statement, Names()) == statement


def test_dynamic_references_are_looked_up_anywhere_inside() -> None:
    seen: list[tuple[str, str]] = []

    def lookup(service: str, reference: str) -> str:
        seen.append((service, reference))
        return "X"

    value = {"a": ["{{resolve:ssm:/n:3}}-{{resolve:secretsmanager:s:SecretString:password::}}"]}
    assert intrinsics.resolve_dynamic(value, lookup) == {"a": ["X-X"]}
    assert seen == [("ssm", "/n:3"), ("secretsmanager", "s:SecretString:password::")]
