"""The role of worker hosts. Every job must be taken to hold it."""

from __future__ import annotations

from aws_cdk import aws_iam as iam
from constructs import Construct

from stacks import naming
from stacks.constructs.roles import statements

# AWS Batch names the clusters of its compute environments.
_CLUSTERS = ("AWSBatch-*", "*_Batch_*")
INSTANCE_TAG = "orchestrator:instance"
_OWN_ARN = "${ec2:SourceInstanceARN}"  # of the instance whose credentials are used


def make(scope: Construct, id: str, *, environment: str) -> iam.Role:
    """Join a cluster, pull images, write the workers' log group, act on own volumes; no data.

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
