"""EC2: a launch template's later versions keep their user data as the first one does.

moto wraps it in its own type in CreateLaunchTemplate only, and fails at whatever starts instances
of a version made by CreateLaunchTemplateVersion.
"""

from __future__ import annotations

import functools
from typing import Any

from orchestrator.local_aws.moto_patches import replace


def apply() -> None:
    """Patch moto.ec2. Raises MotoChanged."""
    from moto.ec2.models.launch_templates import LaunchTemplate

    replace(LaunchTemplate, "create_version", _with_user_data)


def _with_user_data(original: Any) -> Any:
    from moto.core.types import Base64EncodedString

    @functools.wraps(original)
    def create_version(template: Any, data: dict[str, Any], description: str) -> Any:
        given = data.get("UserData")
        if isinstance(given, str):
            data = {**data, "UserData": Base64EncodedString(given)}
        return original(template, data, description)

    return create_version
