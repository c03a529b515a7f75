"""The KMS key of an environment, for those who want one of their own."""

from __future__ import annotations

from aws_cdk import RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

_SERVICES = ("cloudwatch", "events", "sns")
SERVICE_ROLES = (
    "autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling",
    "spot.amazonaws.com/AWSServiceRoleForEC2Spot",
)


def find(
    scope: Construct, id: str, *, kms_key: str, removal_policy: RemovalPolicy
) -> kms.IKey | None:
    """None for AWS's own keys; else the key that is there, or one made here.

    One that is made here is rotated every year. Its policy lets in what AWS does on the account's
    behalf: Auto Scaling and EC2 Spot start hosts with encrypted disks (without that they end as
    they start), and EventBridge and CloudWatch write to encrypted topics, which they cannot with
    AWS's own key.
    """
    if kms_key == "aws":
        return None
    if kms_key != "create":
        return kms.Key.from_key_arn(scope, id, kms_key)
    stack = Stack.of(scope)
    key = kms.Key(
        scope,
        id,
        description=f"Data of {stack.stack_name}",
        enable_key_rotation=True,
        removal_policy=removal_policy,
    )
    _let_aws_start_hosts(key)
    key.add_to_resource_policy(
        iam.PolicyStatement(
            sid="NotificationsAreEncrypted",
            principals=[iam.ServicePrincipal(f"{name}.amazonaws.com") for name in _SERVICES],
            actions=["kms:Decrypt", "kms:GenerateDataKey*"],
            resources=["*"],
            conditions={"StringEquals": {"aws:SourceAccount": stack.account}},
        )
    )
    return key


def _let_aws_start_hosts(key: kms.Key) -> None:
    """By a condition, not as principals: a policy that names a role which is not there is refused,
    and AWS makes these two when they are first needed.

    Source: EC2 User Guide, "Required AWS KMS key policy for use with encrypted volumes" (Auto
    Scaling) and "Grant access to customer managed keys" (Spot Instances).
    """
    stack = Stack.of(key)
    prefix = f"arn:{stack.partition}:iam::{stack.account}:role/aws-service-role"
    these = {
        "StringEquals": {"kms:CallerAccount": stack.account},
        "ArnEquals": {
            "aws:PrincipalArn": [f"{prefix}/{role}" for role in SERVICE_ROLES],
        },
    }
    key.add_to_resource_policy(
        iam.PolicyStatement(
            sid="AwsStartsHosts",
            principals=[iam.AnyPrincipal()],
            actions=[
                "kms:Decrypt",
                "kms:DescribeKey",
                "kms:Encrypt",
                "kms:GenerateDataKey*",
                "kms:ReEncrypt*",
            ],
            resources=["*"],
            conditions=these,
        )
    )
    key.add_to_resource_policy(
        iam.PolicyStatement(
            sid="AwsGivesDisksTheKey",
            principals=[iam.AnyPrincipal()],
            actions=["kms:CreateGrant"],
            resources=["*"],
            conditions=these | {"Bool": {"kms:GrantIsForAWSResource": "true"}},
        )
    )
