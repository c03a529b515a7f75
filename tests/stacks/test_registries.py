from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from aws_cdk.assertions import Template

from stacks import registries
from stacks.validators import registries as rules

SECRET = "arn:aws:secretsmanager:us-east-1:111122223333:secret:ecr-pullthroughcache/hub-abcdef"
THREE = (
    f'[{{registry = "docker.io", prefix = "hub", secret = "{SECRET}"}}, '
    '{registry = "quay.io", prefix = "quay"}, '
    f'{{registry = "ours.azurecr.io", prefix = "ours/images", secret = "{SECRET}"}}]'
)


@pytest.fixture(scope="module")
def outdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("registries")


@pytest.fixture(scope="module")
def made(synthesise: Callable[..., Mapping[str, Template]], outdir: Path) -> Mapping[str, Template]:
    return synthesise(outdir, **{"set.registries.pull_through": THREE})


def test_each_registry_has_a_rule_with_its_credentials(made: Mapping[str, Template]) -> None:
    found = made["registries"].find_resources("AWS::ECR::PullThroughCacheRule").values()
    rules = {
        rule["Properties"]["EcrRepositoryPrefix"]: (
            rule["Properties"]["UpstreamRegistry"],
            rule["Properties"]["UpstreamRegistryUrl"],
            rule["Properties"].get("CredentialArn"),
        )
        for rule in found
    }
    assert rules == {
        "hub": ("docker-hub", "registry-1.docker.io", SECRET),
        "quay": ("quay", "quay.io", None),
        "ours/images": ("azure-container-registry", "ours.azurecr.io", SECRET),
    }


def test_repositories_that_are_made_forget_what_no_tag_names(
    made: Mapping[str, Template],
) -> None:
    templates = made["registries"].find_resources("AWS::ECR::RepositoryCreationTemplate")
    assert {t["Properties"]["Prefix"] for t in templates.values()} == {"hub", "quay", "ours/images"}
    for template in templates.values():
        assert template["Properties"]["AppliedFor"] == ["PULL_THROUGH_CACHE"]
        (rule,) = json.loads(template["Properties"]["LifecyclePolicy"])["rules"]
        assert rule["selection"]["tagStatus"] == "untagged"


def test_caches_are_there_before_any_job(made: Mapping[str, Template], outdir: Path) -> None:
    """A job's image that ECR does not know yet would fail, and no retry would help."""
    assert "registries" in made
    manifest = json.loads((outdir / "manifest.json").read_text())
    assert "dev-registries" in manifest["artifacts"]["dev-compute"]["dependencies"]


@pytest.fixture(scope="module")
def cached(synthesise: Callable[..., Mapping[str, Template]]) -> Mapping[str, Template]:
    return synthesise(**{"set.registries.docker_hub": "pull_through"})


def test_docker_hub_has_a_cache_whose_secret_the_orchestrator_fills(
    cached: Mapping[str, Template],
) -> None:
    template = cached["registries"]
    ((secret_id, secret),) = template.find_resources("AWS::SecretsManager::Secret").items()
    assert secret["Properties"]["Name"] == "ecr-pullthroughcache/dev-hub"
    assert "SecretString" not in secret["Properties"]
    generated = secret["Properties"]["GenerateSecretString"]
    assert json.loads(generated["SecretStringTemplate"]) == {"username": "nobody"}
    assert generated["GenerateStringKey"] == "accessToken"
    (rule,) = template.find_resources("AWS::ECR::PullThroughCacheRule").values()
    assert rule["Properties"] == {
        "EcrRepositoryPrefix": "dev-hub",
        "UpstreamRegistry": "docker-hub",
        "UpstreamRegistryUrl": "registry-1.docker.io",
        "CredentialArn": {"Ref": secret_id},
    }


def test_a_secret_of_somebodys_own_comes_before_the_orchestrators(
    made: Mapping[str, Template], synthesise: Callable[..., Mapping[str, Template]]
) -> None:
    """Docker Hub is in `made` by a rule with its own secret: a second rule would be refused."""
    both = synthesise(
        **{"set.registries.pull_through": THREE, "set.registries.docker_hub": "pull_through"}
    )
    assert both["registries"].to_json() == made["registries"].to_json()
    assert not made["registries"].find_resources("AWS::SecretsManager::Secret")


def test_without_caches_there_is_no_stack(templates: Mapping[str, Template]) -> None:
    assert "registries" not in templates


def test_every_registry_that_settings_take_is_known_here() -> None:
    assert set(registries._UPSTREAM) == set(rules._UPSTREAM)
