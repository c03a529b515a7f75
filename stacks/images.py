"""The AMIs that hosts start from: pinned by id, or by a parameter that only people move.

AWS's own "recommended" parameters move by themselves: a deployment would start hosts that nobody
meant to change. An environment has parameters of its own; `./bootstrap` sets those that are not
there yet (stacks/lifecycle/images.py), and nothing moves them after that without being told to.
"""

from __future__ import annotations

from typing import Final

from stacks import naming, queues
from stacks.settings.schema import Settings

_ECS = "/aws/service/ecs/optimized-ami/amazon-linux-2023"
_AL2023 = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default"


def needed(settings: Settings) -> tuple[naming.ImageKind, ...]:
    """Every kind of image that a host of this environment starts from."""
    kinds: list[naming.ImageKind] = [plan.image for plan in queues.planned(settings)]
    if settings.host.enabled:
        kinds.append("host")
    return tuple(dict.fromkeys(kinds))


def chosen(settings: Settings, kind: naming.ImageKind) -> str:
    """An AMI's id, or the name of the SSM parameter that holds it."""
    given = settings.host.image if kind == "host" else getattr(settings.compute.images, kind)
    return given or own_parameter(settings, kind)


def own_parameter(settings: Settings, kind: naming.ImageKind) -> str:
    """The environment's own parameter, which is used where the settings name nothing."""
    return naming.image(settings.environment, kind)


def key(kind: naming.ImageKind) -> str:
    """The setting that names an image."""
    return "host.image" if kind == "host" else f"compute.images.{kind}"


def recommended(settings: Settings, kind: naming.ImageKind) -> str:
    """AWS's public parameter with the newest image of a kind."""
    of_worker: Final[dict[naming.ImageKind, str]] = {
        "x86_64": f"{_ECS}/recommended/image_id",
        "arm64": f"{_ECS}/arm64/recommended/image_id",
        "gpu": f"{_ECS}/gpu/recommended/image_id",
    }
    return of_worker.get(kind) or f"{_AL2023}-{settings.host.architecture}"
