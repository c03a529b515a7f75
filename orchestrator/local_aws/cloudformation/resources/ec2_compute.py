"""AWS::EC2: launch templates and instances. No instance really boots on this machine."""

from __future__ import annotations

import base64
from typing import Any

from orchestrator.local_aws.cloudformation.errors import ResourceFailed
from orchestrator.local_aws.cloudformation.resources.base import (
    Made,
    Request,
    ResourceType,
    boolean,
)
from orchestrator.local_aws.cloudformation.resources.ec2_network import absent_is_fine, sync_tags


class LaunchTemplate(ResourceType):
    """A change of its data makes a new version; the default version stays, as on AWS."""

    type = "AWS::EC2::LaunchTemplate"
    name_property = "LaunchTemplateName"
    updatable = frozenset({"LaunchTemplateData", "VersionDescription"})
    replacing = frozenset({"LaunchTemplateName", "TagSpecifications"})

    def create(self, request: Request) -> Made:
        answer = request.client("ec2").create_launch_template(
            LaunchTemplateName=request.name("LaunchTemplateName"),
            LaunchTemplateData=request.get("LaunchTemplateData"),
            **request.pick("VersionDescription"),
            **self._tags(request),
        )
        return self._made(request, answer["LaunchTemplate"]["LaunchTemplateId"])

    def update(self, request: Request) -> Made:
        if request.changed("LaunchTemplateData", "VersionDescription"):
            request.client("ec2").create_launch_template_version(
                LaunchTemplateId=request.physical_id,
                LaunchTemplateData=request.get("LaunchTemplateData"),
                **request.pick("VersionDescription"),
            )
        return self._made(request, request.physical_id)

    def delete(self, request: Request) -> None:
        with absent_is_fine():
            request.client("ec2").delete_launch_template(LaunchTemplateId=request.physical_id)

    @staticmethod
    def _made(request: Request, physical_id: str) -> Made:
        answer = request.client("ec2").describe_launch_templates(LaunchTemplateIds=[physical_id])
        template = answer["LaunchTemplates"][0]
        return Made(
            physical_id,
            {
                "LaunchTemplateId": physical_id,
                "DefaultVersionNumber": str(template["DefaultVersionNumber"]),
                "LatestVersionNumber": str(template["LatestVersionNumber"]),
            },
        )

    @staticmethod
    def _tags(request: Request) -> dict[str, Any]:
        kind = "launch-template"
        given = request.get("TagSpecifications", [])
        others = [s for s in given if s.get("ResourceType") != kind]
        own = [t for s in given if s.get("ResourceType") == kind for t in s.get("Tags", [])]
        tags = request.tag_list(own)
        specifications = [*others, *([{"ResourceType": kind, "Tags": tags}] if tags else [])]
        return {"TagSpecifications": specifications} if specifications else {}


