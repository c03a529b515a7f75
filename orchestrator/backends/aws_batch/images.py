"""The name under which a worker host pulls a task's image.

By the rules of Docker's references: a first part with a dot, a colon or the name `localhost` is a
registry; without one it is Docker Hub, where a name of one part lies below `library/`.
Source: https://github.com/distribution/reference, `ParseNormalizedNamed`.
"""

from __future__ import annotations

import re

from orchestrator.deployment import Deployment

_DOCKER_HUB = "docker.io"
_NAMES_OF_DOCKER_HUB = (_DOCKER_HUB, "index.docker.io", "registry-1.docker.io")


def split(image: str) -> tuple[str, str]:
    """Registry and rest of a name: `ubuntu:22.04` is `docker.io`, `library/ubuntu:22.04`."""
    first, slash, rest = image.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        if first not in _NAMES_OF_DOCKER_HUB:
            return first, rest
        image = rest
    return _DOCKER_HUB, image if "/" in image else f"library/{image}"


def pulled(deployment: Deployment, image: str) -> str:
    """The image's name, through ECR's cache where the environment has one for its registry."""
    registry, rest = split(image)
    prefix = deployment.registries.rewrites.get(registry)
    return f"{prefix}/{rest}" if prefix else image


def secret(deployment: Deployment, image: str) -> str | None:
    """The ARN of the secret that the image is pulled with; ECR needs none."""
    registry, _ = split(pulled(deployment, image))
    return deployment.registries.secrets.get(registry)


def unreachable(deployment: Deployment, image: str) -> str | None:
    """Why no worker of this environment can ever pull the image; None where one can."""
    if deployment.registries.internet:
        return None
    registry, rest = split(pulled(deployment, image))
    ecr = rf"\d{{12}}\.dkr\.ecr\.{re.escape(deployment.region)}\.amazonaws\.com(\.cn)?"
    if re.fullmatch(ecr, registry):
        return None
    target = f"{deployment.account}.dkr.ecr.{deployment.region}.amazonaws.com"
    return (
        f"image {image} is not in ECR of {deployment.region}, and hosts of this environment reach "
        f"no other registry (egress = endpoints). Copy it to {target}/..., or give its registry a "
        f"pull-through rule and pull it once from a machine with internet, which fills the cache: "
        f"docker pull {target}/PREFIX/{rest}"
    )
