"""Template parameters: given, default, previous, resolved, refused."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.local_aws.cloudformation import parameters
from orchestrator.local_aws.cloudformation.errors import ValidationError


def resolve(declared: dict[str, Any], **given: str) -> dict[str, parameters.Parameter]:
    return parameters.resolve(declared, given, lambda name: f"value of {name}")


def test_a_given_value_comes_before_the_default() -> None:
    declared = {"A": {"Type": "String", "Default": "d"}, "B": {"Type": "Number", "Default": 3}}
    assert {n: p.value for n, p in resolve(declared, A="g").items()} == {"A": "g", "B": "3"}


def test_lists_are_split() -> None:
    declared = {"A": {"Type": "CommaDelimitedList", "Default": ""}, "B": {"Type": "List<Number>"}}
    assert {n: p.value for n, p in resolve(declared, B="1, 2").items()} == {
        "A": [],
        "B": ["1", "2"],
    }


def test_an_ssm_parameter_gives_its_value_and_shows_its_name() -> None:
    declared = {"A": {"Type": "AWS::SSM::Parameter::Value<AWS::EC2::Image::Id>"}}
    found = resolve(declared, A="/aws/x")["A"]
    assert found.value == "value of /aws/x"
    assert found.as_json()["ParameterValue"] == "/aws/x"
    assert found.as_json()["ResolvedValue"] == "value of /aws/x"


def test_a_secret_value_is_not_shown() -> None:
    assert resolve({"A": {"Type": "String", "NoEcho": True}}, A="s")["A"].as_json() == {
        "ParameterKey": "A",
        "ParameterValue": "****",
    }


def test_the_previous_value_is_used_when_asked_for() -> None:
    previous = resolve({"A": {"Type": "String"}}, A="before")
    request = [{"ParameterKey": "A", "UsePreviousValue": True}]
    assert parameters.given(request, previous) == {"A": "before"}


def test_a_new_parameter_has_no_previous_value_but_its_default() -> None:
    request = [{"ParameterKey": "New", "UsePreviousValue": True}]
    given = parameters.given(request, {})
    assert resolve({"New": {"Type": "String", "Default": "d"}}, **given)["New"].value == "d"


@pytest.mark.parametrize(
    ("declared", "given", "message"),
    [
        ({"A": {"Type": "String"}}, {}, "must have values"),
        ({}, {"A": "x"}, "do not exist in the template"),
        ({"A": {"Type": "Number"}}, {"A": "x"}, "must be a number"),
        ({"A": {"Type": "Strin"}}, {"A": "x"}, "Unrecognized parameter type: Strin"),
        ({"A": {"Type": "String", "Defualt": 1}}, {"A": "x"}, "Defualt"),
        ({"A": {"Type": "String", "AllowedValues": ["a"]}}, {"A": "b"}, "AllowedValues"),
        ({"A": {"Type": "String", "AllowedPattern": "[a-z]+"}}, {"A": "a1"}, "must match pattern"),
        ({"A": {"Type": "String", "MinLength": 2}}, {"A": "a"}, "2 or more"),
        ({"A": {"Type": "Number", "MaxValue": 2}}, {"A": "3"}, "MaxValue 2"),
    ],
)
def test_wrong_values_are_refused_and_named(
    declared: dict[str, Any], given: dict[str, str], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        resolve(declared, **given)
