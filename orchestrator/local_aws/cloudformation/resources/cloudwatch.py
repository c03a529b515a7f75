"""AWS::CloudWatch: alarms and dashboards."""

from __future__ import annotations

from typing import Any

from orchestrator.local_aws.cloudformation.errors import ResourceFailed
from orchestrator.local_aws.cloudformation.resources.base import (
    Made,
    Properties,
    Request,
    ResourceType,
)


class Alarm(ResourceType):
    """No metric is measured here: an alarm keeps its state until somebody sets it."""

    type = "AWS::CloudWatch::Alarm"
    name_property = "AlarmName"
    updatable = frozenset(
        {
            "ActionsEnabled",
            "AlarmActions",
            "AlarmDescription",
            "ComparisonOperator",
            "DatapointsToAlarm",
            "Dimensions",
            "EvaluateLowSampleCountPercentile",
            "EvaluationPeriods",
            "ExtendedStatistic",
            "InsufficientDataActions",
            "MetricName",
            "Metrics",
            "Namespace",
            "OKActions",
            "Period",
            "Statistic",
            "Tags",
            "Threshold",
            "ThresholdMetricId",
            "TreatMissingData",
            "Unit",
        }
    )
    replacing = frozenset({"AlarmName"})

    def check(self, properties: Properties) -> None:
        super().check(properties)
        if "MetricName" in properties and "Metrics" in properties:
            raise ResourceFailed("MetricName and Metrics exclude each other")
        for name in ("ComparisonOperator", "EvaluationPeriods"):
            if name not in properties:
                raise ResourceFailed(f"Property {name} cannot be empty.")

    def create(self, request: Request) -> Made:
        name = request.name("AlarmName", 255)
        tags = request.tag_list()
        self._put(request, name, {"Tags": tags} if tags else {})
        return self._made(request, name)

    def update(self, request: Request) -> Made:
        cloudwatch, name = request.client("cloudwatch"), request.physical_id
        self._put(request, name, {})
        made = self._made(request, name)
        if dropped := request.dropped_tags():
            cloudwatch.untag_resource(ResourceARN=made.attributes["Arn"], TagKeys=dropped)
        if tags := request.tag_list():
            cloudwatch.tag_resource(ResourceARN=made.attributes["Arn"], Tags=tags)
        return made

    def delete(self, request: Request) -> None:
        request.client("cloudwatch").delete_alarms(AlarmNames=[request.physical_id])

    def _put(self, request: Request, name: str, more: dict[str, Any]) -> None:
        # PutMetricAlarm replaces the whole of an alarm.
        given = request.pick(*self.updatable - {"Tags"})
        request.client("cloudwatch").put_metric_alarm(AlarmName=name, **given, **more)

    @staticmethod
    def _made(request: Request, name: str) -> Made:
        found = request.client("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"]
        return Made(name, {"Arn": found[0]["AlarmArn"]})


class Dashboard(ResourceType):
    type = "AWS::CloudWatch::Dashboard"
    name_property = "DashboardName"
    updatable = frozenset({"DashboardBody", "Tags"})
    replacing = frozenset({"DashboardName"})

    def create(self, request: Request) -> Made:
        name = request.name("DashboardName", 255)
        self._put(request, name)
        return Made(name, {})

    def update(self, request: Request) -> Made:
        self._put(request, request.physical_id)
        return Made(request.physical_id, {})

    def delete(self, request: Request) -> None:
        cloudwatch = request.client("cloudwatch")
        try:
            cloudwatch.delete_dashboards(DashboardNames=[request.physical_id])
        except cloudwatch.exceptions.DashboardNotFoundError:
            return

    @staticmethod
    def _put(request: Request, name: str) -> None:
        cloudwatch = request.client("cloudwatch")
        answer = cloudwatch.put_dashboard(DashboardName=name, **request.pick("DashboardBody"))
        if messages := answer.get("DashboardValidationMessages"):
            raise ResourceFailed(f"dashboard {name}: {messages}")
        arn = cloudwatch.get_dashboard(DashboardName=name)["DashboardArn"]
        if dropped := request.dropped_tags():
            cloudwatch.untag_resource(ResourceARN=arn, TagKeys=dropped)
        if tags := request.tag_list():
            cloudwatch.tag_resource(ResourceARN=arn, Tags=tags)


TYPES: tuple[ResourceType, ...] = (Alarm(), Dashboard())
