"""A stack that tests bring from one template to the next, and words for templates."""

from __future__ import annotations

from typing import Any

from tests.unit.local_aws.conftest import Cloud


def of(kind: str, **properties: Any) -> dict[str, Any]:
    """A resource."""
    return {"Type": f"AWS::{kind}", "Properties": properties}


def ref(name: str) -> dict[str, str]:
    return {"Ref": name}


def att(name: str, attribute: str) -> dict[str, list[str]]:
    return {"Fn::GetAtt": [name, attribute]}


def tags(**values: str) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in values.items()]


def as_map(found: list[dict[str, str]]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in found}


class Deployed:
    """A stack that must always succeed."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.name = ""

    def __call__(self, resources: dict[str, Any], **more: Any) -> None:
        if self.name:
            self.cloud.update(self.name, resources, **more)
            expected = "UPDATE_COMPLETE"
        else:
            self.name = self.cloud.create(resources, **more)
            expected = "CREATE_COMPLETE"
        assert self.cloud.status(self.name) == expected, self.cloud.reasons(self.name)

    def __getitem__(self, logical: str) -> str:
        return self.cloud.physical(self.name, logical)

    def delete(self) -> None:
        """What it made must be deletable."""
        stack = self.cloud.stack(self.name)["StackId"]
        self.cloud.delete(self.name)
        assert self.cloud.status(stack) == "DELETE_COMPLETE", self.cloud.reasons(stack)
