"""Sessions from auths: whose keys a request carries, where it goes, how often it is tried."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
