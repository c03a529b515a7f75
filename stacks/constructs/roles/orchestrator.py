"""The role of the orchestrator's host."""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from constructs import Construct

from stacks import naming, queues
from stacks.constructs.roles import statements
from stacks.settings.schema import Settings

# The orchestrator gives these to every job: one without them is not its job.
_JOB_TAGS = ("orchestrator:submission", "orchestrator:workflow")


def make(
    scope: Construct,
    id: str,
    *,
    settings: Settings,
    bucket: s3.IBucket,
    job_roles: Sequence[str],
    keys: Sequence[str],
) -> iam.Role:
    """Its queues, its definitions, its bucket, its logs; it hands on `job_roles` and no other."""
    role = iam.Role(
        scope,
        id,
        description="The orchestrator's host",
        assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"),
    )
    _run_jobs(role, settings)
    statements.allow(
        role,
        "GiveJobsTheirRoles",
        ["iam:PassRole"],
        job_roles,
        {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}},
    )
    storage, environment = settings.storage, settings.environment
    prefixes = [storage.root_prefix, storage.scratch_prefix]
    statements.read_data(role, bucket, storage)
    statements.write_data(role, bucket, storage, prefixes)
    statements.use_keys(role, keys, "s3")
    statements.allow(
        role,
        "RemoveObjects",
        ["s3:DeleteObject"],
        [bucket.arn_for_objects(f"{prefix}/*") for prefix in prefixes],
    )
    statements.allow(
        role,
        "ReadJobLogs",
        ["logs:FilterLogEvents", "logs:GetLogEvents"],
        statements.log_group(scope, naming.job_log_group(environment)),
    )
    statements.write_logs(role, "WriteHostLogs", scope, naming.host_log_group(environment))
    statements.allow(
        role,
        "HearOfBatch",
        ["sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:ReceiveMessage"],
        [statements.arn(role, "sqs", naming.event_queue(environment))],
    )
    _keep_login(role, settings, keys)
    statements.reach_by_session_manager(role)
    return role


def _keep_login(role: iam.Role, settings: Settings, keys: Sequence[str]) -> None:
    """The login to Docker Hub, in the one secret that is for it."""
    way = settings.registries.docker_hub_way
    if way is None:
        return
    actions = ["secretsmanager:GetSecretValue", "secretsmanager:PutSecretValue"]
    if way != "pull_through":  # that secret is there, with its rule
        actions += [
            "secretsmanager:CreateSecret",
            "secretsmanager:RestoreSecret",
            "secretsmanager:TagResource",
        ]
    secret = statements.docker_hub_login(role, settings.environment, way)
    # Before it is made it has no end.
    secrets = [secret] if way == "pull_through" else [secret.removesuffix("-??????"), secret]
    statements.allow(role, "KeepLoginToDockerHub", sorted(actions), secrets)
    statements.use_keys(role, keys, "secretsmanager")


def _run_jobs(role: iam.Role, settings: Settings) -> None:
    prefix = naming.job_definition_prefix(settings.environment)
    definitions = statements.arn(role, "batch", f"job-definition/{prefix}-*")
    jobs = statements.arn(role, "batch", "job/*")
    statements.allow(
        role,
        "SubmitJobs",
        ["batch:SubmitJob"],
        [
            definitions,
            *(
                statements.arn(role, "batch", f"job-queue/{plan.name}")
                for plan in queues.planned(settings)
            ),
        ],
        {"Null": {f"aws:RequestTag/{tag}": "false" for tag in _JOB_TAGS}},
    )
    tagged = {
        "StringEquals": {f"aws:RequestTag/{statements.ENVIRONMENT_TAG}": settings.environment}
    }
    # A privileged container is root on its host. The key is absent where a request does not say.
    unprivileged = {"BoolIfExists": {"batch:Privileged": "false"}}
    statements.allow(
        role,
        "MakeDefinitions",
        ["batch:RegisterJobDefinition"],
        [definitions],
        tagged if settings.compute.fuse_mount else tagged | unprivileged,
    )
    statements.allow(role, "RemoveDefinitions", ["batch:DeregisterJobDefinition"], [definitions])
    statements.allow(role, "EndJobs", ["batch:TerminateJob"], [jobs])
    statements.allow(role, "TagJobs", ["batch:TagResource"], [definitions, jobs])
    # Batch knows no resources for these.
    statements.allow(
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
    statements.allow(
        role,
        "SeeWhoWaits",
        ["batch:GetJobQueueSnapshot"],
        [
            statements.arn(role, "batch", f"job-queue/{plan.name}")
            for plan in queues.planned(settings)
        ],
    )
