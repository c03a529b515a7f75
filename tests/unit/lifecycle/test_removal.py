"""An environment is removed: its buckets are emptied first where nothing is to be kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import boto3
import pytest
from moto import mock_aws

from orchestrator import errors
from stacks.lifecycle import removal
from stacks.lifecycle.cdk import Cdk
from stacks.settings import Settings


def client(service: str) -> Any:
    return boto3.client(  # type: ignore[call-overload]
        service, "us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )


def settings(retention: str) -> Settings:
    return cast(Settings, SimpleNamespace(retention=retention, environment="dev"))


class FakeCdk:
    """`destroy` deletes the stack's bucket as CloudFormation would; objects may come late."""

    def __init__(self, bucket: str, late: int = 0) -> None:
        self.bucket, self.late, self.tries = bucket, late, 0
        self.deleted: tuple[str, ...] = ()

    def destroy(self, *stacks: str) -> None:
        self.tries += 1
        if stacks:  # CloudFormation refuses these, and whatever they need
            assert not {"dev-storage", "dev-database", "dev-network"} & set(stacks)
            self.deleted = stacks
            return
        s3 = client("s3")
        if self.late:
            self.late -= 1
            s3.put_object(Bucket=self.bucket, Key=f"late-{self.late}", Body=b"log")
        try:
            s3.delete_bucket(Bucket=self.bucket)
        except s3.exceptions.ClientError as error:
            raise errors.EnvironmentProblem(str(error)) from None


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket of `dev` with more objects than are deleted at once, one in several versions."""
    template = {
        "Resources": {
            "B": {
                "Type": "AWS::S3::Bucket",
                "Properties": {"VersioningConfiguration": {"Status": "Enabled"}},
            }
        }
    }
    monkeypatch.setattr(removal, "_AT_ONCE", 10)
    with mock_aws():
        cloudformation, s3 = client("cloudformation"), client("s3")
        for name in ("dev-storage", "prod-storage"):
            cloudformation.create_stack(StackName=name, TemplateBody=json.dumps(template))
        names = {
            stack: cloudformation.describe_stack_resource(StackName=stack, LogicalResourceId="B")[
                "StackResourceDetail"
            ]["PhysicalResourceId"]
            for stack in ("dev-storage", "prod-storage")
        }
        s3.put_object(Bucket=names["prod-storage"], Key="result", Body=b"7")
        s3.put_bucket_versioning(
            Bucket=names["dev-storage"], VersioningConfiguration={"Status": "Enabled"}
        )
        for index in range(25):
            s3.put_object(Bucket=names["dev-storage"], Key=f"o{index}", Body=b"")
        s3.put_object(Bucket=names["dev-storage"], Key="o1", Body=b"again")
        s3.delete_object(Bucket=names["dev-storage"], Key="o2")
        yield names["dev-storage"]
        assert s3.get_object(Bucket=names["prod-storage"], Key="result")["Body"].read() == b"7"


def destroy(cdk: FakeCdk, retention: str = "destroy") -> list[str]:
    said: list[str] = []
    removal.destroy(cast(Cdk, cdk), settings(retention), client, said.append)
    return said


def test_every_version_of_every_object_goes_with_its_bucket(bucket: str) -> None:
    said = destroy(FakeCdk(bucket))
    assert bucket not in [b["Name"] for b in client("s3").list_buckets()["Buckets"]]
    assert "27 objects" in said[0]


def test_what_comes_late_is_deleted_too(bucket: str) -> None:
    cdk = FakeCdk(bucket, late=2)
    destroy(cdk)
    assert cdk.tries == 3


def test_it_is_not_tried_for_ever(bucket: str) -> None:
    cdk = FakeCdk(bucket, late=9)
    with pytest.raises(errors.EnvironmentProblem):
        destroy(cdk)
    assert cdk.tries == 3


def test_data_that_is_to_be_kept_is_not_touched(bucket: str) -> None:
    cdk = FakeCdk(bucket)
    said = " ".join(destroy(cdk, retention="keep"))
    # What holds none goes all the same: hosts cost by the hour.
    assert {"dev-host", "dev-compute", "dev-monitoring"} <= set(cdk.deleted)
    assert "kept: dev-storage, dev-database and dev-network" in said
    assert 'retention = "destroy"' in said
    found = client("s3").list_objects_v2(Bucket=bucket, MaxKeys=1000)
    assert found["KeyCount"] == 24


@pytest.mark.parametrize("retention", ["destroy", "keep"])
def test_the_login_that_the_orchestrator_kept_goes_too(bucket: str, retention: str) -> None:
    class Stacks(FakeCdk):
        def destroy(self, *stacks: str) -> None:
            self.tries += 1

    secrets = client("secretsmanager")
    for environment in ("dev", "prod"):
        secrets.create_secret(Name=f"orchestrator/{environment}/docker-hub", SecretString="{}")
    said = destroy(Stacks(bucket), retention)
    assert any("orchestrator/dev/docker-hub is deleted" in line for line in said)
    left = {secret["Name"] for secret in secrets.list_secrets()["SecretList"]}
    assert left == {"orchestrator/prod/docker-hub"}
    if retention == "keep":  # whoever deploys it again soon finds it
        secrets.restore_secret(SecretId="orchestrator/dev/docker-hub")
    else:
        assert not any("docker-hub" in line for line in destroy(Stacks(bucket), retention))


def test_an_environment_that_is_gone_is_gone(bucket: str) -> None:
    class Nothing(FakeCdk):
        def destroy(self, *stacks: str) -> None:
            self.tries += 1

    cdk = Nothing("none")
    removal.destroy(
        cast(Cdk, cdk),
        cast(Settings, SimpleNamespace(retention="destroy", environment="never")),
        client,
        lambda _: None,
    )
    assert cdk.tries == 1


def test_a_failure_of_another_kind_is_told_at_once(bucket: str) -> None:
    class Broken(FakeCdk):
        def destroy(self, *stacks: str) -> None:
            self.tries += 1
            raise errors.EnvironmentProblem("no such role")

    cdk = Broken(bucket)
    with pytest.raises(errors.EnvironmentProblem, match="no such role"):
        destroy(cdk)
    assert cdk.tries == 1
