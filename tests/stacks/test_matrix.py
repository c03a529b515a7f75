"""Settings, alone and together: each makes templates, and what holds for all holds for each."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from aws_cdk.assertions import Template

from tests.stacks.conftest import build
from tests.stacks.linting import lint

ACCOUNT = "111122223333"
KEY = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/01234567-89ab-cdef-0123-456789abcdef"
SECRET = f"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret"
EXISTING: dict[str, Any] = {
    "vpc_id": "vpc-0a1b2c3d",
    "host_subnets": ["subnet-0a1b2c3d"],
    "database_subnets": ["subnet-0a1b2c3e", "subnet-0a1b2c3f"],
    "route_tables": ["rtb-0a1b2c3d"],
    "cidr": "10.1.0.0/16",
}
EVERYTHING: dict[str, Any] = {
    "set.network.egress": "endpoints",
    "set.encryption.kms_key": KEY,
    "set.storage.versioning": True,
    "set.storage.read_buckets": ["reference-data"],
    "set.storage.write_buckets": ["results"],
    "set.storage.kms_keys": [KEY],
    "set.identity.path": "/teams/genomics/",
    "set.identity.permissions_boundary": f"arn:aws:iam::{ACCOUNT}:policy/boundary",
    "set.identity.job_roles": [f"arn:aws:iam::{ACCOUNT}:role/special"],
    "set.identity.operators": [f"arn:aws:iam::{ACCOUNT}:role/ops"],
    "set.compute.fuse_mount": True,
    "set.compute.priority_max_vcpus": 8,
    "set.compute.arm64": {"instance_types": ["m7g"], "spot_max_vcpus": 8},
    "set.compute.gpu": {"instance_types": ["g5.xlarge"], "on_demand_max_vcpus": 8},
    "set.registries.pull_through": [
        {
            "registry": "docker.io",
            "prefix": "docker-hub",
            "secret": f"{SECRET}:ecr-pullthroughcache/hub-a1b2c3",
        }
    ],
    "set.monitoring.emails": ["team@example.org"],
    "set.monitoring.monthly_budget_usd": 100,
}
MATRIX: dict[str, dict[str, Any]] = {
    "dev": {},
    "prod": {"environment": "prod"},
    "local": {"environment": "local"},
    "everything": EVERYTHING,
    "public": {"set.network.egress": "public", "set.network.flow_logs": "none"},
    "public host": {"set.host.mode": "public", "set.host.instance_type": "m7g.large"},
    "existing network": {"set.network.egress": "existing", "set.network.existing": EXISTING},
    "endpoints in an existing network": {
        "set.network.egress": "endpoints",
        "set.network.existing": EXISTING | {"s3_endpoint": "existing"},
    },
    "existing bucket": {"set.storage.existing_bucket": "lab-workflows"},
    "own key": {"set.encryption.kms_key": "create"},
    "arm64 only": {"set.compute.instance_types": ["m7g"], "set.compute.spot_falls_back": True},
    "secrets": {
        "set.database.login": "secret",
        "set.registries.job_secrets": {"registry.lab.org": f"{SECRET}:lab-a1b2c3"},
        "set.registries.host_secret": f"{SECRET}:hosts-a1b2c3",
    },
    "docker hub through ECR": {"set.registries.docker_hub": "pull_through"},
    "docker hub by hosts": {"set.registries.docker_hub": "host_login"},
    "pinned images": {
        "set.compute.images.x86_64": "ami-0123456789abcdef0",
        "set.host.image": "/images/of/ours",
    },
    "no alarms": {"set.monitoring.alarms": False, "set.monitoring.dashboard": False},
    "China": {"set.region": "cn-north-1"},
}


@pytest.fixture(params=MATRIX, scope="module")
def made(
    request: pytest.FixtureRequest, synthesise: Callable[..., Mapping[str, Template]]
) -> Mapping[str, Template]:
    return synthesise(**MATRIX[request.param])


def _resources(made: Mapping[str, Template]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for part, template in made.items():
        for name, entry in template.to_json().get("Resources", {}).items():
            yield f"{part}/{name}", entry["Type"], entry.get("Properties", {})


def test_nothing_is_open_to_the_world(made: Mapping[str, Template]) -> None:
    for name, kind, properties in _resources(made):
        if kind in ("AWS::EC2::SecurityGroup", "AWS::EC2::SecurityGroupIngress"):
            rules = properties.get("SecurityGroupIngress", [])
            for rule in [*rules, properties]:
                assert rule.get("CidrIp") != "0.0.0.0/0", name
                assert "CidrIpv6" not in rule, name


def test_what_holds_data_is_encrypted(made: Mapping[str, Template]) -> None:
    for name, kind, properties in _resources(made):
        if kind == "AWS::S3::Bucket":
            assert properties["BucketEncryption"], name
        if kind == "AWS::RDS::DBCluster":
            assert properties["StorageEncrypted"] is True, name
        if kind == "AWS::EC2::LaunchTemplate":
            disks = properties["LaunchTemplateData"]["BlockDeviceMappings"]
            assert all(disk["Ebs"]["Encrypted"] for disk in disks), name


def test_descriptions_are_of_characters_that_ec2_takes(made: Mapping[str, Template]) -> None:
    """EC2's CreateSecurityGroup: a-z, A-Z, 0-9, spaces and ._-:/()#,@[]+=&;{}!$*."""
    allowed = re.compile(r"[a-zA-Z0-9 ._\-:/()#,@\[\]+=&;{}!$*]{1,255}")
    for name, kind, properties in _resources(made):
        if kind.startswith("AWS::EC2::SecurityGroup"):
            rules = [
                *properties.get("SecurityGroupIngress", []),
                *properties.get("SecurityGroupEgress", []),
            ]
            for text in [
                properties.get("GroupDescription") or properties.get("Description", "x"),
                *(rule.get("Description", "x") for rule in rules),
            ]:
                assert allowed.fullmatch(text), (name, text)


