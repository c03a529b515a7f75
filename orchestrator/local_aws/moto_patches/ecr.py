"""ECR: rules that fill a private registry from public ones (pull-through cache), and the templates
of the repositories that come of it; moto lacks both.

Sources: https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_CreatePullThroughCacheRule.html
https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_CreateRepositoryCreationTemplate.html
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
    "cgr.dev": ("chainguard", True),
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
    add(ECRResponse, "create_repository_creation_template", _create_template)
    add(ECRResponse, "update_repository_creation_template", _update_template)
    add(ECRResponse, "delete_repository_creation_template", _delete_template)
    add(ECRResponse, "describe_repository_creation_templates", _describe_templates)


_Verb = Callable[[Any, dict[str, Any]], dict[str, Any]]


def _on(kind: str) -> Callable[[_Verb], Callable[[Any], Any]]:
    """A verb on what there is of a kind, by prefix, in an account and region.

    It hangs on moto's backend, so a reset forgets it with all the rest.
    """

    def decorate(verb: _Verb) -> Callable[[Any], Any]:
        @functools.wraps(verb)
        def answer(response: Any) -> Any:
            from moto.core.responses import ActionResult

            known = response.ecr_backend.__dict__.setdefault(f"local_aws_{kind}", {})
            return ActionResult(verb(response, known))

        return answer

    return decorate


@_on("rules")
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


@_on("rules")
def _describe(response: Any, rules: dict[str, Any]) -> dict[str, Any]:
    wanted = response._get_param("ecrRepositoryPrefixes") or list(rules)
    return {"pullThroughCacheRules": [_find(rules, prefix) for prefix in wanted]}


@_on("rules")
def _update(response: Any, rules: dict[str, Any]) -> dict[str, Any]:
    rule = _find(rules, response._get_param("ecrRepositoryPrefix"))
    for name in ("credentialArn", "customRoleArn"):
        if response._get_param(name):
            rule[name] = response._get_param(name)
    _check_secret(rule.get("credentialArn"))
    rule["updatedAt"] = _now()
    return rule


@_on("rules")
def _delete(response: Any, rules: dict[str, Any]) -> dict[str, Any]:
    rule = _find(rules, response._get_param("ecrRepositoryPrefix"))
    del rules[rule["ecrRepositoryPrefix"]]
    return rule


@_on("rules")
def _validate(response: Any, rules: dict[str, Any]) -> dict[str, Any]:
    """No registry is asked: a rule that is there counts as good."""
    return {**_find(rules, response._get_param("ecrRepositoryPrefix")), "isValid": True}


_TEMPLATE = (
    "prefix",
    "description",
    "encryptionConfiguration",
    "resourceTags",
    "imageTagMutability",
    "imageTagMutabilityExclusionFilters",
    "repositoryPolicy",
    "lifecyclePolicy",
    "appliedFor",
    "customRoleArn",
)


@_on("templates")
def _create_template(response: Any, templates: dict[str, Any]) -> dict[str, Any]:
    prefix: str = response._get_param("prefix")
    if not _PREFIX.fullmatch(prefix):
        raise _error("InvalidParameterException", f"prefix {prefix!r} is not valid")
    if prefix in templates:
        raise _error("TemplateAlreadyExistsException", f"Template '{prefix}' already exists")
    templates[prefix] = {
        "imageTagMutability": "MUTABLE",
        "createdAt": _now(),
        **_template(response),
    }
    return _answered(response, templates[prefix])


@_on("templates")
def _update_template(response: Any, templates: dict[str, Any]) -> dict[str, Any]:
    template = _find_template(response, templates)
    template.update(_template(response))
    return _answered(response, template)


@_on("templates")
def _delete_template(response: Any, templates: dict[str, Any]) -> dict[str, Any]:
    template = _find_template(response, templates)
    del templates[template["prefix"]]
    return _answered(response, template)


@_on("templates")
def _describe_templates(response: Any, templates: dict[str, Any]) -> dict[str, Any]:
    wanted = response._get_param("prefixes") or list(templates)
    found = [templates[prefix] for prefix in wanted if prefix in templates]
    return {"registryId": response.current_account, "repositoryCreationTemplates": found}


def _template(response: Any) -> dict[str, Any]:
    given = {name: response._get_param(name) for name in _TEMPLATE}
    given = {name: value for name, value in given.items() if value is not None}
    key = given.get("encryptionConfiguration", {}).get("encryptionType") == "KMS"
    if (key or given.get("resourceTags")) and "customRoleArn" not in given:
        raise _error(
            "InvalidParameterException",
            "customRoleArn is required where a template has resource tags or a KMS key",
        )
    return {**given, "updatedAt": _now()}


def _find_template(response: Any, templates: dict[str, Any]) -> dict[str, Any]:
    prefix = response._get_param("prefix")
    if prefix not in templates:
        raise _error("TemplateNotFoundException", f"Template '{prefix}' does not exist")
    template: dict[str, Any] = templates[prefix]
    return template


def _answered(response: Any, template: dict[str, Any]) -> dict[str, Any]:
    return {"registryId": response.current_account, "repositoryCreationTemplate": template}


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
