"""Answers of S3 become our errors; batches and pages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError
from botocore.stub import Stubber

from orchestrator import errors
from orchestrator.filesystems.s3 import S3Filesystem

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client


@pytest.fixture
def client() -> Iterator[S3Client]:
    client = boto3.client(
        "s3",
        region_name="us-east-1",
        aws_access_key_id="AKIAEXAMPLE",
        aws_secret_access_key="example",
        config=Config(retries={"total_max_attempts": 1}),
    )
    yield client
    client.close()


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("404", 404, errors.NotFound),
        ("NoSuchBucket", 404, errors.NotFound),
        ("403", 403, errors.NotAllowed),
        ("ExpiredToken", 400, errors.NotAllowed),
        ("SlowDown", 503, errors.TryLater),
        ("500", 500, errors.TryLater),
        ("InternalError", 400, errors.TryLater),
        ("RequestTimeout", 400, errors.TryLater),
    ],
)
def test_answers_become_errors_that_name_the_object(
    client: S3Client, code: str, status: int, expected: type[errors.OrchestratorError]
) -> None:
    with Stubber(client) as stub:
        stub.add_client_error("head_object", code, http_status_code=status)
        with pytest.raises(errors.OrchestratorError) as caught:
            S3Filesystem(client).stat("s3://bucket/some/key")
    assert type(caught.value) is expected
    assert "s3://bucket/some/key" in caught.value.message


def test_an_archived_object_says_so(client: S3Client) -> None:
    with Stubber(client) as stub:
        stub.add_client_error("get_object", "InvalidObjectState", http_status_code=403)
        with pytest.raises(errors.NotAllowed, match="Glacier"):
            S3Filesystem(client).read("s3://bucket/key", 10)


class _Raising:
    """A client whose calls all fail in one way."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            raise self._error

        return call


def test_no_connection_and_no_credentials(tmp_path: Any) -> None:
    gone: Any = _Raising(EndpointConnectionError(endpoint_url="http://127.0.0.1:1"))
    with pytest.raises(errors.TryLater, match="s3://b/k"):
        S3Filesystem(gone).stat("s3://b/k")
    nobody: Any = _Raising(NoCredentialsError())
    with pytest.raises(errors.NotAllowed, match="credentials"):
        S3Filesystem(nobody).read("s3://b/k", 1)
    refused: Any = _Raising(ClientError({"Error": {"Code": "403"}}, "HeadObject"))
    with pytest.raises(errors.NotAllowed, match="s3://b/k"):
        S3Filesystem(refused).download("s3://b/k", str(tmp_path / "x"))


def test_deleting_goes_on_after_a_refusal_and_then_tells(client: S3Client) -> None:
    keys = [f"k{number}" for number in range(1500)]

    def expected(names: list[str]) -> dict[str, Any]:
        return {
            "Bucket": "bucket",
            "Delete": {"Objects": [{"Key": name} for name in names], "Quiet": True},
        }

    with Stubber(client) as stub:
        refusal = {"Key": "k7", "Code": "AccessDenied", "Message": "no"}
        stub.add_response("delete_objects", {"Errors": [refusal]}, expected(keys[:1000]))
        stub.add_response("delete_objects", {}, expected(keys[1000:]))
        with pytest.raises(errors.NotAllowed, match="s3://bucket/k7"):
            S3Filesystem(client).delete(f"s3://bucket/{key}" for key in keys)
        stub.assert_no_pending_responses()


def test_listing_walks_the_pages_and_passes_markers_over(client: S3Client) -> None:
    def entry(key: str) -> dict[str, Any]:
        return {"Key": key, "Size": 1, "ETag": '"e"'}

    with Stubber(client) as stub:
        stub.add_response(
            "list_objects_v2",
            {
                "IsTruncated": True,
                "NextContinuationToken": "t",
                "Contents": [entry("d/"), entry("d/a")],
            },
        )
        stub.add_response("list_objects_v2", {"IsTruncated": False, "Contents": [entry("d/b")]})
        found = [stat.uri for stat in S3Filesystem(client).list("s3://bucket/d")]
    assert found == ["s3://bucket/d/a", "s3://bucket/d/b"]


@pytest.mark.parametrize("uri", ["s3://", "s3:///key", "s3://Not_a_bucket!/key"])
def test_what_is_no_s3_uri_is_invalid(client: S3Client, uri: str) -> None:
    with pytest.raises(errors.InvalidInputs, match="S3 URI"):
        S3Filesystem(client).stat(uri)
