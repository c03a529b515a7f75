"""CloudWatch: dashboards have tags; moto gives them to alarms only."""

from __future__ import annotations

import functools
from typing import Any

from orchestrator.local_aws.moto_patches import replace


def apply() -> None:
    """Patch moto.cloudwatch. Raises MotoChanged."""
    from moto.cloudwatch.models import CloudWatchBackend

    replace(CloudWatchBackend, "tag_resource", _tag_resource)


def _tag_resource(original: Any) -> Any:
    @functools.wraps(original)
    def tag_resource(backend: Any, arn: str, tags: dict[str, str]) -> None:
        if any(dashboard.arn == arn for dashboard in list(backend.dashboards.values())):
            backend.tagger.tag_resource(arn, backend.tagger.convert_dict_to_tags_input(tags))
        else:
            original(backend, arn, tags)

    return tag_resource
