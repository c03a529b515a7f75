"""ECR: rules that fill a private registry from public ones (pull-through cache), which moto lacks.

Source: https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_CreatePullThroughCacheRule.html
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from orchestrator.local_aws.moto_patches import add

_PREFIX = re.compile(r"(?:(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*/?|ROOT)")
_SECRET = re.compile(
    r"arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:\d{12}:secret:ecr-pullthroughcache/"
)
_OTHERS = re.compile(r"[a-z0-9-]+\.azurecr\.io|\d{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com")
_UPSTREAMS = {
    "ghcr.io": ("github-container-registry", True),
    "public.ecr.aws": ("ecr-public", False),
    "quay.io": ("quay", False),
    "registry-1.docker.io": ("docker-hub", True),
    "registry.gitlab.com": ("gitlab-container-registry", True),
    "registry.k8s.io": ("k8s", False),
}
"""Host -> name, and whether ECR wants credentials for it."""


def apply() -> None:
    """Patch moto.ecr. Raises MotoChanged."""
    from moto.ecr.responses import ECRResponse

    for verb in (_create, _update, _delete, _validate):
        add(ECRResponse, f"{verb.__name__.lstrip('_')}_pull_through_cache_rule", verb)
    add(ECRResponse, "describe_pull_through_cache_rules", _describe)


def _answering(verb: Callable[[Any, dict[str, Any]], dict[str, Any]]) -> Callable[[Any], Any]:
    @functools.wraps(verb)
    def answer(response: Any) -> Any:
        from moto.core.responses import ActionResult

        return ActionResult(verb(response, _rules(response.ecr_backend)))

    return answer


def _rules(backend: Any) -> dict[str, Any]:
    """The rules of an account and region; gone with all the rest at a reset."""
    rules: dict[str, Any] = backend.__dict__.setdefault("local_aws_pull_through_rules", {})
    return rules


@_answering
def _create(response: Any, rules: dict[str, Any]) -> dict[str, Any]:
    prefix: str = response._get_param("ecrRepositoryPrefix")
    host: str = response._get_param("upstreamRegistryUrl")
    if not _PREFIX.fullmatch(prefix) or not 2 <= len(prefix) <= 30:
        raise _error("InvalidParameterException", f"ecrRepositoryPrefix {prefix!r} is not valid")
    if prefix in rules:
        raise _error(
            "PullThroughCacheRuleAlreadyExistsException",
            f"Pull through cache rule with prefix '{prefix}' already exists",
        )
    if host not in _UPSTREAMS and not _OTHERS.fullmatch(host):
        raise _error(
            "UnsupportedUpstreamRegistryException",
            f"The specified upstream registry {host} isn't supported",
        )
    name, with_credentials = _UPSTREAMS.get(host, ("azure-container-registry", True))
    if ".dkr.ecr." in host:
        name, with_credentials = "ecr", False
    credential = response._get_param("credentialArn")
    if with_credentials and not credential:
        raise _error("InvalidParameterException", f"credentialArn is required for {host}")
    _check_secret(credential)
    rule = {
        "ecrRepositoryPrefix": prefix,
        "upstreamRegistryUrl": host,
        "upstreamRegistry": response._get_param("upstreamRegistry") or name,
        "credentialArn": credential,
        "customRoleArn": response._get_param("customRoleArn"),
        "upstreamRepositoryPrefix": response._get_param("upstreamRepositoryPrefix") or "ROOT",
        "registryId": response.current_account,
        "createdAt": _now(),
        "updatedAt": _now(),
    }
    rule = {key: value for key, value in rule.items() if value is not None}
    rules[prefix] = rule
    return rule


@_answering
def _describe(response: Any, rules: dict[str, Any]) -> dict[str, Any]:
    wanted = response._get_param("ecrRepositoryPrefixes") or list(rules)
    return {"pullThroughCacheRules": [_find(rules, prefix) for prefix in wanted]}


@_answering
def _update(response: Any, rules: dict[str, Any]) -> dict[str, Any]:
    rule = _find(rules, response._get_param("ecrRepositoryPrefix"))
    for name in ("credentialArn", "customRoleArn"):
        if response._get_param(name):
            rule[name] = response._get_param(name)
    _check_secret(rule.get("credentialArn"))
    rule["updatedAt"] = _now()
    return rule


@_answering
def _delete(response: Any, rules: dict[str, Any]) -> dict[str, Any]:
    rule = _find(rules, response._get_param("ecrRepositoryPrefix"))
    del rules[rule["ecrRepositoryPrefix"]]
    return rule


@_answering
def _validate(response: Any, rules: dict[str, Any]) -> dict[str, Any]:
    """No registry is asked: a rule that is there counts as good."""
    return {**_find(rules, response._get_param("ecrRepositoryPrefix")), "isValid": True}


def _find(rules: dict[str, Any], prefix: str) -> dict[str, Any]:
    if prefix not in rules:
        raise _error(
            "PullThroughCacheRuleNotFoundException",
            f"Pull through cache rule with prefix '{prefix}' does not exist",
        )
    rule: dict[str, Any] = rules[prefix]
    return rule


def _check_secret(arn: str | None) -> None:
    if arn is not None and not _SECRET.match(arn):
        raise _error(
            "InvalidParameterException",
            "the secret's name must begin with ecr-pullthroughcache/ and it must be in the same "
            f"account and Region: {arn}",
        )


def _now() -> datetime:
    return datetime.now(UTC)


def _error(code: str, message: str) -> Exception:
    # One of moto.ecr: that is where moto looks for the service whose error it is.
    from moto.ecr.exceptions import InvalidParameterException

    error = InvalidParameterException(message)
    error.code = code
    return error
