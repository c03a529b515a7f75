"""AWS::Batch: compute environments, queues, scheduling policies, job definitions."""

from __future__ import annotations

from typing import Any

from orchestrator.local_aws.cloudformation.errors import ResourceFailed
from orchestrator.local_aws.cloudformation.resources.base import (
    Made,
    Properties,
    Request,
    ResourceType,
    boolean,
    differing,
    lower_keys,
)

_MAPS = frozenset({"Tags", "Options", "Parameters", "Labels", "Annotations", "Limits", "Requests"})
_SCALING = frozenset({"DesiredvCpus", "MaxvCpus", "MinvCpus"})


def _api(value: Any) -> Any:
    """CloudFormation's spelling -> the API's."""
    return lower_keys(value, maps=_MAPS)


def _sync_tags(request: Request, arn: str) -> None:
    batch = request.client("batch")
    if dropped := request.dropped_tags():
        batch.untag_resource(resourceArn=arn, tagKeys=dropped)
    if tags := request.tags():
        batch.tag_resource(resourceArn=arn, tags=tags)


class ComputeEnvironment(ResourceType):
    """Its infrastructure changes in place only with ReplaceComputeEnvironment false, as on AWS."""

    type = "AWS::Batch::ComputeEnvironment"
    name_property = "ComputeEnvironmentName"
    updatable = frozenset(
        {
            "ComputeResources",
            "ReplaceComputeEnvironment",
            "ServiceRole",
            "State",
            "UnmanagedvCpus",
            "UpdatePolicy",
        }
    )
    replacing = frozenset({"ComputeEnvironmentName", "Tags", "Type"})

    def create(self, request: Request) -> Made:
        arguments: dict[str, Any] = {
            "computeEnvironmentName": request.name("ComputeEnvironmentName"),
            "type": str(request.get("Type")).upper(),
            "state": request.get("State", "ENABLED"),
        }
        for name in ("ComputeResources", "ServiceRole", "UnmanagedvCpus"):
            if name in request.properties:
                arguments |= _api({name: request.get(name)})
        if tags := request.tags():
            arguments["tags"] = tags
        answer = request.client("batch").create_compute_environment(**arguments)
        return self._made(answer["computeEnvironmentArn"])

    def replaces(self, old: Properties, new: Properties) -> bool:
        if super().replaces(old, new):
            return True
        before, after = old.get("ComputeResources", {}), new.get("ComputeResources", {})
        infrastructure = differing(before, after) - _SCALING
        # AWS's default is true: then all but scaling makes a new environment.
        return bool(infrastructure) and boolean(new.get("ReplaceComputeEnvironment", True))

    def update(self, request: Request) -> Made:
        arguments: dict[str, Any] = {"computeEnvironment": request.physical_id}
        for name in ("ServiceRole", "State", "UnmanagedvCpus"):
            if request.changed(name) and name in request.properties:
                arguments |= _api({name: request.get(name)})
        old = (request.old or {}).get("ComputeResources", {})
        new = request.get("ComputeResources", {})
        changed = differing(old, new)
        removed = sorted(changed - new.keys() - _SCALING)
        if removed:
            raise ResourceFailed(f"the local AWS cannot remove {removed} of ComputeResources")
        if "SpotIamFleetRole" in changed:
            raise ResourceFailed("SpotIamFleetRole of an existing environment cannot be changed")
        if changed:
            arguments["computeResources"] = _api({name: new[name] for name in changed & new.keys()})
        if len(arguments) > 1:
            request.client("batch").update_compute_environment(**arguments)
        return self._made(request.physical_id)

    def delete(self, request: Request) -> None:
        batch, arn = request.client("batch"), request.physical_id
        if batch.describe_compute_environments(computeEnvironments=[arn])["computeEnvironments"]:
            batch.update_compute_environment(computeEnvironment=arn, state="DISABLED")
            batch.delete_compute_environment(computeEnvironment=arn)

    @staticmethod
    def _made(arn: str) -> Made:
        return Made(arn, {"ComputeEnvironmentArn": arn})


