"""What a resource type is to the engine, and what it gets to act with.

A type declares the properties it knows, which of them it can change in place and which need a
replacement; everything else is refused by name before anything is called.
"""

from __future__ import annotations

import re
import secrets
import string
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from orchestrator.local_aws.cloudformation.errors import ResourceFailed

Properties = Mapping[str, Any]


@dataclass(frozen=True)
class Made:
    """What a create or update leaves: the physical id (what Ref gives) and GetAtt's values."""

    physical_id: str
    attributes: Mapping[str, Any]


@dataclass(frozen=True)
class Request:
    """One resource to be created, updated or deleted."""

    clients: Callable[[str], Any]
    account: str
    region: str
    stack_name: str
    stack_tags: Mapping[str, str]
    logical_id: str
    properties: Properties
    physical_id: str = ""
    old: Properties | None = None
    old_stack_tags: Mapping[str, str] = field(default_factory=dict)
    update_policy: Mapping[str, Any] = field(default_factory=dict)
    begun: list[str] = field(default_factory=list)
    """A create of several calls puts the physical id here after the first: a later call may fail,
    then `delete` is called with it."""

    def client(self, service: str) -> Any:
        """A boto3 client of this very AWS."""
        return self.clients(service)

    def get(self, name: str, default: Any = None) -> Any:
        return self.properties.get(name, default)

    def changed(self, *names: str) -> bool:
        """Whether an update changes one of these properties."""
        old = self.old or {}
        return any(old.get(name) != self.properties.get(name) for name in names)

    def pick(self, *names: str) -> dict[str, Any]:
        """These properties, as far as they are given."""
        return {name: self.properties[name] for name in names if name in self.properties}

    def name(self, given: str, limit: int = 128, *, lower: bool = False) -> str:
        """The name that property `given` holds, else one made of stack, logical id and chance."""
        if self.properties.get(given):
            return str(self.properties[given])
        chance = "".join(secrets.choice(string.ascii_uppercase + string.digits) for _ in range(12))
        stack = re.sub(r"[^A-Za-z0-9-]", "-", self.stack_name)
        room = limit - len(chance) - 2
        stack = stack[: max(room - len(self.logical_id), room // 2)]
        logical = self.logical_id[: room - len(stack)]
        name = f"{stack}-{logical}-{chance}"
        return name.lower() if lower else name

    def tags(self, own: Any = None) -> dict[str, str]:
        """Tags of the stack and of the resource (`own`, else its property Tags)."""
        return dict(self.stack_tags) | tag_map(self.get("Tags") if own is None else own)

    def old_tags(self) -> dict[str, str]:
        """What `tags` gave before the update."""
        return dict(self.old_stack_tags) | tag_map((self.old or {}).get("Tags"))

    def dropped_tags(self) -> list[str]:
        """Keys of tags that an update removes."""
        return sorted(self.old_tags().keys() - self.tags().keys())

    def tag_list(self, own: Any = None) -> list[dict[str, str]]:
        return [{"Key": key, "Value": value} for key, value in self.tags(own).items()]


class ResourceType(ABC):
    """One resource type. Names are CloudFormation's."""

    type: ClassVar[str]
    name_property: ClassVar[str | None] = None
    """The property that names it, when a name can be given: such a one cannot be replaced."""
    updatable: ClassVar[frozenset[str]] = frozenset()
    """Properties that change in place."""
    replacing: ClassVar[frozenset[str]] = frozenset()
    """Properties whose change replaces the resource, as AWS documents it."""
    unchangeable: ClassVar[frozenset[str]] = frozenset()
    """Properties that are known, whose change is not supported here."""
    update_policies: ClassVar[frozenset[str]] = frozenset()
    """Members of UpdatePolicy that it can follow."""
    snapshots: ClassVar[bool] = False
    """Whether DeletionPolicy Snapshot is possible."""

    @abstractmethod
    def create(self, request: Request) -> Made: ...

    def update(self, request: Request) -> Made:
        """Bring an existing resource from `request.old` to `request.properties`."""
        raise NotImplementedError(self.type)  # pragma: no cover - only with `updatable` empty

    @abstractmethod
    def delete(self, request: Request) -> None:
        """Remove it; one that is gone already is no error."""

    def snapshot(self, request: Request) -> None:
        """Keep a snapshot before it is deleted."""
        raise ResourceFailed(f"{self.type} has no snapshots")

    def replaces(self, old: Properties, new: Properties) -> bool:
        """Whether this change needs a new resource."""
        return bool(differing(old, new) & self.replacing)

    def check(self, properties: Properties) -> None:
        """Raises ResourceFailed naming each property that is not known here."""
        known = self.updatable | self.replacing | self.unchangeable
        unknown = sorted(properties.keys() - known)
        if unknown:
            raise ResourceFailed(
                f"the local AWS does not support {self._these(unknown)} of {self.type}"
            )

    def check_update_policy(self, policy: Mapping[str, Any]) -> None:
        """Raises ResourceFailed naming each member that is not followed here."""
        unknown = sorted(policy.keys() - self.update_policies)
        if unknown:
            raise ResourceFailed(
                f"the local AWS does not support UpdatePolicy {', '.join(unknown)} of {self.type}"
            )

    def check_change(self, old: Properties, new: Properties) -> None:
        """Raises ResourceFailed naming each property that cannot be changed."""
        fixed = sorted(differing(old, new) - self.updatable)
        if fixed:
            raise ResourceFailed(
                f"the local AWS cannot change {self._these(fixed)} of an existing {self.type}"
            )

    @staticmethod
    def _these(names: Sequence[str]) -> str:
        return f"{'property' if len(names) == 1 else 'properties'} {', '.join(names)}"


def differing(old: Properties, new: Properties) -> set[str]:
    """Names of properties that are not the same."""
    return {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}


def tag_map(tags: Any) -> dict[str, str]:
    """Tags as a map, from either of CloudFormation's two forms."""
    if not tags:
        return {}
    if isinstance(tags, Mapping):
        return {str(key): str(value) for key, value in tags.items()}
    return {str(tag["Key"]): str(tag["Value"]) for tag in tags}


def boolean(value: Any) -> bool:
    """CloudFormation takes "true" for true."""
    return value is True or str(value).lower() == "true"


def lower_keys(value: Any, *, maps: frozenset[str] = frozenset()) -> Any:
    """Keys as Batch, Logs and ECR spell them: first letter small; keys inside `maps` stay."""
    if isinstance(value, list):
        return [lower_keys(item, maps=maps) for item in value]
    if not isinstance(value, Mapping):
        return value
    return {
        key[:1].lower() + key[1:]: item if key in maps else lower_keys(item, maps=maps)
        for key, item in value.items()
    }
