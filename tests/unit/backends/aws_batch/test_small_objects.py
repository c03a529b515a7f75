"""GETs against AWS on this machine: what comes, and what it costs in requests."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator import errors
from orchestrator.backends.aws_batch.clients import Clients
from orchestrator.backends.aws_batch.small_objects import SmallObjects
from tests.batch_cloud import REGION, Cloud

LIMIT = 1000


@pytest.fixture
def objects(cloud: Cloud) -> SmallObjects:
    cloud.clear_calls()
    return SmallObjects(Clients(REGION, session=cloud.session, endpoint_url=cloud.endpoint))


def requests(cloud: Cloud) -> int:
    return sum(cloud.calls().get("s3", {}).values())


@pytest.mark.parametrize("name", ["a", "with space/and %25 +~", "ünïcode/=&?#", "a//b/../c", "/a"])
def test_any_key_in_one_request(cloud: Cloud, objects: SmallObjects, name: str) -> None:
    uri = f"s3://root-bucket/{name}"
    cloud.put(uri, b"content")
    cloud.clear_calls()
    assert objects.get(uri, LIMIT) == b"content"
    assert requests(cloud) == 1


def test_an_object_that_is_not_there_in_one_request(cloud: Cloud, objects: SmallObjects) -> None:
    assert objects.get("s3://root-bucket/none", LIMIT) is None
    assert requests(cloud) == 1


def test_no_such_bucket_is_another_thing(objects: SmallObjects) -> None:
    with pytest.raises(errors.NotFound):
        objects.get("s3://no-such-bucket/none", LIMIT)


@pytest.mark.parametrize(("size", "got"), [(0, 0), (LIMIT, LIMIT), (50 * LIMIT, LIMIT + 1)])
def test_not_more_than_is_asked_for(
    cloud: Cloud, objects: SmallObjects, size: int, got: int
) -> None:
    cloud.put("s3://root-bucket/sized", b"x" * size)
    assert objects.get("s3://root-bucket/sized", LIMIT) == b"x" * got


@pytest.mark.parametrize(
    "fault",
    [
        {"error": "SlowDown", "status": 503},
        {"error": "InternalError", "status": 500},
        {"lost": "before"},
        {"lost": "after"},
    ],
    ids=str,
)
def test_what_goes_wrong_once_is_asked_again(
    cloud: Cloud, objects: SmallObjects, fault: dict[str, object]
) -> None:
    cloud.put("s3://root-bucket/a", b"content")
    cloud.fault(match="s3 GetObject", **fault)
    assert objects.get("s3://root-bucket/a", LIMIT) == b"content"


def test_what_is_forbidden_says_so(cloud: Cloud, objects: SmallObjects) -> None:
    cloud.fault(match="s3 GetObject", error="AccessDenied", status=403, times=5)
    with pytest.raises(errors.OrchestratorError, match="AccessDenied"):
        objects.get("s3://root-bucket/a", LIMIT)
    cloud.clear_faults()


def test_requests_share_connections(cloud: Cloud, objects: SmallObjects) -> None:
    cloud.put("s3://root-bucket/a", b"content")
    for uri in ["s3://root-bucket/a", "s3://root-bucket/none"] * 5:
        objects.get(uri, LIMIT)
    pools = objects._http._manager.pools  # type: ignore[attr-defined]
    assert sum(pools[key].num_connections for key in list(pools.keys())) == 1


def test_signed_by_version_4(cloud: Cloud, objects: SmallObjects) -> None:
    """Version 2 reads nothing that KMS has encrypted."""
    sent: list[Any] = []
    send = objects._http.send

    def recording(request: Any) -> Any:
        sent.append(request)
        return send(request)

    objects._http.send = recording  # type: ignore[method-assign]
    objects.get("s3://root-bucket/a", LIMIT)
    (request,) = sent
    assert request.headers["Authorization"].startswith("AWS4-HMAC-SHA256 ")
