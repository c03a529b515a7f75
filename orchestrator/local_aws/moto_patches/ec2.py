"""EC2: later versions of a launch template, and route tables of an endpoint that change.

moto wraps user data in its own type in CreateLaunchTemplate only, and fails at whatever starts
instances of a version made by CreateLaunchTemplateVersion. It adds a gateway endpoint's routes to
the tables of CreateVpcEndpoint only, and cannot delete an endpoint whose tables were changed.
"""

from __future__ import annotations

import functools
from typing import Any

from orchestrator.local_aws.moto_patches import replace


def apply() -> None:
    """Patch moto.ec2. Raises MotoChanged."""
    from moto.ec2.models.launch_templates import LaunchTemplate
    from moto.ec2.models.vpcs import VPCBackend

    replace(LaunchTemplate, "create_version", _with_user_data)
    replace(VPCBackend, "modify_vpc_endpoint", _with_routes)


def _with_user_data(original: Any) -> Any:
    from moto.core.types import Base64EncodedString

    @functools.wraps(original)
    def create_version(template: Any, data: dict[str, Any], description: str) -> Any:
        given = data.get("UserData")
        if isinstance(given, str):
            data = {**data, "UserData": Base64EncodedString(given)}
        return original(template, data, description)

    return create_version


def _with_routes(original: Any) -> Any:
    @functools.wraps(original)
    def modify_vpc_endpoint(backend: Any, vpc_id: str, *arguments: Any, **more: Any) -> None:
        (endpoint,) = backend.describe_vpc_endpoints(vpc_end_point_ids=[vpc_id])
        before = set(endpoint.route_table_ids or [])
        original(backend, vpc_id, *arguments, **more)
        if endpoint.vpc_endpoint_type.lower() == "interface":
            return
        prefixes = endpoint.destination_prefix_list_id
        after = set(endpoint.route_table_ids or [])
        for table in after - before:
            backend.create_route(
                table, None, gateway_id=endpoint.id, destination_prefix_list_id=prefixes
            )
        for table in before - after:
            backend.delete_route(table, prefixes)

    return modify_vpc_endpoint
