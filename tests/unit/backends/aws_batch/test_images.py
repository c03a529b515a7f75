from __future__ import annotations

import pytest

from orchestrator import errors
from orchestrator.backends.aws_batch import images
from orchestrator.backends.aws_batch.images import Image
from orchestrator.model.job import Shape

from .test_backend import make

ECR = "123456789012.dkr.ecr.us-east-1.amazonaws.com"
DIGEST = f"sha256:{'0a' * 32}"


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("ubuntu", Image("docker.io", "library/ubuntu")),
        ("ubuntu:22.04", Image("docker.io", "library/ubuntu", "22.04")),
        (f"ubuntu@{DIGEST}", Image("docker.io", "library/ubuntu", "", DIGEST)),
        (f"ubuntu:22.04@{DIGEST}", Image("docker.io", "library/ubuntu", "22.04", DIGEST)),
        ("library/ubuntu", Image("docker.io", "library/ubuntu")),
        ("biocontainers/bwa:v0.7.17_cv1", Image("docker.io", "biocontainers/bwa", "v0.7.17_cv1")),
        ("a/b/c", Image("docker.io", "a/b/c")),
        ("docker.io/ubuntu", Image("docker.io", "library/ubuntu")),
        ("index.docker.io/library/ubuntu:1", Image("docker.io", "library/ubuntu", "1")),
        ("registry-1.docker.io/a/b", Image("docker.io", "a/b")),
        ("registry.hub.docker.com/a/b", Image("docker.io", "a/b")),
        ("quay.io/biocontainers/samtools:1.9--h91753b0_8",
         Image("quay.io", "biocontainers/samtools", "1.9--h91753b0_8")),
        ("gcr.io/google-containers/pause:3", Image("gcr.io", "google-containers/pause", "3")),
        ("us-docker.pkg.dev/p/r/i", Image("us-docker.pkg.dev", "p/r/i")),
        ("us.gcr.io/broad-gotc-prod/gatk", Image("us.gcr.io", "broad-gotc-prod/gatk")),
        ("public.ecr.aws/x/y:2", Image("public.ecr.aws", "x/y", "2")),
        (f"{ECR}/team/tool:1", Image(ECR, "team/tool", "1")),
        (f"{ECR}/tool@{DIGEST}", Image(ECR, "tool", "", DIGEST)),
        ("localhost/a", Image("localhost", "a")),
        ("localhost:5000/a:b", Image("localhost:5000", "a", "b")),
        ("registry:5000/a", Image("registry:5000", "a")),
        ("registry/a", Image("docker.io", "registry/a")),
        ("MyHost/a", Image("MyHost", "a")),
        ("[2001:db8::1]:5000/a", Image("[2001:db8::1]:5000", "a")),
        ("ubuntu:5000", Image("docker.io", "library/ubuntu", "5000")),
        ("a__b/c-d--e.f:_x", Image("docker.io", "a__b/c-d--e.f", "_x")),
    ],
)  # fmt: skip
def test_names_are_taken_apart_as_docker_does(name: str, image: Image) -> None:
    assert images.parse(name) == image


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", "no repository's name"),
        ("Ubuntu", "names are in lower case"),
        ("ubuntu:", "no tag"),
        ("ubuntu:a:b", "'a:b' is no tag"),
        ("ubuntu:-a", "no tag"),
        (f"ubuntu:{'t' * 129}", "no tag"),
        ("ubuntu@sha256:ab", "no digest"),
        ("ubuntu@", "no digest"),
        ("https://quay.io/a/b", "'https:' is no registry's host"),
        ("quay.io//a", "no repository's name"),
        ("quay.io/", "no repository's name"),
        ("a/b_/c", "no repository's name"),
        ("a b", "no repository's name"),
        ("ubuntu\n", "no repository's name"),
        ("quay.io:x/a", "no registry's host"),
        ("-q.io/a", "no registry's host"),
        (f"quay.io/{'a' * 250}", "more than 255"),
    ],
)
def test_what_cannot_be_a_name_is_refused_before_anything_is_submitted(
    name: str, says: str
) -> None:
    with pytest.raises(errors.InvalidRuntimeAttribute, match=says):
        images.parse(name)
    if name:
        with pytest.raises(errors.InvalidRuntimeAttribute, match=says):
            make().fits(Shape(image=name))


def test_a_name_below_a_prefix_keeps_tag_and_digest() -> None:
    found = images.parse(f"ubuntu:1@{DIGEST}").below("mirror.lab.org/hub")
    assert found == f"mirror.lab.org/hub/library/ubuntu:1@{DIGEST}"
