"""AWS::AutoScaling: groups of instances, with their rolling updates.

No instance boots on this machine. A CreationPolicy's or UpdatePolicy's signals count as received.

Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-updatepolicy.html
"""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from orchestrator.local_aws.cloudformation.errors import ResourceFailed
from orchestrator.local_aws.cloudformation.resources.base import (
    Made,
    Properties,
    Request,
    ResourceType,
    boolean,
)

_SIMPLE = (
    "AvailabilityZones",
    "CapacityRebalance",
    "DefaultInstanceWarmup",
    "DesiredCapacity",
    "HealthCheckGracePeriod",
    "HealthCheckType",
    "MaxInstanceLifetime",
    "MaxSize",
    "MinSize",
    "NewInstancesProtectedFromScaleIn",
    "TerminationPolicies",
)
_LAUNCH = ("LaunchTemplate", "MixedInstancesPolicy", "VPCZoneIdentifier")


class AutoScalingGroup(ResourceType):
    """`desired` instances of a launch template's version exist, as EC2 shows them."""

    type = "AWS::AutoScaling::AutoScalingGroup"
    name_property = "AutoScalingGroupName"
    updatable = frozenset({*_SIMPLE, *_LAUNCH, "Cooldown", "Tags"})
    replacing = frozenset({"AutoScalingGroupName"})
    unchangeable = frozenset(
        {"LifecycleHookSpecificationList", "MetricsCollection", "NotificationConfigurations"}
    )
    update_policies = frozenset({"AutoScalingRollingUpdate", "AutoScalingScheduledAction"})

    def check(self, properties: Properties) -> None:
        super().check(properties)
        for name in ("MaxSize", "MinSize"):
            if name not in properties:
                raise ResourceFailed(f"Property {name} cannot be empty.")
        low, high = int(properties["MinSize"]), int(properties["MaxSize"])
        desired = int(properties.get("DesiredCapacity", low))
        if not low <= desired <= high:
            raise ResourceFailed(
                f"Desired capacity:{desired} must be between the specified min size:{low} and "
                f"max size:{high}"
            )
        if ("LaunchTemplate" in properties) == ("MixedInstancesPolicy" in properties):
            raise ResourceFailed("exactly one of LaunchTemplate and MixedInstancesPolicy is needed")

    def create(self, request: Request) -> Made:
        client, name = request.client("autoscaling"), request.name("AutoScalingGroupName", 255)
        client.create_auto_scaling_group(
            AutoScalingGroupName=name, **self._arguments(request), Tags=self._tags(request, name)
        )
        request.begun.append(name)
        for hook in request.get("LifecycleHookSpecificationList", []):
            client.put_lifecycle_hook(AutoScalingGroupName=name, **hook)
        for metrics in request.get("MetricsCollection", []):
            client.enable_metrics_collection(AutoScalingGroupName=name, **metrics)
        for each in request.get("NotificationConfigurations", []):
            topics = each["TopicARN"]
            for topic in topics if isinstance(topics, list) else [topics]:
                client.put_notification_configuration(
                    AutoScalingGroupName=name,
                    TopicARN=topic,
                    NotificationTypes=each["NotificationTypes"],
                )
        return Made(name, {"AutoScalingGroupARN": self._find(request, name)["AutoScalingGroupARN"]})

    def update(self, request: Request) -> Made:
        client, name = request.client("autoscaling"), request.physical_id
        client.update_auto_scaling_group(AutoScalingGroupName=name, **self._arguments(request))
        if dropped := request.dropped_tags():
            gone = [
                {"ResourceId": name, "ResourceType": "auto-scaling-group", "Key": key}
                for key in dropped
            ]
            client.delete_tags(Tags=gone)
        if tags := self._tags(request, name):
            client.create_or_update_tags(Tags=tags)
        if request.changed(*_LAUNCH) and "AutoScalingRollingUpdate" in request.update_policy:
            self._roll(request, name)
        return Made(name, {"AutoScalingGroupARN": self._find(request, name)["AutoScalingGroupARN"]})

    def delete(self, request: Request) -> None:
        try:
            request.client("autoscaling").delete_auto_scaling_group(
                AutoScalingGroupName=request.physical_id, ForceDelete=True
            )
        except ClientError as error:
            if "not found" not in str(error).lower():
                raise

    @staticmethod
    def _arguments(request: Request) -> dict[str, Any]:
        arguments = request.pick(*_SIMPLE, *_LAUNCH)
        if "Cooldown" in request.properties:
            arguments["DefaultCooldown"] = request.get("Cooldown")
        if "VPCZoneIdentifier" in arguments:
            arguments["VPCZoneIdentifier"] = ",".join(arguments["VPCZoneIdentifier"])
        return arguments

    def _roll(self, request: Request, name: str) -> None:
        """Its instances are ended, new ones take their place."""
        client = request.client("autoscaling")
        for instance in self._find(request, name)["Instances"]:
            client.terminate_instance_in_auto_scaling_group(
                InstanceId=instance["InstanceId"], ShouldDecrementDesiredCapacity=False
            )

    @staticmethod
    def _tags(request: Request, name: str) -> list[dict[str, Any]]:
        """Each says whether instances get it; a stack's own tags go to them."""
        silent = {
            tag["Key"]
            for tag in request.get("Tags", [])
            if not boolean(tag.get("PropagateAtLaunch", False))
        }
        return [
            {
                "Key": key,
                "Value": value,
                "PropagateAtLaunch": key not in silent,
                "ResourceId": name,
                "ResourceType": "auto-scaling-group",
            }
            for key, value in request.tags().items()
        ]

    @staticmethod
    def _find(request: Request, name: str) -> dict[str, Any]:
        answer = request.client("autoscaling").describe_auto_scaling_groups(
            AutoScalingGroupNames=[name]
        )
        group: dict[str, Any] = answer["AutoScalingGroups"][0]
        return group


TYPES: tuple[ResourceType, ...] = (AutoScalingGroup(),)
