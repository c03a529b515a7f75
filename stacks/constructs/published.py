"""Values that may be replaced, told from stack to stack through SSM.

An export of CloudFormation cannot change while another stack imports it: a role that must be
replaced would block its own deployment. A parameter is read again at every deployment.
"""

from __future__ import annotations

from aws_cdk import aws_iam as iam
from aws_cdk import aws_ssm as ssm
from constructs import Construct

from stacks import naming


def publish(scope: Construct, environment: str, name: str, value: str) -> None:
    """Tell later stacks of the environment a value."""
    ssm.StringParameter(
        scope,
        f"Published-{name}",
        parameter_name=naming.published(environment, name),
        string_value=value,
        description="Told by one stack to the next; replaced with what it names",
    )


def value(scope: Construct, environment: str, name: str) -> str:
    """What an earlier stack published, as it is at the deployment of this one."""
    return ssm.StringParameter.value_for_string_parameter(
        scope, naming.published(environment, name)
    )


def publish_role(scope: Construct, environment: str, name: str, role: iam.IRole) -> None:
    """Both how policies name a role and how instance profiles do: its path is not in its name."""
    publish(scope, environment, f"{name}-arn", role.role_arn)
    publish(scope, environment, f"{name}-name", role.role_name)


def role_arn(scope: Construct, environment: str, name: str) -> str:
    """The ARN of a role that the identity stack published."""
    return value(scope, environment, f"{name}-arn")


def role(scope: Construct, environment: str, name: str) -> iam.IRole:
    """A published role, for instance profiles and for policies that are attached to it.

    Only its name is right where roles have a path: use `role_arn` for its ARN. CDK gives it nothing
    by itself: its grants would come in any order, hosts before their rights.
    """
    return iam.Role.from_role_name(
        scope,
        f"Role-{name}",
        value(scope, environment, f"{name}-name"),
        mutable=False,
    )
