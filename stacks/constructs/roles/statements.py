"""How statements are written: named, with whole actions, in the stack's partition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aws_cdk import Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from constructs import Construct

from stacks import naming
from stacks.settings.schema import Storage

Conditions = Mapping[str, Mapping[str, Any]]

ENVIRONMENT_TAG = "orchestrator:environment"
ECR_PULL = ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")


def allow(
    role: iam.Role,
    sid: str,
    actions: Sequence[str],
    resources: Sequence[str],
    conditions: Conditions | None = None,
) -> None:
    """One Allow in the role's own policy."""
    role.add_to_policy(
        iam.PolicyStatement(
            sid=sid,
            actions=list(actions),
            resources=list(resources),
            conditions={k: dict(v) for k, v in (conditions or {}).items()},
        )
    )


def deny(role: iam.Role, sid: str, actions: Sequence[str], resources: Sequence[str]) -> None:
    """One Deny: it wins over whatever else the role is given."""
    role.add_to_policy(
        iam.PolicyStatement(
            sid=sid,
            effect=iam.Effect.DENY,
            actions=list(actions),
            resources=list(resources),
        )
    )


def arn(scope: Construct, service: str, resource: str) -> str:
    """An ARN of the stack's partition, region and account."""
    stack = Stack.of(scope)
    return f"arn:{stack.partition}:{service}:{stack.region}:{stack.account}:{resource}"


def docker_hub_login(scope: Construct, environment: str, way: naming.DockerHubWay) -> str:
    """The ARN of the secret with the login to Docker Hub: its end is chosen when it is made."""
    return arn(
        scope, "secretsmanager", f"secret:{naming.docker_hub_secret(environment, way)}-??????"
    )


def log_group(scope: Construct, name: str) -> list[str]:
    """A log group and its streams. Some actions are checked on the one, some on the others."""
    return [arn(scope, "logs", f"log-group:{name}"), arn(scope, "logs", f"log-group:{name}:*")]


def read_data(role: iam.Role, bucket: s3.IBucket, storage: Storage) -> None:
    """The root bucket and the further ones of the settings: list and read."""
    others = _buckets(role, (*storage.read_buckets, *storage.write_buckets))
    allow(role, "List", ["s3:GetBucketLocation", "s3:ListBucket"], [bucket.bucket_arn, *others])
    allow(
        role,
        "Read",
        ["s3:GetObject"],
        [bucket.arn_for_objects("*"), *(f"{other}/*" for other in others)],
    )


def write_data(
    role: iam.Role, bucket: s3.IBucket, storage: Storage, prefixes: Sequence[str]
) -> None:
    """These prefixes of the root bucket, and the further buckets that may be written."""
    others = _buckets(role, storage.write_buckets)
    allow(
        role,
        "Write",
        ["s3:AbortMultipartUpload", "s3:ListMultipartUploadParts", "s3:PutObject"],
        [
            *(bucket.arn_for_objects(f"{prefix}/*") for prefix in prefixes),
            *(f"{other}/*" for other in others),
        ],
    )


def use_keys(role: iam.Role, keys: Sequence[str], service: str) -> None:
    """KMS keys, only by way of a service (`s3`): data cannot be decrypted behind its back."""
    if keys:
        stack = Stack.of(role)
        allow(
            role,
            f"UseKeysBy{service.title()}",
            ["kms:Decrypt", "kms:GenerateDataKey"],
            keys,
            {"StringEquals": {"kms:ViaService": f"{service}.{stack.region}.{stack.url_suffix}"}},
        )


def pull_images(role: iam.Role) -> None:
    """From every repository of the account; ECR's login knows no resources."""
    allow(role, "LogInToRegistry", ["ecr:GetAuthorizationToken"], ["*"])
    allow(role, "PullImages", ECR_PULL, [arn(role, "ecr", "repository/*")])


def reach_by_session_manager(role: iam.Role) -> None:
    """People come in through Session Manager: no port is open. Its channels have no resources.

    Not AmazonSSMManagedInstanceCore: that reads every parameter of the account.
    """
    allow(
        role,
        "SessionManager",
        [
            "ssm:UpdateInstanceInformation",
            "ssmmessages:CreateControlChannel",
            "ssmmessages:CreateDataChannel",
            "ssmmessages:OpenControlChannel",
            "ssmmessages:OpenDataChannel",
        ],
        ["*"],
    )


def write_logs(role: iam.Role, sid: str, scope: Construct, group: str) -> None:
    """Streams of one log group, and what goes into them."""
    allow(role, sid, ["logs:CreateLogStream", "logs:PutLogEvents"], log_group(scope, group))


def _buckets(scope: Construct, names: Sequence[str]) -> list[str]:
    partition = Stack.of(scope).partition
    return [f"arn:{partition}:s3:::{name}" for name in dict.fromkeys(names)]
