"""Files from one file system to another; moto plays S3."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
from boto3.s3.transfer import TransferConfig
from moto import mock_aws

from orchestrator import errors
from orchestrator.filesystems import copying, s3
from orchestrator.filesystems.base import Filesystems
from orchestrator.filesystems.local import LocalFilesystem

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client


@pytest.fixture
def client() -> Iterator[S3Client]:
    with mock_aws():
        client = boto3.client(
            "s3",
            region_name="us-east-1",
            aws_access_key_id="AKIAEXAMPLE",
            aws_secret_access_key="example",
        )
        for bucket in ("one", "two"):
            client.create_bucket(Bucket=bucket)
        yield client
        client.close()


@pytest.fixture
def all_of_them(client: S3Client) -> Filesystems:
    return Filesystems(LocalFilesystem(), s3.S3Filesystem(client))


def test_every_way_between_disk_and_s3(all_of_them: Filesystems, tmp_path: Path) -> None:
    places = [f"{tmp_path}/a b/x", "s3://one/a b+c/x", "s3://two/%41/x", f"{tmp_path}/y/z"]
    all_of_them.of(places[0]).write(places[0], b"content")
    for source, target in itertools.pairwise(places):
        copying.copy(all_of_them, source, target)
    assert Path(places[-1]).read_bytes() == b"content"
    copying.copy(all_of_them, places[0], places[-1])  # what is there is replaced
    for place in places:
        assert all_of_them.of(place).read(place, 100) == b"content"


@pytest.mark.parametrize("source", ["s3://one/absent", "/nowhere/absent"])
@pytest.mark.parametrize("target", ["s3://two/x", "{}/x"])
def test_what_is_not_there_is_not_found(
    all_of_them: Filesystems, tmp_path: Path, source: str, target: str
) -> None:
    with pytest.raises(errors.NotFound, match="absent"):
        copying.copy(all_of_them, source, target.format(tmp_path))


def test_large_objects_are_copied_by_s3_in_parts(
    all_of_them: Filesystems, client: S3Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = 5 * 1024**2  # the least that S3 takes
    config = TransferConfig(multipart_threshold=part, multipart_chunksize=part)
    monkeypatch.setattr(s3, "_COPYING", config)
    client.put_object(Bucket="one", Key="large", Body=b"x" * (2 * part + 1))
    calls: list[str] = []
    client.meta.events.register("before-call.s3", lambda model, **_: calls.append(model.name))
    copying.copy(all_of_them, "s3://one/large", "s3://two/large")
    assert calls.count("UploadPartCopy") == 3
    assert "GetObject" not in calls
    assert all_of_them.of("s3://two/large").stat("s3://two/large").size == 2 * part + 1


def test_what_copy_object_does_not_take_is_copied_in_parts() -> None:
    assert s3._COPYING.multipart_threshold <= 5 * 1024**3
