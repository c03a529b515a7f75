"""What the ECS agent of a worker host is told.

Source: https://github.com/aws/amazon-ecs-agent (README, "Environment Variables").
"""

from __future__ import annotations

from typing import Any

_CONFIG = "/etc/ecs/ecs.config"


def settings(privileged: bool) -> dict[str, Any]:
    """Its file, for cloud-init: written before the agent starts. Batch appends the cluster."""
    return {
        "path": _CONFIG,
        "append": True,
        "content": "".join(f"{key}={value}\n" for key, value in _values(privileged).items()),
    }


def _values(privileged: bool) -> dict[str, str]:
    values = {
        # Stopped containers keep what they wrote: three hours by default, and disks fill up.
        "ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION": "10m",
        # Images that no job used for an hour; less than 10m would be ignored.
        "ECS_IMAGE_CLEANUP_INTERVAL": "10m",
        "ECS_IMAGE_MINIMUM_CLEANUP_AGE": "1h",
        "ECS_NUM_IMAGES_DELETE_PER_CYCLE": "10",
        # A busy disk makes Docker slow, not broken (DockerTimeoutError).
        "ECS_CONTAINER_CREATE_TIMEOUT": "10m",
        "ECS_CONTAINER_START_TIMEOUT": "10m",
        # A job that is told to stop still sends its logs.
        "ECS_CONTAINER_STOP_TIMEOUT": "90s",
        "ECS_ENABLE_SPOT_INSTANCE_DRAINING": "true",
        # Jobs are in the host's network, and have a role of their own there too.
        "ECS_ENABLE_TASK_IAM_ROLE": "true",
        "ECS_ENABLE_TASK_IAM_ROLE_NETWORK_HOST": "true",
    }
    return values if privileged else values | {"ECS_DISABLE_PRIVILEGED": "true"}
