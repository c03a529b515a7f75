"""The AMI of hosts, for CDK."""

from __future__ import annotations

from aws_cdk import aws_ec2 as ec2

from stacks import images, naming
from stacks.settings import Settings


def of(settings: Settings, kind: naming.ImageKind) -> ec2.IMachineImage:
    """A parameter is resolved by CloudFormation, at each deployment."""
    image = images.chosen(settings, kind)
    if image.startswith("ami-"):
        return ec2.MachineImage.generic_linux({settings.region: image})
    return ec2.MachineImage.from_ssm_parameter(image, os=ec2.OperatingSystemType.LINUX)
