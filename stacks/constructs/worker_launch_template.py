"""How a worker host starts: disks, metadata service, and what it runs at boot."""

from __future__ import annotations

from aws_cdk import Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3_assets as s3_assets
from constructs import Construct

from stacks import assets, naming
from stacks.constructs import boot, disk_growth, ecs_agent
from stacks.constructs.roles import statements
from stacks.instance_types import Architecture
from stacks.settings import Settings
from stacks.settings.schema import Worker


class WorkerLaunchTemplate(Construct):
    """Encrypted disks, IMDSv2, the static tools and the data disk.

    `role` is allowed to read exactly the assets of this template, by their keys, and the secret
    that hosts log in to registries with, where the settings have them do so.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        settings: Settings,
        architecture: Architecture,
        role: iam.IRole,
        key: kms.IKey | None,
    ) -> None:
        super().__init__(scope, id)
        stack, worker = Stack.of(self), settings.worker
        secret = settings.registries.host_secret
        readable = secret
        if settings.registries.docker_hub_way == "host_login":
            secret = naming.docker_hub_secret(settings.environment, "host_login")
            readable = statements.docker_hub_login(self, settings.environment, "host_login")
        tools = [
            (tool, s3_assets.Asset(self, f"Tool-{tool.name}", path=str(tool.path)))
            for tool in assets.tools(architecture)
        ]
        services = boot.assembled(
            self,
            "Services",
            "worker/growth.sh",
            "report.sh",
            "worker/report.sh",
            variables={
                **disk_growth.variables(settings),
                "SCRATCH_PATH": worker.scratch_path,
                "LOG_GROUP": naming.worker_log_group(settings.environment),
            },
        )
        daemon = disk_growth.daemon(self, "DiskGrowth")
        self.boot_policy = iam.Policy(
            self,
            "BootPolicy",
            roles=[role],
            statements=[
                iam.PolicyStatement(
                    sid="ReadAssets",
                    actions=["s3:GetObject"],
                    resources=[
                        asset.bucket.arn_for_objects(asset.s3_object_key)
                        for asset in (*(a for _, a in tools), services, daemon)
                    ],
                ),
                *(
                    [
                        iam.PolicyStatement(
                            sid="ReadRegistrySecret",
                            actions=["secretsmanager:GetSecretValue"],
                            resources=[readable],
                        )
                    ]
                    if readable
                    else []
                ),
            ],
        )
        paths = {"TOOLS_PATH": worker.tools_path, "SCRATCH_PATH": worker.scratch_path}
        lines = (f"{t.name} {a.s3_bucket_name} {a.s3_object_key} {t.sha256}" for t, a in tools)
        variables = {
            "TOOLS_PATH": worker.tools_path,
            "TOOLS": "\n".join(lines),
            "SERVICES": "\n".join(
                f"{name} {asset.s3_bucket_name} {asset.s3_object_key}"
                for name, asset in {"services.sh": services, "ebs_autoscale.zip": daemon}.items()
            ),
            "DISK_KEY": key.key_arn if key else "",
            **({"REGISTRY_SECRET": secret} if secret else {}),
        }
        login = ["worker/registry.sh"] if secret else []
        # A boothook runs before Docker starts; the script's part runs after, and the ECS agent
        # starts when all parts have ended.
        user_data = boot.multipart(
            [
                (boot.BOOTHOOK, boot.script(stack, paths, "worker/retire.sh", "worker/disk.sh")),
                (boot.CONFIG, boot.config([ecs_agent.settings(settings.compute.fuse_mount)])),
                (
                    boot.SCRIPT,
                    boot.script(
                        stack,
                        variables,
                        "worker/retire.sh",
                        "fetch.sh",
                        *login,
                        "worker/tools.sh",
                    ),
                ),
            ]
        )
        self.launch_template = ec2.LaunchTemplate(
            self,
            "LaunchTemplate",
            user_data=user_data,
            require_imdsv2=True,
            # Jobs in bridge networks cannot reach the host's role; in host networks they still can.
            http_put_response_hop_limit=1,
            http_endpoint=True,
            detailed_monitoring=True,
            block_devices=[
                _disk("/dev/xvda", worker.root_volume_gib, 3000, 125, key),
                _data_disk(worker, key),
            ],
        )


def _data_disk(worker: Worker, key: kms.IKey | None) -> ec2.BlockDevice:
    return _disk(
        "/dev/xvdb",
        worker.data_volume_gib,
        worker.data_volume_iops,
        worker.data_volume_mib_per_second,
        key,
    )


def _disk(
    device: str, gib: int, iops: int, mib_per_second: int, key: kms.IKey | None
) -> ec2.BlockDevice:
    return ec2.BlockDevice(
        device_name=device,
        volume=ec2.BlockDeviceVolume.ebs(
            gib,
            volume_type=ec2.EbsDeviceVolumeType.GP3,
            iops=iops,
            throughput=mib_per_second,
            encrypted=True,
            kms_key=key,
            delete_on_termination=True,
        ),
    )
