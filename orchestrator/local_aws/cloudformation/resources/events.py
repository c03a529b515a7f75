"""AWS::Events: rules with their targets."""

from __future__ import annotations

import json
from typing import Any

from orchestrator.local_aws.cloudformation.errors import ResourceFailed
from orchestrator.local_aws.cloudformation.resources.base import (
    Made,
    Properties,
    Request,
    ResourceType,
)


class Rule(ResourceType):
    """Its targets may be SQS queues, SNS topics and log groups: moto_patches/events.py."""

    type = "AWS::Events::Rule"
    name_property = "Name"
    updatable = frozenset(
        {"Description", "EventPattern", "RoleArn", "ScheduleExpression", "State", "Tags", "Targets"}
    )
    replacing = frozenset({"EventBusName", "Name"})

    def check(self, properties: Properties) -> None:
        super().check(properties)
        if not properties.get("EventPattern") and not properties.get("ScheduleExpression"):
            raise ResourceFailed(
                "Parameter(s) EventPattern or ScheduleExpression must be specified."
            )
        if len(properties.get("Targets", [])) > 5:
            raise ResourceFailed("a rule has at most 5 targets")

    def create(self, request: Request) -> Made:
        name = request.name("Name", 64)
        self._put(request, name)
        request.begun.append(name)
        self._put_targets(request, name)
        return self._made(request, name)

    def update(self, request: Request) -> Made:
        events, name = request.client("events"), request.physical_id
        self._put(request, name)
        now = {target["Id"] for target in request.get("Targets", [])}
        before = {target["Id"] for target in (request.old or {}).get("Targets", [])}
        if before - now:
            events.remove_targets(Rule=name, Ids=sorted(before - now), **_bus(request))
        self._put_targets(request, name)
        made = self._made(request, name)
        if dropped := request.dropped_tags():
            events.untag_resource(ResourceARN=made.attributes["Arn"], TagKeys=dropped)
        if tags := request.tag_list():
            events.tag_resource(ResourceARN=made.attributes["Arn"], Tags=tags)
        return made

    def delete(self, request: Request) -> None:
        events, name, bus = request.client("events"), request.physical_id, _bus(request)
        try:
            targets = events.list_targets_by_rule(Rule=name, **bus)["Targets"]
        except events.exceptions.ResourceNotFoundException:
            return
        if targets:
            events.remove_targets(Rule=name, Ids=[t["Id"] for t in targets], **bus)
        events.delete_rule(Name=name, **bus)

    @staticmethod
    def _put(request: Request, name: str) -> None:
        arguments = request.pick("Description", "RoleArn", "ScheduleExpression", "State")
        if "EventPattern" in request.properties:
            arguments["EventPattern"] = json.dumps(request.get("EventPattern"))
        if request.old is None and (tags := request.tag_list()):
            arguments["Tags"] = tags
        request.client("events").put_rule(Name=name, **arguments, **_bus(request))

    @staticmethod
    def _put_targets(request: Request, name: str) -> None:
        targets = request.get("Targets", [])
        if not targets:
            return
        answer = request.client("events").put_targets(Rule=name, Targets=targets, **_bus(request))
        if answer["FailedEntryCount"]:
            raise ResourceFailed(f"targets of {name}: {answer['FailedEntries']}")

    @staticmethod
    def _made(request: Request, name: str) -> Made:
        found = request.client("events").describe_rule(Name=name, **_bus(request))
        return Made(name, {"Arn": found["Arn"]})


def _bus(request: Request) -> dict[str, Any]:
    return request.pick("EventBusName")


TYPES: tuple[ResourceType, ...] = (Rule(),)
