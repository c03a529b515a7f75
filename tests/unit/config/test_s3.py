"""`s3`: what clients send and where, and that a job's s5cmd goes to the same place."""

from __future__ import annotations

import io
import os
import re
import socket
import subprocess
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.config import Config

from orchestrator import errors
from orchestrator.config import settings
from orchestrator.config.aws import Sessions
from orchestrator.config.s3 import S3
from tests.batch_cloud import S5CMD
from tests.unit.config.test_cromwell_files import written
from tests.unit.config.test_keys import run

LOCAL = 'include required(classpath("application"))\n'
KEYS = """
aws { region = REGION, auths = [
  { name = k, scheme = custom_keys, access-key = AKIAX, secret-key = sesame } ] }
engine.filesystems.s3.auth = k
"""
WHERE = {
    "": ("eu-west-1", "https://reads.s3.eu-west-1.amazonaws.com/k"),
    "path-style-access = true": ("eu-west-1", "https://s3.eu-west-1.amazonaws.com/reads/k"),
    "dual-stack = true": ("eu-west-1", "https://reads.s3.dualstack.eu-west-1.amazonaws.com/k"),
    "dual-stack = true, path-style-access = true": (
        "eu-west-1",
        "https://s3.dualstack.eu-west-1.amazonaws.com/reads/k",
    ),
    "accelerate-mode = true": ("eu-west-1", "https://reads.s3-accelerate.amazonaws.com/k"),
    "accelerate-mode = true, dual-stack = true": (
        "eu-west-1",
        "https://reads.s3-accelerate.dualstack.amazonaws.com/k",
    ),
    'endpoint-url = "https://minio.lab:9000"': ("eu-west-1", "https://minio.lab:9000/reads/k"),
    "requester-pays = false": ("cn-north-1", "https://reads.s3.cn-north-1.amazonaws.com.cn/k"),
    "path-style-access = yes": ("cn-north-1", "https://s3.cn-north-1.amazonaws.com.cn/reads/k"),
    "kms-key = x": ("us-gov-west-1", "https://reads.s3.us-gov-west-1.amazonaws.com/k"),
}


def loaded(folder: Path, block: str, region: str = "eu-west-1", more: str = "") -> Any:
    text = f"{LOCAL}{KEYS.replace('REGION', region)}{more}\ns3 {{ {block} }}\n"
    return settings.load(written(folder, text))


class Sent:
    """A client whose requests are answered here."""

    def __init__(self, client: Any) -> None:
        self.client, self.requests = client, list[Any]()
        client.meta.events.register("before-send.s3", self._answer)

    def _answer(self, request: Any, **_: Any) -> Any:
        self.requests.append(request)
        body = b""
        if request.method == "POST" and request.url.endswith("?uploads"):
            body = b"<R><UploadId>7</UploadId></R>"
        elif "copy" in request.url or "x-amz-copy-source" in request.headers:
            body = b"<R><ETag>e</ETag></R>"
        raw = io.BytesIO(body)
        raw.stream = lambda *_, **__: iter([body])  # type: ignore[attr-defined]
        headers: Any = {"ETag": '"e"', "Content-Length": str(len(body))}
        return AWSResponse(request.url, 200, headers, raw)

    def headers(self, name: str) -> list[str | None]:
        found = [request.headers.get(name) for request in self.requests]
        return [value.decode() if isinstance(value, bytes) else value for value in found]


