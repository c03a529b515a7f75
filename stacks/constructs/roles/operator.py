"""The role of people who look after an environment: they watch, end jobs, and open sessions."""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import Duration, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from constructs import Construct

from orchestrator import deployment
from stacks import naming
from stacks.constructs.roles import statements
from stacks.settings.schema import Settings


def make(
    scope: Construct,
    id: str,
    *,
    settings: Settings,
    bucket: s3.IBucket,
    operators: Sequence[str],
    keys: Sequence[str],
) -> iam.Role:
    """For the principals of the settings. It reads everything of the environment and changes
    nothing but jobs: no data, no roles, no hosts."""
    environment = settings.environment
    role = iam.Role(
        scope,
        id,
        description="People who operate the orchestrator",
        assumed_by=iam.CompositePrincipal(*(iam.ArnPrincipal(arn) for arn in operators)),
        max_session_duration=Duration.hours(8),
    )
    statements.read_data(role, bucket, settings.storage)
    statements.use_keys(role, keys, "s3")
    # None of these knows resources.
    statements.allow(
        role,
        "Watch",
        [
            "batch:DescribeComputeEnvironments",
            "batch:DescribeJobDefinitions",
            "batch:DescribeJobQueues",
            "batch:DescribeJobs",
            "batch:ListJobs",
            "cloudwatch:DescribeAlarms",
            "cloudwatch:GetMetricData",
            "ec2:DescribeInstances",
            "logs:DescribeLogGroups",
            "ssm:DescribeInstanceInformation",
        ],
        ["*"],
    )
    statements.allow(
        role,
        "SeeWhoWaits",
        ["batch:GetJobQueueSnapshot"],
        [statements.arn(role, "batch", f"job-queue/{environment}-*")],
    )
    statements.allow(
        role, "EndJobs", ["batch:TerminateJob"], [statements.arn(role, "batch", "job/*")]
    )
    statements.allow(
        role,
        "ReadLogs",
        ["logs:DescribeLogStreams", "logs:FilterLogEvents", "logs:GetLogEvents"],
        [
            target
            for group in (
                naming.job_log_group(environment),
                naming.worker_log_group(environment),
                naming.host_log_group(environment),
            )
            for target in statements.log_group(scope, group)
        ],
    )
    statements.allow(
        role,
        "SeeDashboard",
        ["cloudwatch:GetDashboard"],
        [_dashboard(role, environment)],
    )
    statements.allow(
        role,
        "ReadContract",
        ["ssm:GetParameter"],
        [statements.arn(role, "ssm", f"parameter{deployment.parameter_name(environment)}")],
    )
    # A shell, or the server's port on one's own machine, on hosts of this environment only.
    statements.allow(
        role,
        "OpenSessions",
        ["ssm:StartSession"],
        [statements.arn(role, "ec2", "instance/*")],
        {"StringEquals": {f"aws:ResourceTag/{statements.ENVIRONMENT_TAG}": environment}},
    )
    statements.allow(
        role,
        "SessionDocuments",
        ["ssm:StartSession"],
        [
            statements.arn(role, "ssm", "document/SSM-SessionManagerRunShell"),
            _shared_document(role, "AWS-StartPortForwardingSession"),
        ],
    )
    statements.allow(
        role,
        "OwnSessions",
        ["ssm:ResumeSession", "ssm:TerminateSession"],
        [statements.arn(role, "ssm", "session/${aws:userid}-*")],
    )
    return role


def _dashboard(role: iam.Role, environment: str) -> str:
    stack = Stack.of(role)  # dashboards have no region
    return f"arn:{stack.partition}:cloudwatch::{stack.account}:dashboard/{environment}-*"


def _shared_document(role: iam.Role, name: str) -> str:
    """AWS's own documents belong to no account."""
    stack = Stack.of(role)
    return f"arn:{stack.partition}:ssm:{stack.region}::document/{name}"
