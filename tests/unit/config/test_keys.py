"""What becomes of each key, which settings hold and where they come from, Java's properties."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from orchestrator import cli, errors
from orchestrator.cli import options
from tests.unit.config.test_cromwell_files import DOCS, GENOMICS_WORKFLOWS, written

PROVIDER = "backend.providers.AWSBATCH.config"


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli.app, list(arguments))
    return done.exit_code, done.stdout


@pytest.fixture(autouse=True)
def _properties_of_one_test() -> Any:
    yield
    options.take_properties([])


def test_each_key_is_used_or_without_effect_or_unknown(tmp_path: Path) -> None:
    text = DOCS + "akka.http.server.request-timeout = 60 s\nsystem.abort-jobs-on-terminte = true\n"
    text += 'mine = 1\naws.auths += { name = x, scheme = default, rolearn = "y" }\n'
    path = written(tmp_path, text)
    code, out = run("config", "check", str(path), "--json")
    assert code == 0
    found = json.loads(out)
    assert found["valid"]
    keys = {key["key"]: key for key in found["keys"]}
    assert keys["backend.default"]["use"] == "used"
    assert keys["aws.auths[1].role-arn"]["use"] == "used"
    assert keys[f"{PROVIDER}.numSubmitAttempts"]["use"] == "no effect"
    assert keys[f"{PROVIDER}.numSubmitAttempts"]["why"]
    assert keys["akka.http.server.request-timeout"]["use"] == "no effect"
    unknown = keys["system.abort-jobs-on-terminte"]
    assert (unknown["use"], unknown["why"]) == ("unknown", "did you mean abort-jobs-on-terminate?")
    line = text.splitlines().index("system.abort-jobs-on-terminte = true") + 1
    assert unknown["place"].startswith(f"{path}:{line}")
    assert keys["mine"]["use"] == "unknown"
    assert keys["aws.auths[2].rolearn"]["use"] == "unknown"
    assert all(key["why"] for key in found["keys"] if key["use"] == "no effect")


def test_a_file_that_cannot_be_used_is_listed_and_fails(tmp_path: Path) -> None:
    path = written(tmp_path, GENOMICS_WORKFLOWS)
    code, out = run("config", "check", str(path), "--json")
    assert code == 3
    found = json.loads(out)
    assert not found["valid"]
    assert "MySQL" in found["defects"][0]["message"]
    assert len(found["keys"]) > 20
    assert "sesame" not in out


def test_settings_are_shown_with_their_origin_and_without_secrets(tmp_path: Path) -> None:
    text = DOCS.replace(
        '{ name = "default"\n      scheme = "default" }',
        '{ name = default, scheme = custom_keys, access-key = A, secret-key = "sesame" }',
    )
    text += 'database.db { url = "jdbc:postgresql://h/n", user = me, password = "sesame" }\n'
    path = written(tmp_path, text + "webservice.port = 1\n")
    code, out = run("-Dwebservice.port=8001", "config", "show", "--config", str(path), "--json")
    assert code == 0
    assert "sesame" not in out
    found = {row["key"]: row for row in json.loads(out)}
    assert found["webservice.port"] == {
        "key": "webservice.port", "value": 8001, "origin": "-Dwebservice.port"
    }  # fmt: skip
    assert found["aws.auths[0].secret-key"]["value"] == "***"
    assert found["database.password"]["value"] == "***"
    line = text.splitlines().index('database.db { url = "jdbc:postgresql://h/n", user = me, '
                                   'password = "sesame" }') + 1  # fmt: skip
    assert found["database.user"]["origin"].startswith(f"{path}:{line}:")
    assert found["system.max-concurrent-workflows"]["origin"] == "reference"
    assert found["call-caching.enabled"]["value"] is False


def test_the_schema_names_the_keys_as_they_are_written() -> None:
    code, out = run("config", "schema")
    assert code == 0
    schema = json.loads(out)
    batch = schema["$defs"]["AwsBatchConfig"]["properties"]
    assert {"root", "numSubmitAttempts", "concurrent-job-limit", "shared-mounts"} <= set(batch)
    assert "call-caching" in schema["properties"]
    assert "required" not in schema


def test_java_s_properties_name_credentials_and_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "old")
    path = written(tmp_path, DOCS)
    code, out = run(
        f"-Dconfig.file={path}", "-Daws.accessKeyId=AKIANEW", "-Daws.secretKey=sesame",
        "config", "show",
    )  # fmt: skip
    assert code == 0
    assert 'backend.default = "AWSBATCH"' in out
    assert "sesame" not in out
    assert os.environ["AWS_ACCESS_KEY_ID"] == "AKIANEW"
    assert os.environ["AWS_SECRET_ACCESS_KEY"] == "sesame"
    assert "AWS_SESSION_TOKEN" not in os.environ
    with pytest.raises(errors.Invalid, match="go together"):
        options.take_properties(["aws.accessKeyId=A"])
