"""Every resource type that this CloudFormation knows, one module a service."""

from __future__ import annotations

from orchestrator.local_aws.cloudformation.errors import ResourceFailed
from orchestrator.local_aws.cloudformation.resources import (
    autoscaling,
    awslambda,
    batch,
    budgets,
    cloudwatch,
    custom,
    ec2_compute,
    ec2_network,
    ec2_security,
    ecr,
    events,
    iam,
    kms,
    logs,
    metadata,
    rds,
    s3,
    secretsmanager,
    sns,
    sqs,
    ssm,
)
from orchestrator.local_aws.cloudformation.resources.base import ResourceType

_MODULES = (
    autoscaling,
    awslambda,
    batch,
    budgets,
    cloudwatch,
    custom,
    ec2_compute,
    ec2_network,
    ec2_security,
    ecr,
    events,
    iam,
    kms,
    logs,
    metadata,
    rds,
    s3,
    secretsmanager,
    sns,
    sqs,
    ssm,
)
TYPES: dict[str, ResourceType] = {kind.type: kind for module in _MODULES for kind in module.TYPES}


def find(name: str) -> ResourceType:
    """The type of that name. Raises ResourceFailed naming it when it is not known here."""
    if name.startswith("Custom::"):
        name = custom.CustomResource.type
    if name not in TYPES:
        raise ResourceFailed(f"the local AWS does not support the resource type {name}")
    return TYPES[name]
