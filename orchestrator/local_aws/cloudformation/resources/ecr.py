"""AWS::ECR: image repositories (the CDK's bootstrap stack makes one), and what mirrors others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from orchestrator.local_aws.cloudformation.errors import ResourceFailed
from orchestrator.local_aws.cloudformation.resources.base import (
    Made,
    Request,
    ResourceType,
    boolean,
    lower_keys,
)


class Repository(ResourceType):
    type = "AWS::ECR::Repository"
    name_property = "RepositoryName"
    updatable = frozenset(
        {
            "EmptyOnDelete",
            "ImageScanningConfiguration",
            "ImageTagMutability",
            "LifecyclePolicy",
            "RepositoryPolicyText",
            "Tags",
        }
    )
    replacing = frozenset({"EncryptionConfiguration", "RepositoryName"})

    def create(self, request: Request) -> Made:
        arguments: dict[str, Any] = {"repositoryName": request.name("RepositoryName", lower=True)}
        for name in ("EncryptionConfiguration", "ImageScanningConfiguration", "ImageTagMutability"):
            if name in request.properties:
                arguments |= lower_keys({name: request.get(name)})
        if tags := request.tag_list():
            arguments["tags"] = tags
        ecr = request.client("ecr")
        name = ecr.create_repository(**arguments)["repository"]["repositoryName"]
        request.begun.append(name)
        self._put_policies(request, name)
        return self._made(request, name)

    def update(self, request: Request) -> Made:
        ecr, name = request.client("ecr"), request.physical_id
        if request.changed("ImageTagMutability"):
            mutability = request.get("ImageTagMutability", "MUTABLE")
            ecr.put_image_tag_mutability(repositoryName=name, imageTagMutability=mutability)
        if request.changed("ImageScanningConfiguration"):
            scanning = lower_keys(request.get("ImageScanningConfiguration", {"ScanOnPush": False}))
            ecr.put_image_scanning_configuration(
                repositoryName=name, imageScanningConfiguration=scanning
            )
        self._put_policies(request, name)
        made = self._made(request, name)
        if dropped := request.dropped_tags():
            ecr.untag_resource(resourceArn=made.attributes["Arn"], tagKeys=dropped)
        if tags := request.tag_list():
            ecr.tag_resource(resourceArn=made.attributes["Arn"], tags=tags)
        return made

    def delete(self, request: Request) -> None:
        ecr = request.client("ecr")
        try:
            ecr.delete_repository(
                repositoryName=request.physical_id,
                force=boolean(request.get("EmptyOnDelete", False)),
            )
        except ecr.exceptions.RepositoryNotFoundException:
            return

    @staticmethod
    def _put_policies(request: Request, name: str) -> None:
        ecr = request.client("ecr")
        if request.changed("LifecyclePolicy"):
            policy = request.get("LifecyclePolicy", {})
            unknown = sorted(policy.keys() - {"LifecyclePolicyText"})
            if unknown:
                raise ResourceFailed(f"the local AWS does not support LifecyclePolicy {unknown}")
            if policy:
                text = policy["LifecyclePolicyText"]
                ecr.put_lifecycle_policy(repositoryName=name, lifecyclePolicyText=text)
            else:
                ecr.delete_lifecycle_policy(repositoryName=name)
        if request.changed("RepositoryPolicyText"):
            document = request.get("RepositoryPolicyText")
            if document:
                text = document if isinstance(document, str) else json.dumps(document)
                ecr.set_repository_policy(repositoryName=name, policyText=text)
            else:
                ecr.delete_repository_policy(repositoryName=name)

    @staticmethod
    def _made(request: Request, name: str) -> Made:
        answer = request.client("ecr").describe_repositories(repositoryNames=[name])
        found = answer["repositories"][0]
        return Made(name, {"Arn": found["repositoryArn"], "RepositoryUri": found["repositoryUri"]})


class PullThroughCacheRule(ResourceType):
    type = "AWS::ECR::PullThroughCacheRule"
    name_property = "EcrRepositoryPrefix"
    replacing = frozenset(
        {
            "CredentialArn",
            "CustomRoleArn",
            "EcrRepositoryPrefix",
            "UpstreamRegistry",
            "UpstreamRegistryUrl",
            "UpstreamRepositoryPrefix",
        }
    )

    def create(self, request: Request) -> Made:
        prefix = request.get("EcrRepositoryPrefix")
        request.client("ecr").create_pull_through_cache_rule(
            **lower_keys(request.pick(*self.replacing))
        )
        return Made(prefix, {})

    def delete(self, request: Request) -> None:
        ecr = request.client("ecr")
        try:
            ecr.delete_pull_through_cache_rule(ecrRepositoryPrefix=request.physical_id)
        except ecr.exceptions.PullThroughCacheRuleNotFoundException:
            return


class RepositoryCreationTemplate(ResourceType):
    """What repositories are like that ECR makes by itself."""

    type = "AWS::ECR::RepositoryCreationTemplate"
    name_property = "Prefix"
    updatable = frozenset(
        {
            "AppliedFor",
            "CustomRoleArn",
            "Description",
            "EncryptionConfiguration",
            "ImageTagMutability",
            "ImageTagMutabilityExclusionFilters",
            "LifecyclePolicy",
            "RepositoryPolicy",
            "ResourceTags",
        }
    )
    replacing = frozenset({"Prefix"})

    def create(self, request: Request) -> Made:
        answer = request.client("ecr").create_repository_creation_template(
            **self._arguments(request)
        )
        return self._made(answer)

    def update(self, request: Request) -> Made:
        answer = request.client("ecr").update_repository_creation_template(
            **self._arguments(request)
        )
        return self._made(answer)

    def delete(self, request: Request) -> None:
        ecr = request.client("ecr")
        try:
            ecr.delete_repository_creation_template(prefix=request.physical_id)
        except ecr.exceptions.TemplateNotFoundException:
            return

    def _arguments(self, request: Request) -> dict[str, Any]:
        given = request.pick(*self.updatable, *self.replacing)
        arguments: dict[str, Any] = lower_keys(given, maps=frozenset({"ResourceTags"}))
        return arguments

    @staticmethod
    def _made(answer: Mapping[str, Any]) -> Made:
        found = answer["repositoryCreationTemplate"]
        times = {"CreatedAt": found["createdAt"], "UpdatedAt": found["updatedAt"]}
        return Made(found["prefix"], {name: str(time) for name, time in times.items()})


TYPES: tuple[ResourceType, ...] = (
    PullThroughCacheRule(),
    Repository(),
    RepositoryCreationTemplate(),
)
