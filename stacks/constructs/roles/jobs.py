"""The roles of a job: its own, and the one with which ECS works for it."""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from constructs import Construct

from stacks import naming
from stacks.constructs.roles import statements
from stacks.settings.schema import Registries, Storage


def make(
    scope: Construct, id: str, *, bucket: s3.IBucket, storage: Storage, keys: Sequence[str]
) -> iam.Role:
    """What a job's wrapper and command may do: read the buckets, write below the root prefix.

    Not below the scratch prefix, where what other jobs are about to run lies, and not to the
    assets, which hosts run: nothing that a further bucket of the settings says changes that.
    """
    role = _for_tasks(scope, id, "Jobs: their data")
    statements.read_data(role, bucket, storage)
    statements.write_data(role, bucket, storage, [storage.root_prefix])
    statements.use_keys(role, keys, "s3")
    stack = Stack.of(scope)
    statements.deny(
        role,
        "NothingThatHostsExecute",
        ["s3:Delete*", "s3:Put*"],
        [
            bucket.arn_for_objects(f"{storage.scratch_prefix}/*"),
            f"arn:{stack.partition}:s3:::cdk-*-assets-{stack.account}-{stack.region}/*",
        ],
    )
    return role


def make_execution(
    scope: Construct,
    id: str,
    *,
    environment: str,
    registries: Registries,
    keys: Sequence[str],
) -> iam.Role:
    """What ECS does for a job: pull its image, log in to its registry, write its log stream."""
    role = _for_tasks(scope, id, "Jobs: images and logs")
    statements.write_logs(role, "WriteLogs", scope, naming.job_log_group(environment))
    statements.pull_images(role)
    prefixes = [rule.prefix for rule in registries.pull_through]
    secrets = set(registries.job_secrets.values())
    way = registries.docker_hub_way
    if way == "pull_through":
        prefixes.append(naming.docker_hub_prefix(environment))
    elif way == "job_secret":
        secrets.add(statements.docker_hub_login(role, environment, way))
    if prefixes:
        # The first pull of an image makes its repository; ECR User Guide, "Required IAM
        # permissions" of pull through cache rules.
        statements.allow(
            role,
            "PullThroughCache",
            ["ecr:BatchImportUpstreamImage", "ecr:CreateRepository"],
            [statements.arn(role, "ecr", f"repository/{prefix}/*") for prefix in prefixes],
        )
    if secrets:
        statements.allow(
            role,
            "ReadRegistrySecrets",
            ["secretsmanager:GetSecretValue"],
            sorted(secrets),
        )
        statements.use_keys(role, keys, "secretsmanager")
    return role


def _for_tasks(scope: Construct, id: str, description: str) -> iam.Role:
    return iam.Role(
        scope,
        id,
        description=description,
        assumed_by=iam.ServicePrincipal(
            "ecs-tasks.amazonaws.com",
            # Nobody else's tasks (the confused deputy; ECS Developer Guide, "Task IAM role").
            conditions={"StringEquals": {"aws:SourceAccount": Stack.of(scope).account}},
        ),
    )
