"""Registries: other people's images through ECR, by pull-through cache rules.

The two other ways need no resource: a job's execution role reads its registry's secret
(constructs/roles/jobs.py), and hosts log in at boot (assets/worker/registry.sh).
"""

from __future__ import annotations

import json

from aws_cdk import aws_ecr as ecr
from constructs import Construct

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
            name, url = _UPSTREAM.get(rule.registry, (_AZURE, rule.registry))
            cache = ecr.CfnPullThroughCacheRule(
                self,
                f"Cache-{rule.prefix}",
                ecr_repository_prefix=rule.prefix,
                upstream_registry=name,
                upstream_registry_url=url,
                credential_arn=rule.secret,
            )
            template = ecr.CfnRepositoryCreationTemplate(
                self,
                f"Repositories-{rule.prefix}",
                applied_for=["PULL_THROUGH_CACHE"],
                prefix=rule.prefix,
                description=f"{settings.environment}: images of {rule.registry}",
                image_tag_mutability="MUTABLE",  # upstream's tags move
                lifecycle_policy=json.dumps(_forget_untagged(), sort_keys=True),
            )
            cache.node.add_dependency(template)


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
