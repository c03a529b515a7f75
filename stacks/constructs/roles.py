"""The roles, each with the least it needs.

Every job must be taken to hold the worker's role too: jobs in the host's network reach its
metadata service whatever the hop limit. So that role can do nothing to data.
"""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from constructs import Construct

from stacks import naming
from stacks.settings import Storage

_ECR_PULL = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]


def worker(scope: Construct, id: str) -> iam.Role:
    """What the ECS agent needs to join a cluster, pull images and report. No S3, no logs."""
    stack = Stack.of(scope)
    clusters = _arn(stack, "ecs", "cluster/*")
    instances = _arn(stack, "ecs", "container-instance/*")
    role = iam.Role(
        scope,
        id,
        description="Batch worker hosts: the ECS agent",
        assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"),
    )
    _allow(
        role,
        "JoinCluster",
        [
            "ecs:DeregisterContainerInstance",
            "ecs:RegisterContainerInstance",
            "ecs:SubmitAttachmentStateChanges",
            "ecs:SubmitContainerStateChange",
            "ecs:SubmitTaskStateChange",
        ],
        [clusters],
    )
    _allow(
        role,
        "Report",
        ["ecs:Poll", "ecs:StartTelemetrySession", "ecs:UpdateContainerInstancesState"],
        [instances],
    )
    _allow(
        role,
        "TagOnJoining",
        ["ecs:TagResource"],
        [clusters, instances],
        {"StringEquals": {"ecs:CreateAction": "RegisterContainerInstance"}},
    )
    # Neither action knows resources.
    _allow(role, "FindEndpoint", ["ecs:DiscoverPollEndpoint", "ec2:DescribeTags"], ["*"])
    _pull_images(role, stack)
    return role


def job(scope: Construct, id: str, *, bucket: s3.IBucket, storage: Storage) -> iam.Role:
    """What a job's wrapper and command may do: read the buckets, write below the root prefix.

    Not below the scratch prefix: what other jobs are about to run lies there.
    """
    role = _for_jobs(scope, id, "Jobs: their data")
    _read(role, bucket, storage)
    _write(role, bucket, [storage.root_prefix])
    return role


def execution(scope: Construct, id: str, *, environment: str) -> iam.Role:
    """What ECS does for a job: pull its image, write its log stream."""
    stack = Stack.of(scope)
    role = _for_jobs(scope, id, "Jobs: images and logs")
    _allow(
        role,
        "WriteLogs",
        ["logs:CreateLogStream", "logs:PutLogEvents"],
        [_log_streams(stack, environment)],
    )
    _pull_images(role, stack)
    return role


def orchestrator(
    scope: Construct,
    id: str,
    *,
    environment: str,
    bucket: s3.IBucket,
    storage: Storage,
    job_roles: Sequence[iam.Role],
) -> iam.Role:
    """What the orchestrator's host may do: its queues, its definitions, its bucket, its logs."""
    stack = Stack.of(scope)
    role = iam.Role(
        scope,
        id,
        description="The orchestrator's host",
        assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"),
    )
    definitions = _arn(
        stack, "batch", f"job-definition/{naming.job_definition_prefix(environment)}-*"
    )
    queues = [
        _arn(stack, "batch", f"job-queue/{naming.queue(environment, kind)}")
        for kind in ("spot", "on-demand")
    ]
    jobs = _arn(stack, "batch", "job/*")
    _allow(role, "SubmitJobs", ["batch:SubmitJob"], [definitions, *queues])
    _allow(
        role,
        "KeepDefinitions",
        ["batch:DeregisterJobDefinition", "batch:RegisterJobDefinition"],
        [definitions],
    )
    _allow(role, "EndJobs", ["batch:TerminateJob"], [jobs])
    _allow(role, "TagJobs", ["batch:TagResource"], [definitions, jobs])
    # Batch knows no resources for these.
    _allow(
        role,
        "WatchJobs",
        [
            "batch:DescribeComputeEnvironments",
            "batch:DescribeJobDefinitions",
            "batch:DescribeJobQueues",
            "batch:DescribeJobs",
            "batch:ListJobs",
        ],
        ["*"],
    )
    _allow(
        role,
        "GiveJobsTheirRoles",
        ["iam:PassRole"],
        [r.role_arn for r in job_roles],
        {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}},
    )
    _read(role, bucket, storage)
    _write(role, bucket, [storage.root_prefix, storage.scratch_prefix])
    _allow(
        role,
        "RemoveObjects",
        ["s3:DeleteObject"],
        [bucket.arn_for_objects(f"{p}/*") for p in (storage.root_prefix, storage.scratch_prefix)],
    )
    _allow(
        role,
        "ReadJobLogs",
        ["logs:FilterLogEvents", "logs:GetLogEvents"],
        [
            _log_streams(stack, environment),
            _arn(stack, "logs", f"log-group:{naming.job_log_group(environment)}"),
        ],
    )
    # People come in through Session Manager: no port is open. Its channels have no resources.
    _allow(
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
    return role


def _for_jobs(scope: Construct, id: str, description: str) -> iam.Role:
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


def _read(role: iam.Role, bucket: s3.IBucket, storage: Storage) -> None:
    partition = Stack.of(role).partition
    others = [f"arn:{partition}:s3:::{name}" for name in storage.read_buckets]
    _allow(role, "List", ["s3:GetBucketLocation", "s3:ListBucket"], [bucket.bucket_arn, *others])
    _allow(
        role,
        "Read",
        ["s3:GetObject"],
        [bucket.arn_for_objects("*"), *(f"{arn}/*" for arn in others)],
    )


def _write(role: iam.Role, bucket: s3.IBucket, prefixes: Sequence[str]) -> None:
    _allow(
        role,
        "Write",
        ["s3:AbortMultipartUpload", "s3:ListMultipartUploadParts", "s3:PutObject"],
        [bucket.arn_for_objects(f"{prefix}/*") for prefix in prefixes],
    )


def _pull_images(role: iam.Role, stack: Stack) -> None:
    # The token's action knows no resources.
    _allow(role, "LogInToRegistry", ["ecr:GetAuthorizationToken"], ["*"])
    _allow(role, "PullImages", _ECR_PULL, [_arn(stack, "ecr", "repository/*")])


def _log_streams(stack: Stack, environment: str) -> str:
    return _arn(stack, "logs", f"log-group:{naming.job_log_group(environment)}:log-stream:*")


def _allow(
    role: iam.Role,
    sid: str,
    actions: list[str],
    resources: list[str],
    conditions: dict[str, dict[str, str]] | None = None,
) -> None:
    role.add_to_policy(
        iam.PolicyStatement(
            sid=sid, actions=actions, resources=resources, conditions=conditions or {}
        )
    )


def _arn(stack: Stack, service: str, resource: str) -> str:
    return f"arn:{stack.partition}:{service}:{stack.region}:{stack.account}:{resource}"