class JobQueue(ResourceType):
    type = "AWS::Batch::JobQueue"
    name_property = "JobQueueName"
    updatable = frozenset(
        {
            "ComputeEnvironmentOrder",
            "JobStateTimeLimitActions",
            "Priority",
            "SchedulingPolicyArn",
            "State",
            "Tags",
        }
    )
    replacing = frozenset({"JobQueueName"})

    def create(self, request: Request) -> Made:
        arguments = self._arguments(request)
        arguments["jobQueueName"] = request.name("JobQueueName")
        if tags := request.tags():
            arguments["tags"] = tags
        answer = request.client("batch").create_job_queue(**arguments)
        return self._made(answer["jobQueueArn"])

    def update(self, request: Request) -> Made:
        if request.changed("SchedulingPolicyArn") and not request.get("SchedulingPolicyArn"):
            raise ResourceFailed("a job queue's scheduling policy can be replaced, not removed")
        arguments = self._arguments(request)
        arguments.setdefault("jobStateTimeLimitActions", [])
        request.client("batch").update_job_queue(jobQueue=request.physical_id, **arguments)
        _sync_tags(request, request.physical_id)
        return self._made(request.physical_id)

    def delete(self, request: Request) -> None:
        batch, arn = request.client("batch"), request.physical_id
        if batch.describe_job_queues(jobQueues=[arn])["jobQueues"]:
            batch.update_job_queue(jobQueue=arn, state="DISABLED")
            batch.delete_job_queue(jobQueue=arn)

    def _arguments(self, request: Request) -> dict[str, Any]:
        arguments: dict[str, Any] = _api(request.pick(*self.updatable - {"Tags"}))
        arguments.setdefault("state", "ENABLED")
        return arguments

    @staticmethod
    def _made(arn: str) -> Made:
        return Made(arn, {"JobQueueArn": arn})


class SchedulingPolicy(ResourceType):
    type = "AWS::Batch::SchedulingPolicy"
    name_property = "Name"
    updatable = frozenset({"FairsharePolicy", "Tags"})
    replacing = frozenset({"Name"})

    def create(self, request: Request) -> Made:
        tags = request.tags()
        answer = request.client("batch").create_scheduling_policy(
            name=request.name("Name"),
            **_api(request.pick("FairsharePolicy")),
            **({"tags": tags} if tags else {}),
        )
        return Made(answer["arn"], {"Arn": answer["arn"]})

    def update(self, request: Request) -> Made:
        request.client("batch").update_scheduling_policy(
            arn=request.physical_id, **_api(request.pick("FairsharePolicy"))
        )
        _sync_tags(request, request.physical_id)
        return Made(request.physical_id, {"Arn": request.physical_id})

    def delete(self, request: Request) -> None:
        batch, arn = request.client("batch"), request.physical_id
        if batch.describe_scheduling_policies(arns=[arn])["schedulingPolicies"]:
            batch.delete_scheduling_policy(arn=arn)


class JobDefinition(ResourceType):
    """Every change registers a new revision; the one before is deregistered, as CloudFormation does
    unless told otherwise."""

    type = "AWS::Batch::JobDefinition"
    name_property = None  # a new revision has the same name: no obstacle
    replacing = frozenset({"JobDefinitionName"})
    updatable = frozenset(
        {
            "ContainerProperties",
            "Parameters",
            "PlatformCapabilities",
            "PropagateTags",
            "RetryStrategy",
            "SchedulingPriority",
            "Tags",
            "Timeout",
            "Type",
        }
    )

    def create(self, request: Request) -> Made:
        return self._register(request, request.name("JobDefinitionName"))

    def update(self, request: Request) -> Made:
        name = request.physical_id.rpartition("/")[2].rpartition(":")[0]
        made = self._register(request, name)
        request.client("batch").deregister_job_definition(jobDefinition=request.physical_id)
        return made

    def delete(self, request: Request) -> None:
        request.client("batch").deregister_job_definition(jobDefinition=request.physical_id)

    def _register(self, request: Request, name: str) -> Made:
        arguments: dict[str, Any] = _api(request.pick(*self.updatable - {"Tags"}))
        if tags := request.tags():
            arguments["tags"] = tags
        answer = request.client("batch").register_job_definition(
            jobDefinitionName=name, **arguments
        )
        arn = answer["jobDefinitionArn"]
        return Made(arn, {"JobDefinitionArn": arn})


TYPES: tuple[ResourceType, ...] = (
    ComputeEnvironment(),
    JobDefinition(),
    JobQueue(),
    SchedulingPolicy(),
)
