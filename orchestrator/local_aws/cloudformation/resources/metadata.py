"""Types that stand for nothing that exists."""

from __future__ import annotations

from orchestrator.local_aws.cloudformation.resources.base import Made, Request, ResourceType


class CdkMetadata(ResourceType):
    """What the CDK counts its constructs with."""

    type = "AWS::CDK::Metadata"
    updatable = frozenset({"Analytics"})

    def create(self, request: Request) -> Made:
        return Made(request.name("Name"), {})

    def update(self, request: Request) -> Made:
        return Made(request.physical_id, {})

    def delete(self, request: Request) -> None: ...


class WaitConditionHandle(ResourceType):
    """Also what the CDK puts into a stack that would be empty."""

    type = "AWS::CloudFormation::WaitConditionHandle"

    def create(self, request: Request) -> Made:
        return Made(request.name("Name"), {})

    def delete(self, request: Request) -> None: ...


TYPES: tuple[ResourceType, ...] = (CdkMetadata(), WaitConditionHandle())
