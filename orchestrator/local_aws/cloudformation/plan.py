"""What a stack shall become: its template with parameters, tags, and the names it can refer to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from orchestrator.local_aws.cloudformation import intrinsics, parameters
from orchestrator.local_aws.cloudformation.errors import ValidationError
from orchestrator.local_aws.cloudformation.parameters import Parameter
from orchestrator.local_aws.cloudformation.stack import Resource, Stack
from orchestrator.local_aws.cloudformation.template import Template


@dataclass(frozen=True)
class Region:
    """Where a stack lives: account, region, clients of it, and what other stacks export."""

    account: str
    name: str
    client: Callable[[str], Any]
    exports: Callable[[], Mapping[str, str]]
    importing: Callable[[str], list[str]]
    """Names of the stacks that import an export."""


@dataclass(frozen=True)
class Plan:
    """What a stack shall become."""

    template: Template
    parameters: Mapping[str, Parameter]
    tags: Mapping[str, str]


class Scope:
    """Names of a plan, with the resources that exist so far."""

    def __init__(
        self, stack: Stack, plan: Plan, region: Region, existing: Mapping[str, Resource]
    ) -> None:
        self._stack, self._plan, self._region, self._existing = stack, plan, region, existing
        self._conditions: dict[str, bool | None] = {}
        self.imported: set[str] = set()

    def ref(self, name: str) -> Any:
        pseudo = {
            "AWS::AccountId": self._region.account,
            "AWS::NotificationARNs": self._stack.notification_arns,
            "AWS::Partition": "aws",
            "AWS::Region": self._region.name,
            "AWS::StackId": self._stack.id,
            "AWS::StackName": self._stack.name,
            "AWS::URLSuffix": "amazonaws.com",
        }
        if name in pseudo:
            return pseudo[name]
        if name in self._plan.parameters:
            return self._plan.parameters[name].value
        return self._resource(name).physical_id

    def attribute(self, logical_id: str, name: str) -> Any:
        resource = self._resource(logical_id)
        if name not in resource.attributes:
            raise ValidationError(
                f"Template error: resource {logical_id} does not support attribute type {name} "
                "in Fn::GetAtt"
            )
        return resource.attributes[name]

    def condition(self, name: str) -> bool:
        if name not in self._conditions:
            conditions = self._plan.template.section("Conditions")
            if name not in conditions:
                raise ValidationError(f"Template error: no condition {name}")
            self._conditions[name] = None
            self._conditions[name] = intrinsics.test(conditions[name], self)
        value = self._conditions[name]
        if value is None:
            raise ValidationError(f"Template error: condition {name} depends on itself")
        return value

    def mapping(self, name: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self._plan.template.section("Mappings")[name]
        return found

    def import_value(self, name: str) -> str:
        exports = self._region.exports()
        if name not in exports:
            raise ValidationError(f"No export named {name} found.")
        self.imported.add(name)
        return exports[name]

    def zones(self, region: str) -> list[str]:
        if region != self._region.name:
            raise ValidationError(f"the local AWS has no zones of {region} in {self._region.name}")
        answer = self._region.client("ec2").describe_availability_zones()
        return sorted(zone["ZoneName"] for zone in answer["AvailabilityZones"])

    def _resource(self, logical_id: str) -> Resource:
        if logical_id not in self._existing:
            raise ValidationError(
                f"Unresolved resource dependencies [{logical_id}] in the template: its condition "
                "is false"
            )
        return self._existing[logical_id]


def make(
    stack: Stack,
    template: Template,
    values: Mapping[str, str],
    tags: Mapping[str, str],
    region: Region,
) -> Plan:
    """Parameters resolved and rules asserted. Raises ValidationError."""

    def ssm(name: str) -> str:
        try:
            return str(region.client("ssm").get_parameter(Name=name)["Parameter"]["Value"])
        except ClientError:
            raise ValidationError(
                f"Unable to fetch parameters [{name}] from parameter store for this account."
            ) from None

    resolved = parameters.resolve(template.section("Parameters"), values, ssm)
    made = Plan(template, resolved, tags)
    scope = Scope(stack, made, region, {})
    for name, rule in template.section("Rules").items():
        if "RuleCondition" in rule and not intrinsics.test(rule["RuleCondition"], scope):
            continue
        for assertion in rule.get("Assertions", []):
            if not intrinsics.test(assertion["Assert"], scope):
                reason = assertion.get("AssertDescription", "an assertion failed")
                raise ValidationError(f"Template validation error: Rule {name}: {reason}")
    for name in template.section("Conditions"):
        scope.condition(name)
    return made
