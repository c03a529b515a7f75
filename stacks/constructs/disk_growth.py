"""The daemon that lets a worker's data disk grow: its code as an asset, and what it is told."""

from __future__ import annotations

from aws_cdk import IgnoreMode
from aws_cdk import aws_s3_assets as s3_assets
from constructs import Construct

from stacks import assets
from stacks.settings import Settings


def daemon(scope: Construct, id: str) -> s3_assets.Asset:
    """The package `ebs_autoscale` and nothing else, as Python takes it from a zip."""
    return s3_assets.Asset(
        scope,
        id,
        path=str(assets.ROOT / "orchestrator"),
        exclude=["*", "!ebs_autoscale", "!ebs_autoscale/*.py"],
        ignore_mode=IgnoreMode.GLOB,
    )


def variables(settings: Settings) -> dict[str, str]:
    """What growth.sh makes the daemon's settings of."""
    worker = settings.worker
    grows = worker.data_volume_max_gib > worker.data_volume_gib
    return {
        "ENVIRONMENT": settings.environment,
        "MAX_GIB": str(worker.data_volume_max_gib if grows else 0),
        "IOPS": str(worker.data_volume_iops),
        "MIB_PER_SECOND": str(worker.data_volume_mib_per_second),
    }
