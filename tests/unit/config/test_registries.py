"""`dockerhub` and `docker-mirror`: what becomes of them; no token is shown."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator import errors
from orchestrator.config import settings
from orchestrator.config.providers import AwsBatchProvider
from orchestrator.deployment import Deployment, DockerHub, Registries
from tests.unit.backends.aws_batch.test_backend import DEPLOYMENT
from tests.unit.config.test_cromwell_files import DOCS, written
from tests.unit.config.test_keys import PROVIDER, run

SESAME = base64.b64encode(b"ali:open:sesame").decode()
ECR = "123456789012.dkr.ecr.us-east-1.amazonaws.com"
OF_JOBS = DockerHub(way="job_secret", secret="orchestrator/test/docker-hub")


def on(registries: Registries, keys: str) -> str:
    """A configuration on an environment with these registries, with keys of the provider."""
    contract: Deployment = DEPLOYMENT.model_copy(update={"registries": registries})
    arn = contract.default_queue_arn
    text = DOCS.replace("config {", "config {\n" + keys, 1)
    assert text != DOCS
    lines = [f"orchestrator.deployment = {contract.model_dump_json()}"]
    lines.append(f'backend.providers.AWSBATCH.config.default-runtime-attributes.queueArn = "{arn}"')
    return "\n".join([text, *lines, ""])


def provider(path: Path) -> AwsBatchProvider:
    found = settings.load(path).provider
    assert isinstance(found, AwsBatchProvider)
    return found


def keys(path: Path) -> dict[str, Any]:
    code, out = run("config", "check", str(path), "--json")
    assert code == 0
    found = {key["key"]: key for key in json.loads(out)["keys"]}
    return {k: v for k, v in found.items() if ".config.docker" in k}


@pytest.mark.parametrize(
    ("block", "login"),
    [
        (f'token = "{SESAME}"', ("ali", "open:sesame")),
        (f'account = ali, token = "{SESAME}"', ("ali", "open:sesame")),
        (f'token = """{SESAME[:8]}\n{SESAME[8:]}\n"""', ("ali", "open:sesame")),
        ('account = ali, token = "dckr_pat_x-1"', ("ali", "dckr_pat_x-1")),
        ('account = ali, token = "c2VzYW1l"', ("ali", "c2VzYW1l")),
        ('token = "c2VzYW1l"', None),  # nobody's
        (f'token = "{base64.b64encode(b":x").decode()}"', None),
        ('account = "", token = ""', None),
        ("account = ali", None),
    ],
)
def test_a_token_is_user_and_password_or_that_of_the_account(
    tmp_path: Path, block: str, login: tuple[str, str] | None
) -> None:
    path = written(tmp_path, on(Registries(docker_hub=OF_JOBS), f"dockerhub {{ {block} }}"))
    assert provider(path).config.dockerhub.login() == login
    uses = {key["use"] for key in keys(path).values()}
    assert uses == ({"used"} if login else {"no effect"})


def test_every_key_of_the_login_and_the_mirror_is_used(tmp_path: Path) -> None:
    login = (
        f'dockerhub {{ account = ali, token = "{SESAME}", auth = default, key-name = "alias/x" }}'
    )
    path = written(tmp_path, on(Registries(docker_hub=OF_JOBS), login))
    assert {key.rpartition(".")[2] for key, v in keys(path).items() if v["use"] == "used"} == {
        *("account", "token", "auth", "key-name")
    }
    mirror = f'docker-mirror {{ dockerhub {{ enabled = true, address = "{ECR}/docker-hub/" }} }}'
    path = written(tmp_path, on(Registries(), mirror))
    assert {v["use"] for v in keys(path).values()} == {"used"}
    assert provider(path).config.docker_mirror.docker_hub == f"{ECR}/docker-hub"
    path = written(tmp_path, on(Registries(), mirror.replace("true", "false")))
    assert provider(path).config.docker_mirror.docker_hub == ""


@pytest.mark.parametrize(
    ("registries", "extra", "why"),
    [
        (Registries(), "", "no way to use it"),
        (Registries(rewrites={"docker.io": f"{ECR}/hub"}), "", "a login of its own"),
        (Registries(secrets={"docker.io": "arn:s"}), "", "a login of its own"),
        (
            Registries(docker_hub=OF_JOBS),
            'docker-mirror.dockerhub.address = "m.lab.org"\n',
            "docker-mirror says",
        ),
    ],
)
def test_a_login_that_nothing_is_pulled_with_is_said(
    tmp_path: Path, registries: Registries, extra: str, why: str
) -> None:
    path = written(tmp_path, on(registries, f'{extra}dockerhub.token = "{SESAME}"'))
    told = keys(path)[f"{PROVIDER}.dockerhub.token"]
    assert told["use"] == "no effect"
    assert why in told["why"]
    assert any(why in warning.message for warning in settings.load(path).warnings)


def test_a_login_of_one_and_an_account_of_another_is_said(tmp_path: Path) -> None:
    block = f'dockerhub {{ account = bob, token = "{SESAME}" }}'
    found = settings.load(written(tmp_path, on(Registries(docker_hub=OF_JOBS), block)))
    assert any("'ali', which is used" in warning.message for warning in found.warnings)


def test_a_key_that_only_jobs_could_use_is_said(tmp_path: Path) -> None:
    block = f'dockerhub {{ token = "{SESAME}", key-name = "alias/x" }}'
    for way, use in (("job_secret", "used"), ("host_login", "no effect")):
        hub = OF_JOBS.model_copy(update={"way": way})
        found = keys(written(tmp_path, on(Registries(docker_hub=hub), block)))
        assert found[f"{PROVIDER}.dockerhub.key-name"]["use"] == use
        assert found[f"{PROVIDER}.dockerhub.token"]["use"] == "used"


def test_the_token_is_shown_nowhere(tmp_path: Path) -> None:
    block = f'dockerhub {{ account = ali, token = "{SESAME}" }}'
    path = written(tmp_path, on(Registries(docker_hub=OF_JOBS), block))
    code, out = run("config", "show", "--config", str(path))
    assert code == 0
    assert f'{PROVIDER}.dockerhub.token = "***"' in out
    assert f'{PROVIDER}.dockerhub.account = "ali"' in out
    for text in (out, repr(settings.load(path)), run("config", "check", str(path), "--json")[1]):
        assert SESAME not in text
        assert "sesame" not in text


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ("docker-mirror.dockerhub.enabled = true", "enabled without address"),
        (f'docker-mirror.dockerhub.address = "https://{ECR}/x"', "expected a registry's host"),
        (f'dockerhub {{ token = "{SESAME}", auth = nobody }}', "no auth 'nobody'"),
    ],
)
def test_what_cannot_be_is_refused_at_its_place(tmp_path: Path, block: str, message: str) -> None:
    path = written(tmp_path, on(Registries(docker_hub=OF_JOBS), block))
    with pytest.raises(errors.InvalidConfig) as caught:
        settings.load(path)
    [finding] = caught.value.findings
    assert message in finding.message
    assert finding.place
    assert "sesame" not in str(caught.value)
