"""Registries: other people's images through ECR, by pull-through cache rules.

The two other ways need no resource: a job's execution role reads its registry's secret
(constructs/roles/jobs.py), and hosts log in at boot (assets/worker/registry.sh). The orchestrator
keeps the login to Docker Hub (orchestrator/backends/aws_batch/registries.py); ECR wants to see its
secret when a rule is made, so that one is made here, without the login in it.
"""

from __future__ import annotations

import json

from aws_cdk import RemovalPolicy
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from stacks import naming
from stacks.constructs.environment_stack import EnvironmentStack
from stacks.settings import Settings

# Host of a registry -> ECR's name of it, and the address that ECR asks where it is another one.
# Source: ECR API reference, CreatePullThroughCacheRule.
_UPSTREAM = {
    "docker.io": ("docker-hub", "registry-1.docker.io"),
    "ghcr.io": ("github-container-registry", "ghcr.io"),
    "registry.gitlab.com": ("gitlab-container-registry", "registry.gitlab.com"),
    "cgr.dev": ("chainguard", "cgr.dev"),
    "public.ecr.aws": ("ecr-public", "public.ecr.aws"),
    "quay.io": ("quay", "quay.io"),
    "registry.k8s.io": ("k8s", "registry.k8s.io"),
}
_AZURE = "azure-container-registry"
_UNTAGGED_DAYS = 14


class RegistriesStack(EnvironmentStack):
    """A rule for each registry, and what the repositories are like that ECR makes by it."""

    def __init__(self, scope: Construct, *, settings: Settings) -> None:
        super().__init__(
            scope, "registries", settings=settings, description="pull-through caches of registries"
        )
        for rule in settings.registries.pull_through:
            self._cache(settings.environment, rule.registry, rule.prefix, rule.secret)
        if settings.registries.docker_hub_way == "pull_through":
            secret = _login_to_docker_hub(self, settings.environment)
            prefix = naming.docker_hub_prefix(settings.environment)
            self._cache(settings.environment, "docker.io", prefix, secret.ref)

    def _cache(self, environment: str, registry: str, prefix: str, secret: str | None) -> None:
        name, url = _UPSTREAM.get(registry, (_AZURE, registry))
        cache = ecr.CfnPullThroughCacheRule(
            self,
            f"Cache-{prefix}",
            ecr_repository_prefix=prefix,
            upstream_registry=name,
            upstream_registry_url=url,
            credential_arn=secret,
        )
        template = ecr.CfnRepositoryCreationTemplate(
            self,
            f"Repositories-{prefix}",
            applied_for=["PULL_THROUGH_CACHE"],
            prefix=prefix,
            description=f"{environment}: images of {registry}",
            image_tag_mutability="MUTABLE",  # upstream's tags move
            lifecycle_policy=json.dumps(_forget_untagged(), sort_keys=True),
        )
        cache.node.add_dependency(template)


def is_wanted(settings: Settings) -> bool:
    """Whether anything is pulled through ECR."""
    registries = settings.registries
    return bool(registries.pull_through) or registries.docker_hub_way == "pull_through"


def _login_to_docker_hub(scope: Construct, environment: str) -> secretsmanager.CfnSecret:
    """With a password that nobody has, until the orchestrator writes the one of its configuration.

    Encrypted with the account's own key: ECR reads it as a service, which another key's policy
    would have to allow (ECR User Guide, "Creating a pull through cache rule").
    """
    secret = secretsmanager.CfnSecret(
        scope,
        "DockerHub",
        name=naming.docker_hub_secret(environment, "pull_through"),
        description="Docker Hub, as dockerhub of the orchestrator's configuration says",
        generate_secret_string=secretsmanager.CfnSecret.GenerateSecretStringProperty(
            secret_string_template=json.dumps({"username": "nobody"}),
            generate_string_key="accessToken",
            exclude_punctuation=True,
        ),
    )
    secret.apply_removal_policy(RemovalPolicy.DESTROY)
    return secret


def _forget_untagged() -> dict[str, object]:
    """A tag that moved leaves an image behind; one that is still asked for comes again."""
    return {
        "rules": [
            {
                "rulePriority": 1,
                "description": f"untagged for {_UNTAGGED_DAYS} days",
                "selection": {
                    "tagStatus": "untagged",
                    "countType": "sinceImagePushed",
                    "countUnit": "days",
                    "countNumber": _UNTAGGED_DAYS,
                },
                "action": {"type": "expire"},
            }
        ]
    }
