"""What is rendered from a contract is read back as the same facts, whatever stands in them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import config_templates
from config_templates.render import hocon as quoted
from config_templates.render import render
from orchestrator.config import auths, databases, hocon, providers, settings
from orchestrator.deployment import Database, Deployment, Queue

ARN = "arn:aws:batch:eu-west-1:012345678901:job-queue/spot"


def contract(environment: str = "dev") -> Deployment:
    return Deployment(
        environment=environment,
        account="012345678901",
        region="eu-west-1",
        bucket="dev-root",
        root="s3://dev-root/runs",
        scratch_root="s3://dev-root/scratch",
        queues=(
            Queue(name="spot", arn=ARN, kind="spot", max_vcpus=96, max_memory_mib=786432),
            Queue(name="od", arn=ARN + "2", kind="on-demand", max_vcpus=8, max_memory_mib=1024),
        ),
        default_queue_arn=ARN,
        job_role_arn="arn:aws:iam::012345678901:role/job",
        execution_role_arn="arn:aws:iam::012345678901:role/execution",
        log_group="/orchestrator/dev/jobs",
        job_definition_prefix="dev-",
        tools_path="/opt/tools",
        scratch_path="/scratch",
        database=Database(
            host="db.example", port=5433, name="workflows", secret_arn="arn:aws:secret"
        ),
    )


@pytest.fixture(autouse=True)
def _no_aws_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY", raising=False)


def test_a_rendered_environment_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "dev.conf"
    path.write_text(render(contract()))
    loaded = settings.load(path)
    assert loaded.warnings == ()
    assert loaded.orchestrator.deployment == contract()
    assert loaded.orchestrator.environment == "dev"
    assert loaded.aws.region == "eu-west-1"
    assert loaded.aws.endpoint_url is None
    assert loaded.aws.auth("default").scheme == "default"
    provider = loaded.provider
    assert isinstance(provider, providers.AwsBatchProvider)
    assert provider.config.root == "s3://dev-root/runs"
    assert provider.config.default_runtime_attributes["queueArn"] == ARN
    assert loaded.database == databases.Postgres(
        host="db.example", port=5433, name="workflows", secret_arn="arn:aws:secret"
    )


def test_an_aws_elsewhere_has_an_endpoint_and_keys_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "local.conf"
    path.write_text(
        render(contract(), endpoint_url="http://127.0.0.1:5000", static_credentials=True)
    )
    loaded = settings.load(path)
    assert loaded.aws.endpoint_url == "http://127.0.0.1:5000"
    auth = loaded.aws.auth("default")
    assert isinstance(auth, auths.CustomKeys)
    assert auth.access_key == "local"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAOTHER")
    again = settings.load(path).aws.auth("default")
    assert isinstance(again, auths.CustomKeys)
    assert again.access_key == "AKIAOTHER"


@pytest.mark.parametrize(
    "value", ['a"b', "back\\slash", "${x}", "two\nlines", "#no // comment", "é ", "7 days", "0123"]
)
def test_quoting_survives_the_reader(value: str) -> None:
    assert hocon.loads(f"a = {quoted(value)}") == {"a": value}
    assert hocon.loads(f"a = {quoted({'k': [value]}, 4)}") == {"a": {"k": [value]}}


def test_the_local_template_is_what_holds_without_a_configuration() -> None:
    path = Path(config_templates.__file__).with_name("local.conf")
    loaded, defaults = settings.load(path), settings.load(None)
    assert loaded.warnings == ()
    assert loaded.backend == defaults.backend
    assert loaded.database == defaults.database


def test_every_key_the_local_template_offers_is_known(tmp_path: Path) -> None:
    template = Path(config_templates.__file__).with_name("local.conf").read_text()
    path = tmp_path / "all.conf"
    path.write_text(re.sub(r"^(\s*)# (\S+ = \S.*)$", r"\1\2", template, flags=re.MULTILINE))
    loaded = settings.load(path)
    assert loaded.warnings == ()
    provider = loaded.provider
    assert isinstance(provider, providers.LocalProvider)
    assert (provider.config.cores, provider.config.memory) == (4, 16384)
    assert provider.config.concurrent_job_limit == 8


def test_a_login_by_iam_is_rendered_and_read_back(tmp_path: Path) -> None:
    database = Database(
        host="db.example", port=5433, name="workflows", secret_arn="arn:aws:secret", login="iam"
    )
    path = tmp_path / "dev.conf"
    path.write_text(render(contract().model_copy(update={"database": database})))
    assert settings.load(path).database == databases.Postgres(
        host="db.example", port=5433, name="workflows", user="orchestrator", iam=True
    )


def test_the_template_for_users_of_cromwell_loads_as_it_stands_and_with_all_that_it_offers(
    tmp_path: Path,
) -> None:
    template = Path(config_templates.__file__).with_name("from-cromwell.conf")
    loaded = settings.load(template)
    assert loaded.warnings == ()
    assert loaded.orchestrator.environment == "dev"
    text = template.read_text()
    offered = re.sub(r"^(\s*)# ((?:[a-zA-Z.-]+ (?:=|\{)|[{}]|  ).*)$", r"\1\2", text, flags=re.M)
    offered = offered.replace("#     orchestrator", "# orchestrator")
    path = tmp_path / "all.conf"
    path.write_text(re.sub(r"^    orchestrator .*$", "", offered, flags=re.M))
    loaded = settings.load(path)
    assert loaded.warnings == ()
    assert isinstance(loaded.provider, providers.AwsBatchProvider)
    assert loaded.provider.config.shared_mounts == ("/mnt/efs",)
    assert loaded.provider.config.concurrent_job_limit == 1000
    assert isinstance(loaded.aws.auth("lab"), auths.AssumeRole)
    assert isinstance(loaded.database, databases.Postgres)