class Instance(ResourceType):
    """A record of an instance. Its user data is kept but nothing runs it."""

    type = "AWS::EC2::Instance"
    updatable = frozenset(
        {
            "DisableApiTermination",
            "EbsOptimized",
            "IamInstanceProfile",
            "InstanceType",
            "MetadataOptions",
            "Monitoring",
            "SecurityGroupIds",
            "SourceDestCheck",
            "Tags",
            "UserData",
        }
    )
    replacing = frozenset(
        {
            "AvailabilityZone",
            "BlockDeviceMappings",
            "ImageId",
            "KeyName",
            "LaunchTemplate",
            "PrivateIpAddress",
            "PropagateTagsToVolumeOnCreation",
            "SubnetId",
        }
    )

    def create(self, request: Request) -> Made:
        names = ("BlockDeviceMappings", "EbsOptimized", "ImageId", "InstanceType", "KeyName",
                 "LaunchTemplate", "MetadataOptions", "PrivateIpAddress", "SecurityGroupIds",
                 "SubnetId")  # fmt: skip
        arguments = request.pick(*names)
        if "AvailabilityZone" in request.properties:
            arguments["Placement"] = {"AvailabilityZone": request.get("AvailabilityZone")}
        if "DisableApiTermination" in request.properties:
            arguments["DisableApiTermination"] = boolean(request.get("DisableApiTermination"))
        if "IamInstanceProfile" in request.properties:
            arguments["IamInstanceProfile"] = {"Name": request.get("IamInstanceProfile")}
        if "Monitoring" in request.properties:
            arguments["Monitoring"] = {"Enabled": boolean(request.get("Monitoring"))}
        if "UserData" in request.properties:
            arguments["UserData"] = _decoded(request)  # botocore encodes it again
        kinds = ["instance"]
        if boolean(request.get("PropagateTagsToVolumeOnCreation", False)):
            kinds.append("volume")
        if tags := request.tag_list():
            arguments["TagSpecifications"] = [{"ResourceType": k, "Tags": tags} for k in kinds]
        answer = request.client("ec2").run_instances(MinCount=1, MaxCount=1, **arguments)
        physical_id = answer["Instances"][0]["InstanceId"]
        request.begun.append(physical_id)
        if "SourceDestCheck" in request.properties:
            self._modify(request, physical_id, "SourceDestCheck")
        return self._made(request, physical_id)

    def update(self, request: Request) -> Made:
        ec2, instance = request.client("ec2"), request.physical_id
        for name in ("DisableApiTermination", "EbsOptimized", "SourceDestCheck"):
            if request.changed(name):
                self._modify(request, instance, name)
        if request.changed("SecurityGroupIds"):
            groups = request.get("SecurityGroupIds", [])
            ec2.modify_instance_attribute(InstanceId=instance, Groups=groups)
        if request.changed("InstanceType", "UserData"):
            # EBS-backed: AWS stops it, changes it and starts it again.
            ec2.stop_instances(InstanceIds=[instance])
            kind = {"Value": request.get("InstanceType")}
            ec2.modify_instance_attribute(InstanceId=instance, InstanceType=kind)
            # moto takes the blob for base64 after botocore's own encoding was undone.
            data = {"Value": str(request.get("UserData", "")).encode()}
            ec2.modify_instance_attribute(InstanceId=instance, UserData=data)
            ec2.start_instances(InstanceIds=[instance])
        if request.changed("MetadataOptions"):
            ec2.modify_instance_metadata_options(
                InstanceId=instance, **request.get("MetadataOptions", {})
            )
        if request.changed("Monitoring"):
            on = boolean(request.get("Monitoring", False))
            (ec2.monitor_instances if on else ec2.unmonitor_instances)(InstanceIds=[instance])
        if request.changed("IamInstanceProfile"):
            self._change_profile(request)
        sync_tags(request)
        return self._made(request, instance)

    def delete(self, request: Request) -> None:
        with absent_is_fine():
            request.client("ec2").terminate_instances(InstanceIds=[request.physical_id])

    @staticmethod
    def _modify(request: Request, instance: str, name: str) -> None:
        value = {"Value": boolean(request.get(name, name == "SourceDestCheck"))}
        request.client("ec2").modify_instance_attribute(InstanceId=instance, **{name: value})

    @staticmethod
    def _change_profile(request: Request) -> None:
        ec2 = request.client("ec2")
        found = ec2.describe_iam_instance_profile_associations(
            Filters=[{"Name": "instance-id", "Values": [request.physical_id]}]
        )["IamInstanceProfileAssociations"]
        for association in found:
            ec2.disassociate_iam_instance_profile(AssociationId=association["AssociationId"])
        if request.get("IamInstanceProfile"):
            ec2.associate_iam_instance_profile(
                InstanceId=request.physical_id,
                IamInstanceProfile={"Name": request.get("IamInstanceProfile")},
            )

    @staticmethod
    def _made(request: Request, physical_id: str) -> Made:
        answer = request.client("ec2").describe_instances(InstanceIds=[physical_id])
        instance = answer["Reservations"][0]["Instances"][0]
        names = ("PrivateDnsName", "PrivateIpAddress", "PublicDnsName", "PublicIpAddress", "VpcId")
        spelled = {"PublicIpAddress": "PublicIp", "PrivateIpAddress": "PrivateIp"}
        attributes = {spelled.get(name, name): instance.get(name, "") for name in names}
        zone = instance["Placement"]["AvailabilityZone"]
        return Made(physical_id, attributes | {"AvailabilityZone": zone, "InstanceId": physical_id})


def _decoded(request: Request) -> str:
    try:
        return base64.b64decode(request.get("UserData", ""), validate=True).decode()
    except ValueError:
        raise ResourceFailed("UserData is not base64: use Fn::Base64") from None


class Volume(ResourceType):
    type = "AWS::EC2::Volume"
    snapshots = True
    updatable = frozenset({"Iops", "Size", "Tags", "Throughput", "VolumeType"})
    replacing = frozenset({"AvailabilityZone", "Encrypted", "KmsKeyId", "SnapshotId"})

    def create(self, request: Request) -> Made:
        names = (self.updatable | self.replacing) - {"Tags"}
        arguments = request.pick(*names)
        if tags := request.tag_list():
            arguments["TagSpecifications"] = [{"ResourceType": "volume", "Tags": tags}]
        answer = request.client("ec2").create_volume(**arguments)
        return Made(answer["VolumeId"], {"VolumeId": answer["VolumeId"]})

    def update(self, request: Request) -> Made:
        if request.changed("Iops", "Size", "Throughput", "VolumeType"):
            request.client("ec2").modify_volume(
                VolumeId=request.physical_id,
                **request.pick("Iops", "Size", "Throughput", "VolumeType"),
            )
        sync_tags(request)
        return Made(request.physical_id, {"VolumeId": request.physical_id})

    def snapshot(self, request: Request) -> None:
        request.client("ec2").create_snapshot(VolumeId=request.physical_id)

    def delete(self, request: Request) -> None:
        with absent_is_fine():
            request.client("ec2").delete_volume(VolumeId=request.physical_id)


TYPES: tuple[ResourceType, ...] = (Instance(), LaunchTemplate(), Volume())
