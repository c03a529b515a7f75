"""AWS::Logs: log groups, and filters that make metrics of them."""

from __future__ import annotations

from orchestrator.local_aws.cloudformation.resources.base import (
    Made,
    Request,
    ResourceType,
    lower_keys,
)


class LogGroup(ResourceType):
    type = "AWS::Logs::LogGroup"
    name_property = "LogGroupName"
    updatable = frozenset({"KmsKeyId", "RetentionInDays", "Tags"})
    replacing = frozenset({"LogGroupClass", "LogGroupName"})

    def create(self, request: Request) -> Made:
        name = request.name("LogGroupName", 512)
        arguments = {
            target: request.get(source)
            for source, target in (("KmsKeyId", "kmsKeyId"), ("LogGroupClass", "logGroupClass"))
            if source in request.properties
        }
        tags = request.tags()
        request.client("logs").create_log_group(
            logGroupName=name, **arguments, **({"tags": tags} if tags else {})
        )
        request.begun.append(name)
        self._set_retention(request, name)
        return self._made(request, name)

    def update(self, request: Request) -> Made:
        logs, name = request.client("logs"), request.physical_id
        if request.changed("RetentionInDays"):
            self._set_retention(request, name)
        if request.changed("KmsKeyId"):
            if request.get("KmsKeyId"):
                logs.associate_kms_key(logGroupName=name, kmsKeyId=request.get("KmsKeyId"))
            else:
                logs.disassociate_kms_key(logGroupName=name)
        made = self._made(request, name)
        arn = made.attributes["Arn"].removesuffix(":*")
        if dropped := request.dropped_tags():
            logs.untag_resource(resourceArn=arn, tagKeys=dropped)
        if tags := request.tags():
            logs.tag_resource(resourceArn=arn, tags=tags)
        return made

    def delete(self, request: Request) -> None:
        logs = request.client("logs")
        try:
            logs.delete_log_group(logGroupName=request.physical_id)
        except logs.exceptions.ResourceNotFoundException:
            return

    @staticmethod
    def _set_retention(request: Request, name: str) -> None:
        logs, days = request.client("logs"), request.get("RetentionInDays")
        if days is not None:
            logs.put_retention_policy(logGroupName=name, retentionInDays=days)
        elif request.old is not None:
            logs.delete_retention_policy(logGroupName=name)

    @staticmethod
    def _made(request: Request, name: str) -> Made:
        found = request.client("logs").describe_log_groups(logGroupNamePrefix=name)["logGroups"]
        group = next(group for group in found if group["logGroupName"] == name)
        return Made(name, {"Arn": group["arn"].removesuffix(":*") + ":*"})


class MetricFilter(ResourceType):
    """Kept as it is; no metric comes of it."""

    type = "AWS::Logs::MetricFilter"
    name_property = "FilterName"
    updatable = frozenset({"FilterPattern", "MetricTransformations"})
    replacing = frozenset({"FilterName", "LogGroupName"})

    def create(self, request: Request) -> Made:
        return self._put(request, request.name("FilterName", 512))

    def update(self, request: Request) -> Made:
        return self._put(request, request.physical_id)

    def delete(self, request: Request) -> None:
        logs = request.client("logs")
        try:
            logs.delete_metric_filter(
                logGroupName=request.get("LogGroupName"), filterName=request.physical_id
            )
        except logs.exceptions.ResourceNotFoundException:
            return

    @staticmethod
    def _put(request: Request, name: str) -> Made:
        request.client("logs").put_metric_filter(
            logGroupName=request.get("LogGroupName"),
            filterName=name,
            filterPattern=request.get("FilterPattern", ""),
            metricTransformations=lower_keys(request.get("MetricTransformations")),
        )
        return Made(name, {})


TYPES: tuple[ResourceType, ...] = (LogGroup(), MetricFilter())
