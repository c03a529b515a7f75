"""Resource types against CloudFormation's own schemas of them, as cfn-lint carries them."""

from __future__ import annotations

from typing import Any

import pytest
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

from orchestrator.local_aws.cloudformation import resources

# AWS's documentation says otherwise than its schema: a change gives a new physical id, no more.
_IN_PLACE = {"AWS::EC2::SubnetRouteTableAssociation": {"RouteTableId"}}
_WITHOUT_SCHEMA = {"AWS::CDK::Metadata"}


def schema_of(name: str) -> dict[str, Any]:
    found: dict[str, Any] = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", name).schema
    return found


def whole(schema: dict[str, Any], kind: str) -> set[str]:
    """Properties of a kind, without those of which only a part is."""
    paths = [path.split("/") for path in schema.get(kind, [])]
    return {path[2] for path in paths if len(path) == 3}


@pytest.mark.parametrize("name", sorted(resources.TYPES.keys() - _WITHOUT_SCHEMA))
def test_a_type_has_properties_of_aws_and_replaces_where_aws_does(name: str) -> None:
    kind, schema = resources.TYPES[name], schema_of(name)
    known = kind.updatable | kind.replacing | kind.unchangeable
    assert known <= schema["properties"].keys()
    create_only = whole(schema, "createOnlyProperties") - _IN_PLACE.get(name, set())
    assert not create_only & kind.updatable
    assert not kind.updatable & kind.replacing
    assert not kind.updatable & kind.unchangeable
    assert not known & whole(schema, "readOnlyProperties")
