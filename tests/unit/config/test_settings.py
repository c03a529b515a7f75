"""Cromwell's keys become settings; what is wrong is told at once, with its place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator import errors
from orchestrator.config import auths, databases, hocon, providers, settings
from tests.unit.config.test_templates import ARN, contract

USER_FILE = """
include required(classpath("application"))

my-bucket = my-data

aws {
  application-name = "cromwell"
  auths = [
    { name = "default", scheme = "default" }
    { name = "keys", scheme = "custom_keys", access-key = "AKIAEXAMPLE", secret-key = "sesame" }
    { name = "role", scheme = "assume_role", base-auth = "keys", role-arn = "arn:aws:iam::1:role/r",
      external-id = 1234 }
  ]
  region = "us-east-1"
}

engine { filesystems { s3 { auth = "default" } } }

backend {
  default = "AWSBATCH"
  providers {
    AWSBATCH {
      actor-factory = "cromwell.backend.impl.aws.AwsBatchBackendLifecycleActorFactory"
      config {
        numSubmitAttempts = 6
        numCreateDefinitionAttempts = 6
        root = "s3://"${my-bucket}"/cromwell-execution/"
        auth = "default"
        concurrent-job-limit = 1000
        slow-job-warning-time = 24 hours
        default-runtime-attributes {
          queueArn = "%s"
          scriptBucketName = ${my-bucket}
          memory = 4 GB
        }
        filesystems { s3 { auth = "role", caching { duplication-strategy = "copy" } } }
      }
    }
  }
}

database {
  profile = "slick.jdbc.PostgresProfile$"
  db {
    driver = "org.postgresql.Driver"
    url = "jdbc:postgresql://db.example:5433/cromwell?sslmode=require&reWriteBatchedInserts=true"
    user = "cromwell"
    password = "sesame"
    connectionTimeout = 5000
  }
}

