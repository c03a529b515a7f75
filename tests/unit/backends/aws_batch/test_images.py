from __future__ import annotations

import pytest

from orchestrator.backends.aws_batch import images
from orchestrator.backends.aws_batch.job_definitions import container_properties
from orchestrator.deployment import Registries
from orchestrator.model.job import Shape

from .test_backend import DEPLOYMENT

ECR = "123456789012.dkr.ecr.us-east-1.amazonaws.com"
SECRET = "arn:aws:secretsmanager:us-east-1:123456789012:secret:lab-a1b2c3"
CACHED = DEPLOYMENT.model_copy(
    update={
        "registries": Registries(
            rewrites={"docker.io": f"{ECR}/docker-hub", "quay.io": f"{ECR}/quay"},
            secrets={"registry.lab.org": SECRET},
        )
    }
)
CLOSED = CACHED.model_copy(
    update={"registries": CACHED.registries.model_copy(update={"internet": False})}
)


@pytest.mark.parametrize(
    ("image", "pulled"),
    [
        ("ubuntu", f"{ECR}/docker-hub/library/ubuntu"),
        ("ubuntu:22.04", f"{ECR}/docker-hub/library/ubuntu:22.04"),
        ("biocontainers/bwa@sha256:ab", f"{ECR}/docker-hub/biocontainers/bwa@sha256:ab"),
        ("docker.io/ubuntu", f"{ECR}/docker-hub/library/ubuntu"),
        ("index.docker.io/library/ubuntu", f"{ECR}/docker-hub/library/ubuntu"),
        ("quay.io/a/b/c:1", f"{ECR}/quay/a/b/c:1"),
        ("ghcr.io/a/b", "ghcr.io/a/b"),
        ("localhost/a", "localhost/a"),
        ("localhost:5000/a", "localhost:5000/a"),
        (f"{ECR}/mine:1", f"{ECR}/mine:1"),
    ],
)
def test_images_come_through_the_cache_of_their_registry(image: str, pulled: str) -> None:
    assert images.pulled(CACHED, image) == pulled
    assert images.pulled(DEPLOYMENT, image) == image
    assert container_properties(CACHED, Shape(image=image))["image"] == pulled


@pytest.mark.parametrize(
    ("image", "reachable"),
    [
        ("ubuntu", True),  # through the cache
        (f"{ECR}/mine:1", True),
        ("ghcr.io/a/b", False),
        ("public.ecr.aws/x/y", False),
        (f"{ECR.replace('us-east-1', 'eu-west-1')}/mine", False),
        (f"{ECR}.evil.example/mine", False),
    ],
)
def test_without_internet_only_ecr_of_the_region_is_reached(image: str, reachable: bool) -> None:
    reason = images.unreachable(CLOSED, image)
    assert (reason is None) is reachable
    assert images.unreachable(CACHED, image) is None
    if reason is not None:
        assert f"docker pull {ECR}/PREFIX/" in reason


def test_a_registry_with_a_secret_is_pulled_with_it_and_others_are_not() -> None:
    asked = container_properties(CACHED, Shape(image="registry.lab.org/a:1"))
    assert asked["repositoryCredentials"] == {"credentialsParameter": SECRET}
    assert "repositoryCredentials" not in container_properties(CACHED, Shape(image="quay.io/a/b"))
