"""AWS::SSM: parameters."""

from __future__ import annotations

from orchestrator.local_aws.cloudformation.resources.base import Made, Request, ResourceType


class Parameter(ResourceType):
    type = "AWS::SSM::Parameter"
    name_property = "Name"
    updatable = frozenset({"AllowedPattern", "Description", "Tags", "Tier", "Type", "Value"})
    replacing = frozenset({"DataType", "Name"})

    def create(self, request: Request) -> Made:
        name = request.name("Name", 1011)
        names = ("AllowedPattern", "DataType", "Description", "Tier", "Type", "Value")
        tags = request.tag_list()
        request.client("ssm").put_parameter(
            Name=name, **request.pick(*names), **({"Tags": tags} if tags else {})
        )
        return self._made(request, name)

    def update(self, request: Request) -> Made:
        ssm, name = request.client("ssm"), request.physical_id
        names = ("AllowedPattern", "Description", "Tier", "Type", "Value")
        if request.changed(*names):
            ssm.put_parameter(Name=name, Overwrite=True, **request.pick(*names))
        about = {"ResourceType": "Parameter", "ResourceId": name}
        if dropped := request.dropped_tags():
            ssm.remove_tags_from_resource(**about, TagKeys=dropped)
        if tags := request.tag_list():
            ssm.add_tags_to_resource(**about, Tags=tags)
        return self._made(request, name)

    def delete(self, request: Request) -> None:
        ssm = request.client("ssm")
        try:
            ssm.delete_parameter(Name=request.physical_id)
        except ssm.exceptions.ParameterNotFound:
            return

    @staticmethod
    def _made(request: Request, name: str) -> Made:
        return Made(name, {"Type": request.get("Type"), "Value": request.get("Value")})


TYPES: tuple[ResourceType, ...] = (Parameter(),)
