"""A template: JSON or YAML text -> checked sections.

Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/template-anatomy.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import yaml

from orchestrator.local_aws.cloudformation import intrinsics
from orchestrator.local_aws.cloudformation.errors import ValidationError

_SECTIONS = frozenset(
    {
        "AWSTemplateFormatVersion",
        "Conditions",
        "Description",
        "Mappings",
        "Metadata",
        "Outputs",
        "Parameters",
        "Resources",
        "Rules",
    }
)
_RESOURCE_KEYS = frozenset(
    {
        "Condition",
        "CreationPolicy",  # no instance really boots here: signals count as received
        "DeletionPolicy",
        "DependsOn",
        "Metadata",
        "Properties",
        "Type",
        "UpdatePolicy",
        "UpdateReplacePolicy",
    }
)
_POLICIES = frozenset({"Delete", "Retain", "RetainExceptOnCreate", "Snapshot"})


@dataclass(frozen=True)
class Declaration:
    """One entry of `Resources`."""

    logical_id: str
    type: str
    properties: Mapping[str, Any]
    metadata: Any
    condition: str | None
    depends_on: frozenset[str]
    deletion_policy: str
    update_replace_policy: str
    update_policy: Mapping[str, Any]


@dataclass(frozen=True)
class Template:
    """A whole template. `document` is it as it came; equal documents are equal templates."""

    text: str
    document: Mapping[str, Any]
    resources: Mapping[str, Declaration]

    def section(self, name: str) -> Mapping[str, Any]:
        """An optional section, empty when it is not there."""
        return self.document.get(name) or {}

    @property
    def description(self) -> str | None:
        return self.document.get("Description")

    @cached_property
    def order(self) -> tuple[str, ...]:
        """Logical ids, each after what it depends on. Raises ValidationError on a cycle."""
        pending = {name: self.dependencies(name) for name in self.resources}
        order: list[str] = []
        while pending:
            ready = sorted(name for name, needs in pending.items() if not needs & pending.keys())
            if not ready:
                cycle = ", ".join(sorted(pending))
                raise ValidationError(f"Circular dependency between resources: [{cycle}]")
            order += ready
            for name in ready:
                del pending[name]
        return tuple(order)

    def dependencies(self, logical_id: str) -> frozenset[str]:
        """The resources that must be there before this one."""
        declaration = self.resources[logical_id]
        names = intrinsics.references(declaration.properties) | declaration.depends_on
        return frozenset(names & self.resources.keys())


def parse(text: str) -> Template:
    """Raises ValidationError, worded as AWS words it."""
    document = _load(text)
    unknown = sorted(document.keys() - _SECTIONS)
    if unknown:
        raise _malformed(f"Invalid template property or properties {unknown}")
    for section in _SECTIONS - {"AWSTemplateFormatVersion", "Description"}:
        if not isinstance(document.get(section, {}), dict):
            raise _malformed(f"[/{section}] must be an object")
    if not document.get("Resources"):
        raise _malformed("At least one Resources member must be defined.")
    resources = {
        name: _declaration(name, value, document["Resources"])
        for name, value in document["Resources"].items()
    }
    template = Template(text, document, resources)
    _check_references(template)
    _ = template.order
    return template


def _declaration(name: str, value: Any, all_resources: Mapping[str, Any]) -> Declaration:
    where = f"[/Resources/{name}]"
    if not isinstance(value, dict) or not isinstance(value.get("Type"), str):
        raise _malformed(f"{where} Every Resources object must contain a Type member.")
    unknown = sorted(value.keys() - _RESOURCE_KEYS)
    if unknown:
        raise _malformed(f"Invalid template resource property {unknown[0]!r} at {where}")
    depends_on = value.get("DependsOn", [])
    depends_on = [depends_on] if isinstance(depends_on, str) else depends_on
    missing = sorted(set(depends_on) - all_resources.keys())
    if missing:
        raise _malformed(f"Unresolved resource dependencies {missing} in the Resources block")
    for key in ("Properties", "CreationPolicy", "UpdatePolicy"):
        if not isinstance(value.get(key, {}), dict):
            raise _malformed(f"{where} {key} must be an object")
    for key in ("DeletionPolicy", "UpdateReplacePolicy"):
        if value.get(key, "Delete") not in _POLICIES:
            raise _malformed(f"Unrecognized {key} {value[key]} for resource {name}")
    # AWS: an Aurora cluster that says nothing is kept as a snapshot when the stack drops it.
    default = "Snapshot" if value["Type"] == "AWS::RDS::DBCluster" else "Delete"
    return Declaration(
        logical_id=name,
        type=value["Type"],
        properties=value.get("Properties", {}),
        metadata=value.get("Metadata"),
        condition=value.get("Condition"),
        depends_on=frozenset(depends_on),
        deletion_policy=value.get("DeletionPolicy", default),
        update_replace_policy=value.get("UpdateReplacePolicy", default),
        update_policy=value.get("UpdatePolicy", {}),
    )


def _check_references(template: Template) -> None:
    known = {*template.resources, *template.section("Parameters"), *intrinsics.PSEUDO_PARAMETERS}
    conditions = template.section("Conditions").keys()
    for block in ("Resources", "Outputs", "Conditions"):
        unresolved = sorted(intrinsics.references(template.section(block)) - known)
        if unresolved:
            raise _malformed(
                f"Unresolved resource dependencies {unresolved} in the {block} block of the "
                "template"
            )
        missing = sorted(intrinsics.conditions_used(template.section(block)) - conditions)
        if missing:
            raise _malformed(f"Unresolved condition dependency {missing[0]} in the {block} block")
    for name, declaration in template.resources.items():
        if declaration.condition is not None and declaration.condition not in conditions:
            raise _malformed(f"Unresolved condition {declaration.condition} of {name}")


def _malformed(detail: str) -> ValidationError:
    return ValidationError(f"Template format error: {detail}")


def _load(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError:
        try:
            document = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
        except yaml.YAMLError as error:
            raise _malformed(f"YAML not well-formed. {error}") from None
    if not isinstance(document, dict):
        raise _malformed("unsupported structure.")
    return document


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short forms, and with dates left as the text they are."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own attribute
        first: [(tag, regexp) for tag, regexp in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def _short_form(loader: _Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    elif isinstance(node, yaml.MappingNode):
        value = loader.construct_mapping(node, deep=True)
    else:
        raise _malformed(f"!{suffix} has no value")
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _short_form)
