"""How a worker host starts: disks, metadata service, and what it runs at boot."""

from __future__ import annotations

from aws_cdk import Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3_assets as s3_assets
from constructs import Construct

from stacks import assets
from stacks.constructs import boot
from stacks.instance_types import Architecture
from stacks.settings import Worker


class WorkerLaunchTemplate(Construct):
    """Encrypted disks, IMDSv2, the static tools and the data disk.

    `role` is allowed to read exactly the tools of this template, by their keys.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        worker: Worker,
        architecture: Architecture,
        role: iam.IRole,
    ) -> None:
        super().__init__(scope, id)
        stack = Stack.of(self)
        tools = [
            (tool, s3_assets.Asset(self, f"Tool-{tool.name}", path=str(tool.path)))
            for tool in assets.tools(architecture)
        ]
        self.boot_policy = iam.Policy(
            self,
            "BootPolicy",
            roles=[role],
            statements=[
                iam.PolicyStatement(
                    sid="ReadTools",
                    actions=["s3:GetObject"],
                    resources=[a.bucket.arn_for_objects(a.s3_object_key) for _, a in tools],
                )
            ],
        )
        user_data = ec2.MultipartUserData()
        paths = {"TOOLS_PATH": worker.tools_path, "SCRATCH_PATH": worker.scratch_path}
        # A boothook runs before Docker starts; a script part runs after.
        disk = boot.render(stack, paths, "worker/disk.sh")
        user_data.add_part(_part("text/cloud-boothook", disk))
        lines = (f"{t.name} {a.s3_bucket_name} {a.s3_object_key} {t.sha256}" for t, a in tools)
        install = boot.render(
            stack, {**paths, "TOOLS": "\n".join(lines)}, "fetch.sh", "worker/tools.sh"
        )
        user_data.add_part(_part("text/x-shellscript", install))
        self.launch_template = ec2.LaunchTemplate(
            self,
            "LaunchTemplate",
            user_data=user_data,
            require_imdsv2=True,
            # Jobs in bridge networks cannot reach the host's role; in host networks they still can.
            http_put_response_hop_limit=1,
            http_endpoint=True,
            block_devices=[
                _disk("/dev/xvda", worker.root_volume_gib, 125),
                _disk("/dev/xvdb", worker.data_volume_gib, worker.data_volume_mib_per_second),
            ],
        )


def _part(content_type: str, body: str) -> ec2.MultipartBody:
    return ec2.MultipartBody.from_raw_body(
        content_type=f'{content_type}; charset="utf-8"', body=body
    )


def _disk(device: str, gib: int, mib_per_second: int) -> ec2.BlockDevice:
    return ec2.BlockDevice(
        device_name=device,
        volume=ec2.BlockDeviceVolume.ebs(
            gib,
            volume_type=ec2.EbsDeviceVolumeType.GP3,
            throughput=mib_per_second,
            encrypted=True,
            delete_on_termination=True,
        ),
    )
