"""How roles and policies are written. What they allow is in test_permissions.py."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from aws_cdk.assertions import Template

from tests.stacks.text import render

Resources = list[tuple[str, str, str, dict[str, Any]]]

# Actions that know no resource (Service Authorization Reference), and so may stand beside `*`.
WITHOUT_RESOURCES = {
    "batch:DescribeComputeEnvironments",
    "batch:DescribeJobDefinitions",
    "batch:DescribeJobQueues",
    "batch:DescribeJobs",
    "batch:ListJobs",
    "cloudwatch:DescribeAlarms",
    "cloudwatch:GetMetricData",
    "ec2:DescribeInstances",
    "ec2:DescribeTags",
    "ec2:DescribeVolumes",
    "ec2:DescribeVolumesModifications",
    "ecr:GetAuthorizationToken",
    "ecs:DiscoverPollEndpoint",
    "logs:DescribeLogGroups",
    "ssm:DescribeInstanceInformation",
    "ssm:UpdateInstanceInformation",
    "ssmmessages:CreateControlChannel",
    "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenControlChannel",
    "ssmmessages:OpenDataChannel",
}
ORGANISATION = {
    "set.identity.permissions_boundary": "arn:aws:iam::111122223333:policy/boundary",
    "set.identity.path": "/teams/genomics/",
    "set.identity.operators": '["arn:aws:iam::111122223333:role/people"]',
}


@pytest.fixture(scope="module")
def organisation(
    synthesise: Callable[..., Mapping[str, Template]],
) -> Mapping[str, Template]:
    return synthesise(**ORGANISATION)


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _resources(templates: Mapping[str, Template]) -> Resources:
    return [
        (part, name, entry["Type"], entry)
        for part, template in templates.items()
        for name, entry in template.to_json()["Resources"].items()
    ]


def _statements(resources: Resources) -> Iterator[tuple[str, dict[str, Any]]]:
    for part, name, kind, entry in resources:
        if kind == "AWS::IAM::Policy" and part != "network":  # CDK's own, of the flow log
            for statement in entry["Properties"]["PolicyDocument"]["Statement"]:
                yield name, statement


def test_every_statement_says_what_it_is_for_and_names_actions_and_resources(
    organisation: Mapping[str, Template],
) -> None:
    seen = 0
    for name, statement in _statements(_resources(organisation)):
        seen += 1
        assert "Sid" in statement, (name, statement)
        assert "NotAction" not in statement
        assert "NotResource" not in statement
        if statement["Effect"] == "Deny":
            continue
        actions = _as_list(statement["Action"])
        for action in actions:
            assert "*" not in action, (name, action)
        targets = [render(target) for target in _as_list(statement["Resource"])]
        if "*" in targets:
            assert set(actions) <= WITHOUT_RESOURCES, (name, statement["Sid"])
    assert seen > 40


def test_no_role_has_a_policy_of_somebody_else(organisation: Mapping[str, Template]) -> None:
    roles = [
        e["Properties"] for _, _, kind, e in _resources(organisation) if kind == "AWS::IAM::Role"
    ]
    assert len(roles) == 7
    for role in roles:
        assert "ManagedPolicyArns" not in role
        assert "Policies" not in role


def test_every_role_keeps_to_the_organisations_boundary_and_path(
    organisation: Mapping[str, Template], templates: Mapping[str, Template]
) -> None:
    for _, name, kind, entry in _resources(organisation):
        if kind in ("AWS::IAM::Role", "AWS::IAM::InstanceProfile"):
            assert entry["Properties"]["Path"] == "/teams/genomics/", name
        if kind == "AWS::IAM::Role":
            boundary = render(entry["Properties"]["PermissionsBoundary"])
            assert boundary == "arn:aws:iam::111122223333:policy/boundary", name
    for _, name, kind, entry in _resources(templates):
        if kind == "AWS::IAM::Role":
            assert "PermissionsBoundary" not in entry["Properties"], name


def test_people_have_a_role_only_where_the_settings_say_who(
    organisation: Mapping[str, Template], templates: Mapping[str, Template]
) -> None:
    def operators(made: Mapping[str, Template]) -> list[dict[str, Any]]:
        found = made["identity"].find_resources("AWS::IAM::Role").items()
        return [role for name, role in found if name.startswith("OperatorRole")]

    (role,) = operators(organisation)
    (statement,) = role["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Principal"] == {"AWS": "arn:aws:iam::111122223333:role/people"}
    assert operators(templates) == []


def test_what_may_be_replaced_crosses_stacks_through_ssm(
    bodies: Mapping[str, dict[str, Any]],
) -> None:
    """An export cannot change while it is imported: a role that must be replaced could not be."""
    for part in ("identity", "compute", "contract", "host"):
        assert "Outputs" not in bodies[part], part
    published = {
        entry["Properties"]["Name"]
        for entry in bodies["identity"]["Resources"].values()
        if entry["Type"] == "AWS::SSM::Parameter"
    }
    assert published == {
        f"/orchestrator/dev/stacks/{role}-role-{what}"
        for role in ("worker", "job", "execution", "host")
        for what in ("arn", "name")
    }
    for part in ("compute", "contract", "host"):
        read = {p["Default"] for p in bodies[part]["Parameters"].values()}
        assert read & published, part
        assert {name for name in read if "/stacks/" in name} <= published


@pytest.mark.parametrize("role", ["JobRole", "ExecutionRole"])
def test_roles_of_jobs_are_for_tasks_of_this_account(
    templates: Mapping[str, Template], role: str
) -> None:
    (entry,) = [
        entry
        for name, entry in templates["identity"].find_resources("AWS::IAM::Role").items()
        if name.startswith(role)
    ]
    (statement,) = entry["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": "ecs-tasks.amazonaws.com"}
    assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": "111122223333"}}


def test_policies_are_not_longer_than_iam_takes(organisation: Mapping[str, Template]) -> None:
    """10,240 characters without blanks, all inline policies of a role together."""
    length: dict[str, int] = {}
    for _, _, kind, entry in _resources(organisation):
        if kind == "AWS::IAM::Policy":
            for role in entry["Properties"]["Roles"]:
                text = json.dumps(entry["Properties"]["PolicyDocument"], separators=(",", ":"))
                length[str(role)] = length.get(str(role), 0) + len(text)
    assert max(length.values()) < 10_240
