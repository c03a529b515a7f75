"""What is known of a stack and its resources."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from orchestrator.local_aws.cloudformation.parameters import Parameter
from orchestrator.local_aws.cloudformation.template import Declaration, Template


@dataclass(frozen=True)
class Resource:
    """One existing resource.

    `properties` are evaluated, with dynamic references still unresolved: no secret is kept here.
    """

    declaration: Declaration
    physical_id: str
    properties: Mapping[str, Any]
    attributes: Mapping[str, Any]
    dependencies: frozenset[str]

    @property
    def logical_id(self) -> str:
        return self.declaration.logical_id

    @property
    def type(self) -> str:
        return self.declaration.type


@dataclass
class ResourceStatus:
    """What DescribeStackResources shows, also of resources that failed or are gone."""

    logical_id: str
    type: str
    physical_id: str
    status: str
    reason: str | None
    changed: datetime


@dataclass(frozen=True)
class Output:
    """One output of a stack."""

    name: str
    value: str
    description: str | None
    export: str | None

    def as_json(self) -> dict[str, Any]:
        shown: dict[str, Any] = {"OutputKey": self.name, "OutputValue": self.value}
        if self.description is not None:
            shown["Description"] = self.description
        if self.export is not None:
            shown["ExportName"] = self.export
        return shown


@dataclass
class Stack:
    """One stack, from its creation until long after its deletion."""

    id: str
    name: str
    status: str
    template: Template | None = None
    parameters: dict[str, Parameter] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    capabilities: list[str] = field(default_factory=list)
    notification_arns: list[str] = field(default_factory=list)
    role_arn: str | None = None
    termination_protection: bool = False
    disable_rollback: bool = False
    status_reason: str | None = None
    resources: dict[str, Resource] = field(default_factory=dict)
    resource_status: dict[str, ResourceStatus] = field(default_factory=dict)
    outputs: dict[str, Output] = field(default_factory=dict)
    imports: set[str] = field(default_factory=set)
    events: list[dict[str, Any]] = field(default_factory=list)
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    updated: datetime | None = None
    deleted: datetime | None = None
    client_token: str | None = None
    taken: bool = False
    """Whether an operation is at work on it."""

    @property
    def description(self) -> str | None:
        return self.template.description if self.template else None

    @property
    def exports(self) -> dict[str, str]:
        return {o.export: o.value for o in self.outputs.values() if o.export is not None}

    def become(self, status: str, reason: str | None = None) -> None:
        """A new status of the stack itself, with its event."""
        self.status, self.status_reason = status, reason
        self._event(self.name, self.id, "AWS::CloudFormation::Stack", status, reason)

    def resource_became(
        self, declaration: Declaration, physical_id: str, status: str, reason: str | None = None
    ) -> None:
        """A new status of one of its resources, with its event."""
        self.resource_status[declaration.logical_id] = ResourceStatus(
            declaration.logical_id,
            declaration.type,
            physical_id,
            status,
            reason,
            datetime.now(UTC),
        )
        self._event(declaration.logical_id, physical_id, declaration.type, status, reason)

    def _event(self, logical: str, physical: str, kind: str, status: str, why: str | None) -> None:
        self.events.append(
            {
                "StackId": self.id,
                "EventId": str(uuid.uuid4()),
                "StackName": self.name,
                "LogicalResourceId": logical,
                "PhysicalResourceId": physical,
                "ResourceType": kind,
                "Timestamp": datetime.now(UTC),
                "ResourceStatus": status,
                "ResourceStatusReason": why,
                "ClientRequestToken": self.client_token,
            }
        )
