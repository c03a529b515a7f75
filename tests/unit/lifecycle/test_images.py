from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from orchestrator import errors
from stacks.lifecycle import images
from stacks.settings import Settings, from_context

GPU = '{instance_types = ["g5"], spot_max_vcpus = 8}'
OURS = "/orchestrator/dev/images"


@pytest.fixture
def ssm(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    with mock_aws():
        yield boto3.client("ssm", region_name="us-east-1")


def _settings(**changes: str) -> Settings:
    return from_context(
        {"environment": "dev", **{f"set.{key}": value for key, value in changes.items()}}
    )


def test_the_first_deployment_pins_what_aws_recommends(ssm: Any) -> None:
    pinned = images.pin(ssm, _settings(**{"compute.gpu": GPU}))
    assert set(pinned) == {f"{OURS}/x86_64", f"{OURS}/gpu", f"{OURS}/host"}
    for name, image in pinned.items():
        assert image.startswith("ami-")
        assert ssm.get_parameter(Name=name)["Parameter"]["Value"] == image
    assert len(set(pinned.values())) == 3


def test_what_is_pinned_stays(ssm: Any) -> None:
    ssm.put_parameter(Name=f"{OURS}/x86_64", Value="ami-00000000", Type="String")
    assert set(images.pin(ssm, _settings())) == {f"{OURS}/host"}
    assert images.pin(ssm, _settings()) == {}
    assert ssm.get_parameter(Name=f"{OURS}/x86_64")["Parameter"]["Value"] == "ami-00000000"


def test_what_the_settings_name_is_not_pinned(ssm: Any) -> None:
    named = {"compute.images.x86_64": "ami-0a1b2c3d", "host.enabled": "false"}
    assert images.pin(ssm, _settings(**named)) == {}


def test_a_parameter_of_the_settings_must_be_there(ssm: Any) -> None:
    named = {"compute.images.x86_64": "/images/of/ours", "host.enabled": "false"}
    with pytest.raises(errors.EnvironmentProblem, match="/images/of/ours") as caught:
        images.pin(ssm, _settings(**named))
    assert "compute.images.x86_64" in str(caught.value.hint)
    ssm.put_parameter(Name="/images/of/ours", Value="ami-0a1b2c3d", Type="String")
    assert images.pin(ssm, _settings(**named)) == {}


def test_they_go_with_the_environment(ssm: Any) -> None:
    images.pin(ssm, _settings())
    images.unpin(ssm, _settings())
    found = ssm.get_parameters_by_path(Path=OURS)["Parameters"]
    assert found == []
    images.unpin(ssm, _settings())
