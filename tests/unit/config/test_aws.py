"""Sessions from auths: whose keys a request carries, where it goes, how often it is tried."""

from __future__ import annotations

import http.server
import threading
import urllib.parse
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from moto import mock_aws

from orchestrator import errors
from orchestrator.config import settings
from orchestrator.config.aws import Sessions

AUTHS = """
aws {
  region = "eu-west-1"
  auths = [
    { name = "default", scheme = "default" }
    { name = "keys", scheme = "custom_keys", access-key = "AKIAKEYS", secret-key = "s" }
    { name = "role", scheme = "assume_role", base-auth = "keys", external-id = "ours",
      role-arn = "arn:aws:iam::123456789012:role/reader" }
    { name = "second", scheme = "assume_role", base-auth = "role",
      role-arn = "arn:aws:iam::123456789012:role/second" }
  ]
}
"""


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))

    def make(text: str = AUTHS) -> Sessions:
        path = tmp_path / "my.conf"
        path.write_text(text)
        return Sessions(settings.load(path))

    return make


@pytest.fixture
def sts() -> Iterator[None]:
    with mock_aws():
        yield


def key(sessions: Sessions, auth: str | None) -> str:
    credentials = sessions.session(auth).get_credentials()
    assert credentials is not None
    return str(credentials.get_frozen_credentials().access_key)


def test_each_auth_has_credentials_of_its_own(make: Any, sts: None) -> None:
    sessions = make()
    assert key(sessions, "keys") == "AKIAKEYS"
    roles = {key(sessions, "role"), key(sessions, "second")}
    assert len(roles) == 2
    assert all(access_key.startswith("ASIA") for access_key in roles)
    assert sessions.session("role") is sessions.session("role")


