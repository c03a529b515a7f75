"""AWS::Lambda: functions whose code is in the template."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import Any

from orchestrator.local_aws.cloudformation.errors import ResourceFailed
from orchestrator.local_aws.cloudformation.resources.base import (
    Made,
    Properties,
    Request,
    ResourceType,
)

_CONFIGURED = (
    "Description",
    "Environment",
    "Handler",
    "LoggingConfig",
    "MemorySize",
    "Role",
    "Runtime",
    "Timeout",
)


class Function(ResourceType):
    """Code is `ZipFile`: the text of its one module, `index`."""

    type = "AWS::Lambda::Function"
    name_property = "FunctionName"
    updatable = frozenset({"Code", "Tags", *_CONFIGURED})
    replacing = frozenset({"FunctionName"})
    unchangeable = frozenset({"Architectures"})

    def check(self, properties: Properties) -> None:
        super().check(properties)
        code = properties.get("Code", {})
        if code.keys() != {"ZipFile"}:
            raise ResourceFailed(
                f"the local AWS supports only Code.ZipFile of {self.type}, not {', '.join(code)}"
            )

    def create(self, request: Request) -> Made:
        answer = request.client("lambda").create_function(
            FunctionName=request.name("FunctionName", 64),
            Code={"ZipFile": _zipped(request.get("Code"))},
            Tags=request.tags(),
            **request.pick("Architectures"),
            **_configuration(request),
        )
        return self._made(answer)

    def update(self, request: Request) -> Made:
        client, name = request.client("lambda"), request.physical_id
        if request.changed("Code"):
            client.update_function_code(FunctionName=name, ZipFile=_zipped(request.get("Code")))
        if request.changed(*_CONFIGURED):
            client.update_function_configuration(FunctionName=name, **_configuration(request))
        answer = client.get_function(FunctionName=name)["Configuration"]
        if dropped := request.dropped_tags():
            client.untag_resource(Resource=answer["FunctionArn"], TagKeys=dropped)
        if tags := request.tags():
            client.tag_resource(Resource=answer["FunctionArn"], Tags=tags)
        return self._made(answer)

    def delete(self, request: Request) -> None:
        client = request.client("lambda")
        try:
            client.delete_function(FunctionName=request.physical_id)
        except client.exceptions.ResourceNotFoundException:
            return

    @staticmethod
    def _made(answer: Mapping[str, Any]) -> Made:
        return Made(answer["FunctionName"], {"Arn": answer["FunctionArn"]})


def _configuration(request: Request) -> dict[str, Any]:
    found = request.pick(*_CONFIGURED)
    return found | {n: int(found[n]) for n in ("MemorySize", "Timeout") if n in found}


def _zipped(code: Mapping[str, str]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("index.py", code["ZipFile"])
    return packed.getvalue()


TYPES: tuple[ResourceType, ...] = (Function(),)
