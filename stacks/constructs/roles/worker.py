"""The role of worker hosts. Every job must be taken to hold it."""

from __future__ import annotations

from aws_cdk import Stack
from aws_cdk import aws_iam as iam
from constructs import Construct

from stacks import naming
from stacks.constructs.roles import statements

# AWS Batch names the clusters of its compute environments.
_CLUSTERS = ("AWSBatch-*", "*_Batch_*")
INSTANCE_TAG = "orchestrator:instance"
_OWN_ARN = "${ec2:SourceInstanceARN}"  # of the instance whose credentials are used


def make(scope: Construct, id: str, *, environment: str, disk_key: str | None) -> iam.Role:
    """Join a cluster, pull images, write the workers' log group, act on own volumes; no data.

    `disk_key` encrypts the volumes; None: AWS's own key, which anybody in the account may use so.
    The compute stack adds boot assets, by their exact keys.
    """
    role = iam.Role(
        scope,
        id,
        description="Batch worker hosts: the ECS agent",
        assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"),
    )
    _join_clusters(role)
    statements.pull_images(role)
    statements.write_logs(role, "WriteHostLogs", scope, naming.worker_log_group(environment))
    statements.reach_by_session_manager(role)
    _act_on_own_volumes(role, environment)
    if disk_key:
        _encrypt_volumes(role, disk_key)
    return role


def _join_clusters(role: iam.Role) -> None:
    clusters = [statements.arn(role, "ecs", f"cluster/{name}") for name in _CLUSTERS]
    instances = [statements.arn(role, "ecs", f"container-instance/{name}/*") for name in _CLUSTERS]
    statements.allow(
        role,
        "JoinCluster",
        [
            "ecs:DeregisterContainerInstance",
            "ecs:RegisterContainerInstance",
            "ecs:SubmitAttachmentStateChanges",
            "ecs:SubmitContainerStateChange",
            "ecs:SubmitTaskStateChange",
        ],
        clusters,
    )
    statements.allow(
        role,
        "Report",
        ["ecs:Poll", "ecs:StartTelemetrySession", "ecs:UpdateContainerInstancesState"],
        instances,
    )
    statements.allow(
        role,
        "TagOnJoining",
        ["ecs:TagResource"],
        [*clusters, *instances],
        {"StringEquals": {"ecs:CreateAction": "RegisterContainerInstance"}},
    )
    # Neither action knows resources.
    statements.allow(role, "FindEndpoint", ["ecs:DiscoverPollEndpoint", "ec2:DescribeTags"], ["*"])


def _act_on_own_volumes(role: iam.Role, environment: str) -> None:
    """What a tag says is an instance's own. A launch template cannot write that tag, for it does
    not know the instance: a host claims its volumes at boot, once, before it takes a job.

    Source: IAM User Guide, "ec2:SourceInstanceARN"; EC2's page of the Service Authorization
    Reference for the keys of volumes and instances.
    """
    volumes = [statements.arn(role, "ec2", "volume/*")]
    environment_tag = {f"aws:ResourceTag/{statements.ENVIRONMENT_TAG}": environment}
    claimed = {f"aws:ResourceTag/{INSTANCE_TAG}": _OWN_ARN}
    claiming = {f"aws:RequestTag/{INSTANCE_TAG}": _OWN_ARN}
    # They know no resources.
    statements.allow(
        role, "SeeVolumes", ["ec2:DescribeVolumes", "ec2:DescribeVolumesModifications"], ["*"]
    )
    statements.allow(
        role,
        "ClaimVolumes",
        ["ec2:CreateTags"],
        volumes,
        {
            "StringEquals": environment_tag | claiming,
            "Null": {f"aws:ResourceTag/{INSTANCE_TAG}": "true"},
            "ForAllValues:StringEquals": {"aws:TagKeys": [INSTANCE_TAG]},
        },
    )
    statements.allow(
        role,
        "MakeVolumes",
        ["ec2:CreateVolume"],
        volumes,
        {
            "StringEquals": claiming
            | {f"aws:RequestTag/{statements.ENVIRONMENT_TAG}": environment},
            "Bool": {"ec2:Encrypted": "true"},
        },
    )
    statements.allow(
        role,
        "TagNewVolumes",
        ["ec2:CreateTags"],
        volumes,
        {"StringEquals": claiming | {"ec2:CreateAction": "CreateVolume"}},
    )
    statements.allow(
        role,
        "ChangeOwnVolumes",
        ["ec2:AttachVolume", "ec2:DeleteVolume", "ec2:DetachVolume", "ec2:ModifyVolume"],
        volumes,
        {"StringEquals": claimed},
    )
    # Attaching is checked on the instance too.
    statements.allow(
        role,
        "AttachToItself",
        ["ec2:AttachVolume", "ec2:DetachVolume"],
        [statements.arn(role, "ec2", "instance/*")],
        {
            "ArnEquals": {
                "ec2:SourceInstanceARN": statements.arn(role, "ec2", "instance/${ec2:InstanceID}")
            }
        },
    )
    # The volumes that are added go with the instance. Of an instance's attributes it is the only
    # one: with others (its user data) one would choose what the host executes.
    statements.allow(
        role,
        "LetVolumesGoWithItself",
        ["ec2:ModifyInstanceAttribute"],
        [statements.arn(role, "ec2", "instance/*")],
        {
            "ArnEquals": {
                "ec2:SourceInstanceARN": statements.arn(role, "ec2", "instance/${ec2:InstanceID}")
            },
            "StringEquals": {"ec2:Attribute": "BlockDeviceMapping"},
        },
    )


def _encrypt_volumes(role: iam.Role, key: str) -> None:
    """What EC2 asks of whoever makes and attaches encrypted volumes; only through EC2.

    Source: EBS User Guide, "Permissions for IAM users" of EBS encryption.
    """
    through = f"ec2.{Stack.of(role).region}.{Stack.of(role).url_suffix}"
    statements.allow(
        role,
        "EncryptVolumes",
        ["kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKeyWithoutPlaintext"],
        [key],
        {"StringEquals": {"kms:ViaService": through}},
    )
    statements.allow(
        role,
        "GiveVolumesTheKey",
        ["kms:CreateGrant"],
        [key],
        {
            "StringEquals": {"kms:ViaService": through},
            "Bool": {"kms:GrantIsForAWSResource": "true"},
        },
    )