def test_arns_are_of_the_partition_of_the_region(made: Mapping[str, Template]) -> None:
    for part, template in made.items():
        text = json.dumps(template.to_json())
        if "cn-north-1" in text:
            assert "arn:aws:" not in text, part


def test_templates_are_within_the_limits_of_cloudformation(made: Mapping[str, Template]) -> None:
    for part, template in made.items():
        body = template.to_json()
        assert len(json.dumps(body)) < 1_000_000, part
        assert len(body.get("Resources", {})) <= 500, part


_MOST = ("dev", "prod", "everything")


@pytest.mark.parametrize(
    "names",
    [
        _MOST,
        pytest.param(tuple(name for name in MATRIX if name not in _MOST), marks=pytest.mark.slow),
    ],
    ids=["most", "the others"],
)
def test_the_linter_finds_nothing(
    names: tuple[str, ...],
    tmp_path: Path,
    synthesise: Callable[..., Mapping[str, Template]],
) -> None:
    """Each different template once; warnings count."""
    seen: dict[str, str] = {}
    for name in names:
        for part, template in synthesise(**MATRIX[name]).items():
            seen.setdefault(json.dumps(template.to_json(), indent=1), f"{name}-{part}")
    files = []
    for text, name in seen.items():
        file = tmp_path / f"{name.replace(' ', '_')}.template.json"
        file.write_text(text)
        files.append(file)
    assert lint(files) == ""


def test_a_look_up_is_made_only_where_it_is_asked_for(tmp_path: Path) -> None:
    for context, asked in (
        ({}, False),
        ({"set.network.egress": "existing", "set.network.existing": EXISTING}, False),
        (
            {
                "set.network.egress": "existing",
                "set.network.existing": {"vpc_id": "vpc-0a1b2c3d", "look_up": True},
            },
            True,
        ),
    ):
        outdir = tmp_path / f"{asked}-{len(context)}"
        app = build(outdir, **context)
        app.synth()
        manifest = json.loads((outdir / "manifest.json").read_text())
        assert bool(manifest.get("missing")) is asked
