"""Rules of registries (ECR User Guide, "Pull through cache rules")."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from stacks import naming
from stacks.validators.finding import Finding, Rule, error, warning

if TYPE_CHECKING:
    from stacks.settings.schema import Settings

# Upstream registries that ECR can cache, and whether it asks for credentials.
_UPSTREAM = {
    "docker.io": True,
    "ghcr.io": True,
    "registry.gitlab.com": True,
    "cgr.dev": True,
    "public.ecr.aws": False,
    "quay.io": False,
    "registry.k8s.io": False,
}


def pull_through_is_possible(settings: Settings) -> Iterator[Finding]:
    """A registry that ECR knows, with the credentials that it asks for."""
    for index, rule in enumerate(settings.registries.pull_through):
        at = f"registries.pull_through.{index}"
        is_azure = rule.registry.endswith(".azurecr.io")
        if rule.registry not in _UPSTREAM and not is_azure:
            yield error(
                f"{at}.registry",
                f"ECR has no pull-through cache for {rule.registry}",
                f"{', '.join(sorted(_UPSTREAM))}, NAME.azurecr.io; "
                "others are reached by job_secrets or copied to ECR",
            )
        elif rule.secret is None and (is_azure or _UPSTREAM[rule.registry]):
            yield error(
                f"{at} {at}.secret",
                f"ECR asks for credentials to cache {rule.registry}",
                "secret = the ARN of a secret with username and accessToken",
            )
        if rule.secret and ":secret:ecr-pullthroughcache/" not in rule.secret:
            yield error(
                f"{at}.secret", "the secret's name must begin with ecr-pullthroughcache/ (ECR)"
            )


def pull_through_is_unambiguous(settings: Settings) -> Iterator[Finding]:
    """Each registry and each prefix has one rule."""
    own = naming.docker_hub_prefix(settings.environment)
    if settings.registries.docker_hub_way == "pull_through":
        for index, rule in enumerate(settings.registries.pull_through):
            if rule.prefix == own:
                yield error(
                    f"registries.pull_through.{index}.prefix registries.docker_hub",
                    f"{own!r} is the prefix of Docker Hub's cache",
                    "another prefix",
                )
    for field in ("registry", "prefix"):
        seen: set[str] = set()
        for index, rule in enumerate(settings.registries.pull_through):
            value = getattr(rule, field)
            if value in seen:
                yield error(f"registries.pull_through.{index}.{field}", f"{value!r} is there twice")
            seen.add(value)


def host_login_is_seen_by_jobs(settings: Settings) -> Iterator[Finding]:
    """Jobs share the host's network, so they hold the worker's role."""
    registries = settings.registries
    by_host = registries.docker_hub_way == "host_login"
    if registries.host_secret or by_host:
        yield warning(
            "registries.docker_hub" if by_host else "registries.host_secret",
            "every job can read it: jobs share their host's network and role",
            "job_secrets or pull_through keep credentials from jobs",
        )


def hosts_log_in_once(settings: Settings) -> Iterator[Finding]:
    """The ECS agent takes one set of logins."""
    registries = settings.registries
    if registries.host_secret and registries.docker_hub_way == "host_login":
        yield error(
            "registries.docker_hub registries.host_secret",
            "hosts log in with one secret, and these are two",
            "put Docker Hub's login into host_secret, and leave docker_hub out",
        )


RULES: tuple[Rule, ...] = (
    pull_through_is_possible,
    pull_through_is_unambiguous,
    host_login_is_seen_by_jobs,
    hosts_log_in_once,
)