call-caching { enabled = false }
system { max-concurrent-workflows = 100, new-workflow-poll-rate = 1 }
"""


def load(tmp_path: Path, text: str) -> settings.Settings:
    path = tmp_path / "my.conf"
    path.write_text(text)
    return settings.load(path)


def defects(tmp_path: Path, text: str) -> dict[str, errors.Finding]:
    with pytest.raises(errors.InvalidConfig) as caught:
        load(tmp_path, text)
    assert caught.value.exit_code == 3
    return {finding.message.partition(": ")[0]: finding for finding in caught.value.findings}


def test_without_a_file_it_is_this_machine_and_sqlite_here() -> None:
    loaded = settings.load(None)
    assert isinstance(loaded.provider, providers.LocalProvider)
    assert loaded.provider.config.root == "cromwell-executions"
    assert loaded.database == databases.Sqlite(path=Path(".orchestrator/orchestrator.db"))
    assert loaded.warnings == ()


def test_a_configuration_of_cromwells_is_read(tmp_path: Path) -> None:
    loaded = load(tmp_path, USER_FILE % ARN)
    provider = loaded.provider
    assert isinstance(provider, providers.AwsBatchProvider)
    assert provider.config.root == "s3://my-data/cromwell-execution"
    assert provider.config.concurrent_job_limit == 1000
    assert provider.config.filesystems.s3.auth == "role"
    assert provider.config.default_runtime_attributes == {
        "queueArn": ARN, "scriptBucketName": "my-data", "memory": "4 GB"
    }  # fmt: skip
    assert isinstance(loaded.database, databases.Postgres)
    assert (loaded.database.host, loaded.database.port) == ("db.example", 5433)
    assert (loaded.database.name, loaded.database.user) == ("cromwell", "cromwell")
    assert loaded.database.parameters == {"sslmode": "require"}
    assert loaded.database.password is not None
    assert loaded.database.password.get_secret_value() == "sesame"
    role = loaded.aws.auth("role")
    assert isinstance(role, auths.AssumeRole)
    assert (role.base_auth, role.external_id) == ("keys", "1234")
    assert loaded.system.max_concurrent_workflows == 100


def test_keys_without_effect_are_warnings_with_their_place(tmp_path: Path) -> None:
    warnings = {
        warning.message.partition(": ")[0]: warning
        for warning in load(tmp_path, USER_FILE % ARN).warnings
    }
    provider = "backend.providers.AWSBATCH.config"
    assert set(warnings) == {
        "system.new-workflow-poll-rate",
        "database.db.connectionTimeout",
        "database.db.url",
        f"{provider}.filesystems.s3.caching",
    }
    place = warnings["system.new-workflow-poll-rate"].place
    assert place is not None
    assert (
        place.line
        == USER_FILE.splitlines().index(
            "system { max-concurrent-workflows = 100, new-workflow-poll-rate = 1 }"
        )
        + 1
    )


def test_secrets_are_never_shown(tmp_path: Path) -> None:
    loaded = load(tmp_path, USER_FILE % ARN)
    assert "sesame" not in repr(loaded)
    assert "sesame" not in str(loaded)
    assert "sesame" not in loaded.model_dump_json()
    bad = USER_FILE.replace('secret-key = "sesame"', 'secret-key = { "sesame" = 1 }')
    with pytest.raises(errors.InvalidConfig) as caught:
        load(tmp_path, bad % ARN)
    assert "sesame" not in str(caught.value)
    assert "aws.auths[1].secret-key" in str(caught.value)


def test_near_misses_are_asked_about_and_own_values_are_not(tmp_path: Path) -> None:
    loaded = load(
        tmp_path,
        "my-own = 1\nsystme { x = 1 }\nsystem.delete-workflow-file = true\n"
        "backend.providers.Local.config.zzz = 1",
    )
    assert [(str(w.message), w.hint) for w in loaded.warnings] == [
        ("systme: unknown key", "did you mean system?"),
        ("system.delete-workflow-file: unknown key", "did you mean delete-workflow-files?"),
        ("backend.providers.Local.config.zzz: unknown key; it has no effect", ""),
    ]


def test_all_defects_are_told_at_once_with_their_places(tmp_path: Path) -> None:
    text = USER_FILE.replace('scheme = "custom_keys"', 'scheme = "custom"')
    text = text.replace('root = "s3://"${my-bucket}"/cromwell-execution/"', "root = /data")
    text = text.replace("concurrent-job-limit = 1000", "concurrent-job-limit = many")
    text = text.replace("max-concurrent-workflows = 100", "max-concurrent-workflows = 0")
    text = text.replace("cromwell?sslmode", "?sslmode")
    found = defects(tmp_path, text % ARN)
    provider = "backend.providers.AWSBATCH.config"
    assert {
        "aws.auths[1]", f"{provider}.root", f"{provider}.concurrent-job-limit",
        "system.max-concurrent-workflows", "database.db.url",
    } == set(found)  # fmt: skip
    for finding in found.values():
        assert finding.place is not None
        assert finding.place.file == str(tmp_path / "my.conf")
        assert finding.place.line is not None
    line = next(n for n, s in enumerate(text.splitlines(), 1) if "root = /data" in s)
    root = found[f"{provider}.root"].place
    assert root is not None
    assert root.line == line


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (('engine { filesystems { s3 { auth = "default" } } }',
          'engine { filesystems { s3 { auth = "nobody" } } }'), "engine.filesystems.s3.auth"),
        (('base-auth = "keys"', 'base-auth = "role"'), "aws"),
        (('base-auth = "keys"', 'base-auth = "nobody"'), "aws"),
        (('name = "keys"', 'name = "default"'), "aws"),
        (('default = "AWSBATCH"', 'default = "AWS"'), "backend.default"),
        (("AwsBatchBackendLifecycleActorFactory", "PapiBackendLifecycleActorFactory"),
         "backend.providers.AWSBATCH.actor-factory"),
        ((ARN, "my-queue"),
         "backend.providers.AWSBATCH.config.default-runtime-attributes.queueArn"),
        (("postgresql://", "mysql://"), "database.db.url"),
        (('user = "cromwell"', ""), "database.db.user"),
        (("numSubmitAttempts = 6", "numSubmitAttempts = six"),
         "backend.providers.AWSBATCH.config.numSubmitAttempts"),
        (("enabled = false", "enabled = perhaps"), "call-caching.enabled"),
        (('region = "us-east-1"', 'endpoint-url = "127.0.0.1:5000"'), "aws.endpoint-url"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named(tmp_path: Path, change: tuple[str, str], key: str) -> None:
    text = USER_FILE % ARN
    assert change[0] in text
    assert set(defects(tmp_path, text.replace(*change, 1))) == {key}


def test_what_cannot_be_used_matters_only_where_it_is_used(tmp_path: Path) -> None:
    grid = """
        backend.providers.SGE {
          actor-factory = "cromwell.backend.impl.sfs.config.ConfigBackendLifecycleActorFactory"
          config { submit = "qsub x", job-id-regex = "(\\\\d+)" }
        }
    """
    loaded = load(tmp_path, grid)
    assert isinstance(loaded.provider, providers.LocalProvider)
    assert any("grid engine" in warning.message for warning in loaded.warnings)
    assert set(defects(tmp_path, grid + "backend.default = SGE")) == {
        "backend.providers.SGE.actor-factory"
    }


def test_the_local_provider_has_keys_of_its_own(tmp_path: Path) -> None:
    loaded = load(
        tmp_path,
        "backend.providers.Local.config { cores = 1.5, memory = 3 GB, containers = podman, "
        'filesystems.local.localization = ["copy"] }',
    )
    provider = loaded.provider
    assert isinstance(provider, providers.LocalProvider)
    config = provider.config
    assert (config.cores, config.memory, config.containers) == (1.5, 3072, "podman")
    assert config.filesystems.local.localization == ("copy",)
    assert set(
        defects(tmp_path, "backend.providers.Local.config { memory = lots, containers = lxc }")
    ) == {
        "backend.providers.Local.config.memory",
        "backend.providers.Local.config.containers",
    }


def test_the_contract_stands_in_the_file_or_is_named(tmp_path: Path) -> None:
    text = contract().model_dump_json()
    for key in (f"deployment = {text}", f"deployment-json = {json.dumps(text)}"):
        loaded = load(tmp_path, f"orchestrator {{ {key} }}")
        assert loaded.orchestrator.deployment == contract()
        assert loaded.orchestrator.environment == "dev"
    assert load(tmp_path, "orchestrator.environment = x").orchestrator.environment == "x"
    other = contract().model_dump(mode="json") | {"version": 99}
    found = defects(tmp_path, f"orchestrator.deployment = {json.dumps(other)}")
    assert "version 99" in found["orchestrator.deployment"].message
    assert set(
        defects(tmp_path, f"orchestrator {{ environment = prod, deployment = {text} }}")
    ) == {"orchestrator.environment"}


def test_databases_of_a_file(tmp_path: Path) -> None:
    loaded = load(tmp_path, 'database.db.url = "jdbc:sqlite:/data/x.db"')
    assert loaded.database == databases.Sqlite(path=Path("/data/x.db"))
    loaded = load(tmp_path, 'database.db.url = "jdbc:hsqldb:mem:x"')
    assert loaded.database == databases.Sqlite()
    assert "SQLite" in loaded.warnings[0].hint
    url = 'database.db.url = "jdbc:postgresql://h/n?user=u&password=sesame"'
    database = load(tmp_path, url).database
    assert isinstance(database, databases.Postgres)
    assert (database.user, database.parameters) == ("u", {})
    assert "sesame" not in repr(database)
    found = defects(tmp_path, 'database.db.url = "jdbc:postgresql://u:sesame@h/n"')
    assert "sesame" not in str(found)


def test_cromwell_s_reading_of_wdl_can_be_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "c.conf"
    path.write_text(
        """
        include required(classpath("application"))
        system.input-read-limits { int = 5, lines = 1000 }
        engine.filesystems.http { largest-file = 1000, private-addresses = false }
        orchestrator.wdl { size-units = binary, read-string = specification }
        """
    )
    loaded = settings.load(path)
    assert loaded.warnings == ()
    assert loaded.system.input_read_limits["int"] == 5
    assert loaded.system.input_read_limits["bool"] == 7
    assert loaded.engine.filesystems.http.largest_file == 1000
    assert loaded.orchestrator.wdl.size_units == "binary"
    assert loaded.orchestrator.wdl.read_string == "specification"


def test_imports_come_from_allowed_urls(tmp_path: Path) -> None:
    assert load(tmp_path, "").orchestrator.imports.allow == ("https://raw.githubusercontent.com",)
    chosen = load(
        tmp_path,
        'orchestrator.imports { allow = ["http://wdl.example:8080/x"], private-addresses = true }',
    ).orchestrator.imports
    assert chosen.allow == ("http://wdl.example:8080/x",)
    assert chosen.private_addresses
    assert load(tmp_path, "orchestrator.imports.allow = []").orchestrator.imports.allow == ()
    for wrong in ("example.org", "file:///wdl", "https://me:sesame@example.org"):
        found = defects(tmp_path, f'orchestrator.imports.allow = ["{wrong}"]')
        assert "https://example.org/wdl" in str(found["orchestrator.imports.allow"])
        assert "sesame" not in str(found)


def test_default_attributes_and_options_are_checked_with_the_rest() -> None:
    text = """
