"""The client over the wire: against the local AWS, and against a metadata service."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest
from werkzeug.serving import make_server

from orchestrator.ebs_autoscale import ec2
from orchestrator.ebs_autoscale.ec2 import Ec2, Ec2Error, Metadata
from orchestrator.local_aws.gateway import Gateway, Settings


class MetadataService(http.server.ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str] = []
        self.failing = 0
        self.expires = datetime.now(UTC) + timedelta(hours=6)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: MetadataService

    def do_PUT(self) -> None:
        assert self.headers["X-aws-ec2-metadata-token-ttl-seconds"]
        self._answer(200, "the-token")

    def do_GET(self) -> None:
        path = self.path.removeprefix("/latest/meta-data/")
        self.server.asked.append(path)
        if self.server.failing:
            self.server.failing -= 1
            self._answer(503, "")
        elif self.headers["X-aws-ec2-metadata-token"] != "the-token":
            self._answer(401, "")
        elif path == "iam/security-credentials/":
            self._answer(200, "the-role")
        elif path == "iam/security-credentials/the-role":
            given = {"AccessKeyId": "AKIDEXAMPLE", "SecretAccessKey": "secret", "Token": "token"}
            expires = f"{self.server.expires:%Y-%m-%dT%H:%M:%SZ}"
            self._answer(200, json.dumps(given | {"Expiration": expires}))
        else:
            self._answer(200, path)

    def _answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def service() -> Iterator[MetadataService]:
    with MetadataService() as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.01,))
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    gateway = Gateway(Settings(tmp_path_factory.mktemp("aws")))
    server = make_server("127.0.0.1", 0, gateway, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    thread.join()
    server.server_close()
    gateway.close()


def test_volumes_are_made_found_changed_and_deleted(
    service: MetadataService, endpoint: str
) -> None:
    api = Ec2("us-east-1", endpoint, Metadata(service.url))
    made = api.call(
        "CreateVolume",
        AvailabilityZone="us-east-1a",
        Size=10,
        VolumeType="gp3",
        Encrypted=True,
        TagSpecification=[
            {"ResourceType": "volume", "Tag": [{"Key": "a", "Value": "b & c"}]},
        ],
    )
    volume = ec2.text(made, "volumeId")
    assert volume.startswith("vol-")
    api.call("ModifyVolume", VolumeId=volume, Size=20)
    api.call("CreateTags", ResourceId=[volume], Tag=[{"Key": "c", "Value": "d"}])
    found = api.call("DescribeVolumes", VolumeId=[volume]).findall("volumeSet/item")
    assert [ec2.text(one, "size") for one in found] == ["20"]
    assert ec2.tags(found[0]) == {"a": "b & c", "c": "d"}
    assert ec2.text(found[0], "attachmentSet/item/device") == ""
    filters = [{"Name": "tag:a", "Value": ["b & c"]}, {"Name": "status", "Value": ["available"]}]
    found = api.call("DescribeVolumes", Filter=filters).findall("volumeSet/item")
    assert [ec2.text(one, "volumeId") for one in found] == [volume]
    api.call("DeleteVolume", VolumeId=volume)
    with pytest.raises(Ec2Error, match="does not exist") as refused:
        api.call("DeleteVolume", VolumeId=volume)
    assert refused.value.code == "InvalidVolume.NotFound"
    # Credentials are asked for once.
    assert service.asked.count("iam/security-credentials/the-role") == 1


def test_requests_are_signed_as_botocore_signs_them(
    service: MetadataService, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = b"Action=DescribeVolumes&Version=2016-11-15"
    ours = Ec2("eu-central-1", "https://ec2.eu-central-1.amazonaws.com", Metadata(service.url))
    headers = ours._signed(body)
    request = botocore.awsrequest.AWSRequest(
        "POST",
        "https://ec2.eu-central-1.amazonaws.com/",
        {"Content-Type": headers["content-type"]},
        body,
    )
    stamp = datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ")
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: stamp)
    credentials = botocore.credentials.Credentials("AKIDEXAMPLE", "secret", "token")
    botocore.auth.SigV4Auth(credentials, "ec2", "eu-central-1").add_auth(request)
    assert request.headers["X-Amz-Date"] == headers["x-amz-date"]
    assert request.headers["Authorization"] == headers["authorization"]


def test_credentials_are_renewed_before_they_expire(service: MetadataService) -> None:
    service.expires = datetime.now(UTC) + timedelta(seconds=200)
    api = Ec2("us-east-1", "http://localhost", Metadata(service.url))
    api._current()
    api._current()
    assert service.asked.count("iam/security-credentials/the-role") == 2


def test_a_metadata_service_that_stumbles_is_asked_again(
    service: MetadataService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ec2.time, "sleep", lambda _: None)
    service.failing = 3
    assert Metadata(service.url).get("instance-id") == "instance-id"
    service.failing = 4
    with pytest.raises(Ec2Error, match="metadata instance-id"):
        Metadata(service.url).get("instance-id")


def test_what_cannot_be_reached_is_one_kind_of_error(
    service: MetadataService, tmp_path: Path
) -> None:
    nobody = Ec2("us-east-1", "http://127.0.0.1:9", Metadata(service.url))
    with pytest.raises(Ec2Error) as refused:
        nobody.call("DescribeVolumes")
    assert refused.value.code == "Unreachable"
    for answer in (b"", b"<html", b"<Response/>"):
        assert ec2._refusal(answer, 503).code == "Unreachable"


def test_parameters_are_spelled_as_the_query_api_has_them() -> None:
    fields: dict[str, str] = {}
    value: Any = [{"Name": "x", "Value": ["1", True]}]
    ec2._flatten("Filter", value, fields)
    assert fields == {"Filter.1.Name": "x", "Filter.1.Value.1": "1", "Filter.1.Value.2": "true"}
