"""Stacks, resources and templates in the shapes of the API's answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from orchestrator.local_aws.cloudformation import template
from orchestrator.local_aws.cloudformation.stack import ResourceStatus, Stack


def description(stack: Stack) -> dict[str, Any]:
    """As DescribeStacks shows a stack."""
    return known(
        {
            "StackId": stack.id,
            "StackName": stack.name,
            "Description": stack.description,
            "Parameters": [p.as_json() for p in stack.parameters.values()],
            "CreationTime": stack.created,
            "LastUpdatedTime": stack.updated,
            "DeletionTime": stack.deleted,
            "StackStatus": stack.status,
            "StackStatusReason": stack.status_reason,
            "DisableRollback": stack.disable_rollback,
            "NotificationARNs": stack.notification_arns,
            "Capabilities": stack.capabilities,
            "Outputs": [output.as_json() for output in stack.outputs.values()],
            "RoleARN": stack.role_arn,
            "Tags": tags(stack.tags),
            "EnableTerminationProtection": stack.termination_protection,
            "DriftInformation": {"StackDriftStatus": "NOT_CHECKED"},
        }
    )


def summary(stack: Stack) -> dict[str, Any]:
    """As ListStacks shows it."""
    return known(
        {
            "StackId": stack.id,
            "StackName": stack.name,
            "TemplateDescription": stack.description,
            "CreationTime": stack.created,
            "LastUpdatedTime": stack.updated,
            "DeletionTime": stack.deleted,
            "StackStatus": stack.status,
            "StackStatusReason": stack.status_reason,
        }
    )


def resource(stack: Stack, status: ResourceStatus) -> dict[str, Any]:
    """What the listings of resources have in common."""
    resource = stack.resources.get(status.logical_id)
    metadata = resource.declaration.metadata if resource else None
    return known(
        {
            "StackId": stack.id,
            "StackName": stack.name,
            "LogicalResourceId": status.logical_id,
            "PhysicalResourceId": status.physical_id or None,
            "ResourceType": status.type,
            "ResourceStatus": status.status,
            "ResourceStatusReason": status.reason,
            "Metadata": json.dumps(metadata) if metadata is not None else None,
        }
    )


def declared_parameters(parsed: template.Template, kind: str | None) -> list[dict[str, Any]]:
    """A template's parameters; `kind` is the member that holds their type, if any does."""
    shown = []
    for name, declared in parsed.section("Parameters").items():
        default = declared.get("Default")
        item = {
            "ParameterKey": name,
            "DefaultValue": None if default is None else str(default),
            "NoEcho": str(declared.get("NoEcho", False)).lower() == "true",
            "Description": declared.get("Description"),
        }
        if kind is not None:
            item[kind] = declared.get("Type")
            allowed = [str(value) for value in declared.get("AllowedValues", [])]
            item["ParameterConstraints"] = {"AllowedValues": allowed}
        shown.append(known(item))
    return shown


def capabilities(parsed: template.Template) -> list[str]:
    """What a caller has to acknowledge."""
    iam = any(d.type.startswith("AWS::IAM::") for d in parsed.resources.values())
    return ["CAPABILITY_NAMED_IAM"] if iam else []


def tags(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """A map as the list of the API."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def known(value: Mapping[str, Any]) -> dict[str, Any]:
    """Without the members that have no value."""
    return {key: item for key, item in value.items() if item is not None}