@pytest.mark.parametrize("block", WHERE)
def test_clients_and_jobs_find_s3_at_the_same_place(tmp_path: Path, block: str) -> None:
    region, url = WHERE[block]
    chosen = loaded(tmp_path, block, region)
    sent = Sent(Sessions(chosen).client("s3", "k"))
    sent.client.head_object(Bucket="reads", Key="k")
    assert [request.url for request in sent.requests] == [url]

    regional = Sessions(chosen).client("s3", "k").meta.endpoint_url
    with socket.socket() as nobody:  # bound, and never listening: connections are refused
        nobody.bind(("127.0.0.1", 0))
        proxy = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        done = subprocess.run(
            [S5CMD, "--retry-count", "0", "head", "s3://reads/k"],
            env={
                "HOME": str(tmp_path),
                "AWS_ACCESS_KEY_ID": "a",
                "AWS_SECRET_ACCESS_KEY": "b",
                "AWS_REGION": region,
                "HTTPS_PROXY": proxy,
                **chosen.s3.environment(regional, elsewhere=False),
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    asked = re.search(r'Head "([^"]*)"', done.stderr)
    assert asked, done.stderr
    assert asked[1] == url


def test_every_request_says_who_pays_and_how_what_it_writes_is_encrypted(tmp_path: Path) -> None:
    key = "arn:aws:kms:eu-west-1:111122223333:key/0a1b"
    chosen = loaded(tmp_path, f'requester-pays = true, kms-key = "{key}"')
    sent = Sent(Sessions(chosen).client("s3", "k", retries={"total_max_attempts": 1}))
    s3 = sent.client
    s3.head_object(Bucket="b", Key="k")
    s3.get_object(Bucket="b", Key="k")
    s3.list_objects_v2(Bucket="b")
    s3.delete_objects(Bucket="b", Delete={"Objects": [{"Key": "k"}]})
    reading = len(sent.requests)
    s3.put_object(Bucket="b", Key="k", Body=b"")
    s3.copy_object(Bucket="b", Key="k", CopySource="b/a")
    s3.create_multipart_upload(Bucket="b", Key="k")
    s3.upload_fileobj(io.BytesIO(b"x"), "b", "k")
    assert set(sent.headers("x-amz-request-payer")) == {"requester"}
    encrypted = sent.headers("x-amz-server-side-encryption")
    assert encrypted == [None] * reading + ["aws:kms"] * (len(encrypted) - reading)
    keys = sent.headers("x-amz-server-side-encryption-aws-kms-key-id")
    assert keys == [None] * reading + [key] * (len(keys) - reading)
    assert len(keys) == reading + 4


def test_what_is_not_said_is_not_sent(tmp_path: Path) -> None:
    sent = Sent(Sessions(loaded(tmp_path, "")).client("s3", "k"))
    sent.client.put_object(Bucket="b", Key="k", Body=b"")
    for name in ("x-amz-request-payer", "x-amz-server-side-encryption"):
        assert sent.headers(name) == [None]
    assert S3().environment("https://s3.eu-west-1.amazonaws.com", elsewhere=False) == {}
    assert S3().upload_flags() == ()


@pytest.mark.parametrize(
    ("block", "flags"),
    [
        ("server-side-encryption = AES256", ("--sse", "AES256")),
        ('server-side-encryption = "aws:kms"', ("--sse", "aws:kms")),
        ('kms-key = "alias/lab"', ("--sse", "aws:kms", "--sse-kms-key-id", "alias/lab")),
        (
            'kms-key = k, server-side-encryption = "aws:kms:dsse"',
            ("--sse", "aws:kms:dsse", "--sse-kms-key-id", "k"),
        ),
    ],
)
def test_jobs_encrypt_what_they_write_as_the_engine_does(
    tmp_path: Path, block: str, flags: tuple[str, ...]
) -> None:
    assert loaded(tmp_path, block).s3.upload_flags() == flags


def test_an_aws_of_ones_own_has_s3_too_and_jobs_know_it_by_themselves(tmp_path: Path) -> None:
    own = 'aws.endpoint-url = "http://127.0.0.1:5999"'
    chosen = loaded(tmp_path, "dual-stack = true, requester-pays = true", more=own)
    client = Sessions(chosen).client("s3", "k")
    assert client.meta.endpoint_url == "http://127.0.0.1:5999"
    assert chosen.s3.environment("http://127.0.0.1:5999", elsewhere=True) == {
        "ORCHESTRATOR_S3_FLAGS": "--request-payer requester"
    }
    code, out = run("config", "check", str(chosen.path))
    assert code == 0
    assert re.search(r"no effect  s3.dual-stack .*aws.endpoint-url says where S3 is", out)
    assert re.search(r"used +s3.requester-pays", out)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ('endpoint-url = "minio.lab:9000"', "expected a URL"),
        ('endpoint-url = "https://user:sesame@minio.lab"', "expected a URL"),
        ('endpoint-url = "https://minio.lab", dual-stack = true', "excludes what is AWS's"),
        ("accelerate-mode = true, path-style-access = true", "excludes path-style-access"),
        ("kms-key = x, server-side-encryption = AES256", "kms-key asks for aws:kms"),
        ('kms-key = "x; reboot"', "kms-key"),
        ("server-side-encryption = rot13", "server-side-encryption"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(tmp_path: Path, block: str, message: str) -> None:
    with pytest.raises(errors.InvalidConfig) as caught:
        loaded(tmp_path, block)
    [finding] = caught.value.findings
    assert message in finding.message
    assert finding.place
    assert "sesame" not in str(caught.value)


def test_the_sdk_takes_the_same_variables_as_jobs_get() -> None:
    """A command that uses an SDK or the AWS CLI goes where s5cmd goes."""
    chosen = S3(endpoint_url="https://minio.lab:9000")
    variables = chosen.environment("", elsewhere=False)
    with pytest.MonkeyPatch.context() as patch:
        for name in [n for n in os.environ if n.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in variables.items():
            patch.setenv(name, value)
        session = boto3.Session(aws_access_key_id="a", aws_secret_access_key="b")
        s3 = session.client("s3", region_name="eu-west-1", config=Config())
        assert s3.meta.endpoint_url == "https://minio.lab:9000"
        batch = session.client("batch", region_name="eu-west-1")
        assert batch.meta.endpoint_url == "https://batch.eu-west-1.amazonaws.com"
