"""Pins the AMIs that hosts start from, where neither settings nor an earlier deployment do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from orchestrator import errors
from stacks import images
from stacks.settings import Settings

if TYPE_CHECKING:
    from types_boto3_ssm.client import SSMClient

_MISSING = "ParameterNotFound"


def pin(ssm: SSMClient, settings: Settings) -> dict[str, str]:
    """Set each parameter that is missing to the image that AWS recommends today.

    One that is there stays as it is: hosts change when people say so. Gives what was set, by name.
    Raises EnvironmentProblem where AWS recommends nothing (a region without such an image).
    """
    pinned = {}
    for kind in images.needed(settings):
        name = images.chosen(settings, kind)
        if name.startswith("ami-") or _value(ssm, name):
            continue
        source = images.recommended(settings, kind)
        if name != images.own_parameter(settings, kind) or not (image := _value(ssm, source)):
            missing = name if name != images.own_parameter(settings, kind) else source
            raise errors.EnvironmentProblem(
                f"there is no SSM parameter {missing} in {settings.region}, which would say what "
                f"image {kind} hosts start from",
                hint=f"name an image in the settings: {images.key(kind)}",
            )
        try:
            ssm.put_parameter(Name=name, Value=image, Type="String", DataType="aws:ec2:image")
        except ssm.exceptions.ParameterAlreadyExists:
            continue  # somebody else deploys too: theirs stands
        pinned[name] = image
    return pinned


def unpin(ssm: SSMClient, settings: Settings) -> None:
    """Forget them, when the environment goes."""
    for kind in images.needed(settings):
        try:
            ssm.delete_parameter(Name=images.own_parameter(settings, kind))
        except ssm.exceptions.ParameterNotFound:
            continue


def _value(ssm: SSMClient, name: str) -> str | None:
    try:
        return ssm.get_parameter(Name=name)["Parameter"].get("Value")
    except ClientError as error:
        if error.response["Error"]["Code"] == _MISSING:
            return None
        raise