backend.providers.Local.config.default-runtime-attributes { cpu = 0, memroy = "2 GB" }
workflow-options.default { memory_retry_multiplier = 0, hog_group = x }
"""
    with pytest.raises(errors.InvalidConfig) as caught:
        settings.parse(hocon.read(text, over_reference=True), None)
    said = [finding.message for finding in caught.value.findings]
    assert len(said) == 2
    assert any("default-runtime-attributes.cpu" in message for message in said)
    assert any("memory_retry_multiplier" in message for message in said)
    good = text.replace("cpu = 0", "cpu = 1").replace("multiplier = 0", "multiplier = 2")
    warnings = settings.parse(hocon.read(good, over_reference=True), None).warnings
    assert {w for w in ("memroy", "hog_group") if any(w in f.message for f in warnings)} == {
        "memroy",
        "hog_group",
    }


def test_retries_of_the_engine_are_settings() -> None:
    text = "orchestrator.retries { lost = 9, transient = 0 }\nsystem.delete-workflow-files = true"
    read = settings.parse(hocon.read(text, over_reference=True), None)
    assert (read.orchestrator.retries.lost, read.orchestrator.retries.transient) == (9, 0)
    assert read.orchestrator.retries.spot == 2
    assert read.system.delete_workflow_files
    assert not read.warnings
