from __future__ import annotations

import aws_cdk.aws_ec2 as ec2
import pytest

from stacks.instance_types import capacity, families


@pytest.mark.parametrize(
    ("name", "architecture", "vcpus", "nominal_gib"),
    [  # from EC2's page of instance types
        ("c5.9xlarge", "x86_64", 36, 72),
        ("m5.24xlarge", "x86_64", 96, 384),
        ("m6i.4xlarge", "x86_64", 16, 64),
        ("r6i.32xlarge", "x86_64", 128, 1024),
        ("c7a.medium", "x86_64", 1, 2),
        ("r7i.48xlarge", "x86_64", 192, 1536),
        ("c7g.16xlarge", "arm64", 64, 128),
        ("m6g", "arm64", 64, 256),
    ],
)
def test_capacity_is_what_ec2_publishes_less_what_the_host_needs(
    name: str, architecture: str, vcpus: int, nominal_gib: int
) -> None:
    found = capacity(name)
    assert found is not None
    assert (found.architecture, found.vcpus) == (architecture, vcpus)
    nominal_mib = nominal_gib * 1024
    assert 0.8 * nominal_mib < found.memory_mib < 0.95 * nominal_mib


@pytest.mark.parametrize("name", ["", ".", "m6i.", ".large", "m6i.3xlarge", "c5.8xlarge", "m4"])
def test_what_is_not_known_has_no_capacity(name: str) -> None:
    assert capacity(name) is None


def test_cdk_knows_every_family_and_agrees_on_its_architecture() -> None:
    for family in families():
        assert ec2.InstanceClass[family.upper()]
        found = capacity(family)
        assert found is not None
        agreed = ec2.InstanceType(f"{family}.large").architecture
        assert agreed.name.replace("_", "") == found.architecture.upper().replace("_", "")