def test_a_role_is_assumed_with_its_base_and_its_external_id(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []

    class Client:
        def __init__(self, **arguments: Any) -> None:
            self.key = arguments["aws_access_key_id"]

        def assume_role(self, **arguments: Any) -> Any:
            asked.append({"key": self.key, **arguments})
            return {
                "Credentials": {
                    "AccessKeyId": f"ASIA{len(asked)}",
                    "SecretAccessKey": "s",
                    "SessionToken": "t",
                    "Expiration": "2099-01-01T00:00:00Z",
                }
            }

        def close(self) -> None:
            pass

    sessions = make()
    monkeypatch.setattr(Sessions, "_sts", lambda self, auth: lambda service, **a: Client(**a))
    assert key(sessions, "second") == "ASIA2"
    assert [call["key"] for call in asked] == ["AKIAKEYS", "ASIA1"]
    assert asked[0]["ExternalId"] == "ours"
    assert "ExternalId" not in asked[1]
    assert asked[0]["RoleSessionName"] == "orchestrator"
    assert key(sessions, "second") == "ASIA2"  # not asked again before it expires


def test_clients_go_where_the_configuration_says(make: Any) -> None:
    sessions = make(AUTHS + '\naws.endpoint-url = "http://127.0.0.1:5999"')
    client = sessions.client("batch", "keys", retries={"total_max_attempts": 1})
    assert client.meta.endpoint_url == "http://127.0.0.1:5999"
    assert client.meta.region_name == "eu-west-1"
    assert client.meta.config.retries["total_max_attempts"] == 1
    s3 = sessions.client("s3", "keys")
    assert s3.meta.config.s3 == {"addressing_style": "path"}
    assert sessions.client("s3", "keys", region="us-west-2").meta.region_name == "us-west-2"


def test_an_auth_that_is_not_there_and_a_region_that_is_missing(make: Any) -> None:
    with pytest.raises(errors.InvalidConfig, match="nobody"):
        make().session("nobody")
    with pytest.raises(errors.InvalidConfig, match="region"):
        make("x = 1").client("batch")


class Sts(http.server.BaseHTTPRequestHandler):
    """STS as far as it is asked here: answers by action, and notes who asks what."""

    asked: ClassVar[list[tuple[str, str]]]
    refusals: ClassVar[dict[str, str]]  # action or access key -> code
    endpoint: str
    lifetime_seconds = 3600

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        action = urllib.parse.parse_qs(body)["Action"][0]
        signer = self.headers["Authorization"].split("Credential=")[1].split("/")[0]
        self.asked.append((signer, action))
        code = self.refusals.get(action) or self.refusals.get(signer)
        if code:
            text = f"<ErrorResponse><Error><Code>{code}</Code></Error></ErrorResponse>"
        elif action == "AssumeRole":
            expiry = datetime.now(UTC) + timedelta(seconds=self.lifetime_seconds)
            text = f"""<AssumeRoleResponse><AssumeRoleResult><Credentials>
                <AccessKeyId>ASIA{len(self.asked)}</AccessKeyId><SecretAccessKey>s</SecretAccessKey>
                <SessionToken>t</SessionToken><Expiration>{expiry:%Y-%m-%dT%H:%M:%SZ}</Expiration>
                </Credentials></AssumeRoleResult></AssumeRoleResponse>"""
        else:
            text = """<GetCallerIdentityResponse><GetCallerIdentityResult>
                <Arn>arn:aws:iam::1:user/me</Arn></GetCallerIdentityResult>
                </GetCallerIdentityResponse>"""
        self.send_response(403 if code else 200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def served() -> Iterator[type[Sts]]:
    class Answers(Sts):
        asked: ClassVar = []
        refusals: ClassVar = {}

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    Answers.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield Answers
    server.shutdown()
    thread.join()
    server.server_close()


def using(served: Any, engine: str, backend: str) -> str:
    return f"""{AUTHS}
aws.endpoint-url = "{served.endpoint}"
engine.filesystems.s3.auth = {engine}
backend.providers.B {{
  actor-factory = AwsBatchBackendLifecycleActorFactory
  config {{
    root = "s3://bucket/x", filesystems.s3.auth = {backend}
    default-runtime-attributes.queueArn = "arn:aws:batch:eu-west-1:123456789012:job-queue/q"
  }}
}}
"""


def test_each_auth_that_is_used_is_verified_with_one_call(make: Any, served: Any) -> None:
    make(using(served, "keys", "default")).verify()
    assert sorted(served.asked) == [
        ("AKIAENV", "GetCallerIdentity"), ("AKIAKEYS", "GetCallerIdentity")
    ]  # fmt: skip
    served.asked.clear()
    make(using(served, "keys", "keys")).verify()
    assert served.asked == [("AKIAKEYS", "GetCallerIdentity")]


def test_what_is_refused_names_scheme_and_principal_and_what_to_do(make: Any, served: Any) -> None:
    served.refusals["AKIAENV"] = "InvalidClientTokenId"
    served.refusals["AssumeRole"] = "AccessDenied"
    with pytest.raises(errors.EnvironmentProblem) as caught:
        make(using(served, "default", "role")).verify()
    keys, role = caught.value.findings
    assert "'default' (scheme default, access key AKIAENV of env)" in keys.message
    assert "not, or no longer, valid" in keys.hint
    assert "scheme assume_role, arn:aws:iam::123456789012:role/reader by 'keys'" in role.message
    assert "sts:AssumeRole to arn:aws:iam::1:user/me under its external id" in role.hint


def test_without_credentials_it_is_said_where_they_may_come_from(
    make: Any, served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(errors.EnvironmentProblem) as caught:
        make(using(served, "default", "default")).verify()
    (finding,) = caught.value.findings
    assert "no credentials" in finding.message
    assert "AWS_PROFILE" in finding.hint
    monkeypatch.setenv("AWS_PROFILE", "gone")
    with pytest.raises(errors.EnvironmentProblem) as caught:
        make(using(served, "default", "default")).verify()
    assert "gone" in caught.value.findings[0].message


def test_a_role_is_assumed_again_before_it_expires(make: Any, served: Any) -> None:
    served.lifetime_seconds = 300
    sessions = make(using(served, "role", "role"))
    first, second = key(sessions, "role"), key(sessions, "role")
    assert first != second
    assert [action for _, action in served.asked] == ["AssumeRole"] * len(served.asked)


def test_without_a_region_it_is_that_of_the_queue(make: Any, served: Any) -> None:
    text = using(served, "keys", "keys").replace('  region = "eu-west-1"\n', "")
    assert make(text + "backend.default = B").region == "eu-west-1"
