from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from aws_cdk.assertions import Template

from tests.stacks.text import render

# Actions that know no resource (Service Authorization Reference), and so may stand beside `*`.
WITHOUT_RESOURCES = {
    "batch:DescribeComputeEnvironments",
    "batch:DescribeJobDefinitions",
    "batch:DescribeJobQueues",
    "batch:DescribeJobs",
    "batch:ListJobs",
    "ec2:DescribeTags",
    "ecr:GetAuthorizationToken",
    "ecs:DiscoverPollEndpoint",
    "ssm:UpdateInstanceInformation",
    "ssmmessages:CreateControlChannel",
    "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenControlChannel",
    "ssmmessages:OpenDataChannel",
}


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _statements(
    resources: list[tuple[str, str, str, dict[str, Any]]], role: str = ""
) -> Iterator[tuple[str, list[str], list[str], dict[str, Any]]]:
    """Policy, actions, resources and the whole of every Allow, for roles whose id begins so."""
    for _, name, kind, entry in resources:
        if kind != "AWS::IAM::Policy":
            continue
        holders = [render(r) for r in entry["Properties"]["Roles"]]
        if not all(f"{role}" in holder for holder in holders):
            continue
        for statement in entry["Properties"]["PolicyDocument"]["Statement"]:
            assert statement["Effect"] == "Allow"
            yield (
                name,
                _as_list(statement["Action"]),
                [render(r) for r in _as_list(statement["Resource"])],
                statement,
            )


def _actions(resources: list[tuple[str, str, str, dict[str, Any]]], role: str) -> set[str]:
    return {a for _, actions, _, _ in _statements(resources, role) for a in actions}


def test_every_statement_names_its_actions_and_its_resources(
    resources: list[tuple[str, str, str, dict[str, Any]]],
) -> None:
    seen = 0
    for name, actions, targets, _ in _statements(resources):
        seen += 1
        for action in actions:
            assert "*" not in action, (name, action)
        if "*" in targets:
            assert set(actions) <= WITHOUT_RESOURCES, name
        for target in targets:
            assert target == "*" or not target.startswith("arn:aws:s3:::*"), name
    assert seen > 15


def test_no_role_has_a_policy_of_somebody_else(
    resources: list[tuple[str, str, str, dict[str, Any]]],
) -> None:
    roles = [entry["Properties"] for _, _, kind, entry in resources if kind == "AWS::IAM::Role"]
    assert len(roles) == 5
    for role in roles:
        assert "ManagedPolicyArns" not in role
        assert "Policies" not in role


def test_the_worker_role_cannot_touch_data(
    resources: list[tuple[str, str, str, dict[str, Any]]],
) -> None:
    """Every job must be taken to hold it: host networking reaches the metadata service."""
    actions = _actions(resources, "WorkerRole")
    services = {action.split(":")[0] for action in actions}
    assert services == {"ecs", "ecr", "ec2", "s3"}
    assert {a for a in actions if a.startswith("s3:")} == {"s3:GetObject"}
    objects = [
        target
        for _, names, targets, _ in _statements(resources, "WorkerRole")
        if "s3:GetObject" in names
        for target in targets
    ]
    assert len(objects) == 2
    for target in objects:  # the tools, by their exact keys, in the bucket of assets
        assert "*" not in target
        assert ":::cdk-hnb659fds-assets-111122223333-us-east-1/" in target


def test_a_job_reads_the_bucket_and_writes_only_below_the_root_prefix(
    resources: list[tuple[str, str, str, dict[str, Any]]],
) -> None:
    assert _actions(resources, "JobRole") == {
        "s3:AbortMultipartUpload",
        "s3:GetBucketLocation",
        "s3:GetObject",
        "s3:ListBucket",
        "s3:ListMultipartUploadParts",
        "s3:PutObject",
    }
    for _, actions, targets, _ in _statements(resources, "JobRole"):
        if "s3:PutObject" in actions:
            assert sorted(t.rsplit(">", 1)[1] for t in targets) == ["/workflows/*"]


def test_an_execution_role_pulls_and_logs_and_nothing_else(
    resources: list[tuple[str, str, str, dict[str, Any]]],
) -> None:
    services = {a.split(":")[0] for a in _actions(resources, "ExecutionRole")}
    assert services == {"ecr", "logs"}
    for _, actions, targets, _ in _statements(resources, "ExecutionRole"):
        if "logs:PutLogEvents" in actions:
            assert targets == [
                "arn:aws:logs:us-east-1:111122223333:log-group:/orchestrator/dev/jobs:log-stream:*"
            ]


def test_the_orchestrator_submits_only_to_its_queues_and_passes_only_the_job_roles(
    resources: list[tuple[str, str, str, dict[str, Any]]],
) -> None:
    by_action = {
        action: (targets, whole)
        for _, actions, targets, whole in _statements(resources, "OrchestratorRole")
        for action in actions
        if action in ("batch:SubmitJob", "iam:PassRole", "batch:RegisterJobDefinition")
    }
    batch = "arn:aws:batch:us-east-1:111122223333"
    assert sorted(by_action["batch:SubmitJob"][0]) == [
        f"{batch}:job-definition/dev_orchestrator-*",
        f"{batch}:job-queue/dev-on-demand",
        f"{batch}:job-queue/dev-spot",
    ]
    assert by_action["batch:RegisterJobDefinition"][0] == [
        f"{batch}:job-definition/dev_orchestrator-*"
    ]
    targets, whole = by_action["iam:PassRole"]
    assert {t.split("Role")[0] for t in targets} == {"<Execution", "<Job"}
    assert whole["Condition"] == {
        "StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}
    }


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


def test_reference_buckets_can_be_read_and_not_written(
    synthesise: Any,
) -> None:
    made = synthesise(**{"set.storage.read_buckets": '["public-references"]'})
    policies = made["identity"].find_resources("AWS::IAM::Policy")
    resources = [("identity", n, p["Type"], p) for n, p in policies.items()]
    for role in ("JobRole", "OrchestratorRole"):
        touching = {
            action
            for _, actions, targets, _ in _statements(resources, role)
            if any("public-references" in t for t in targets)
            for action in actions
        }
        assert touching == {"s3:GetBucketLocation", "s3:ListBucket", "s3:GetObject"}
