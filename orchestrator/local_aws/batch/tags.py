"""The rules for tags: at most 50, keys of 1 to 128 characters, values of at most 256."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.local_aws.batch.refusals import refuse

MOST = 50


def checked(given: Mapping[str, str] | None) -> dict[str, str]:
    """The tags of a request. Raises ClientException."""
    tags = dict(given or {})
    if len(tags) > MOST:
        refuse(f"{len(tags)} tags are given; at most {MOST} are allowed")
    for key, value in tags.items():
        if not 1 <= len(key) <= 128 or len(value) > 256:
            refuse(f"tag {key[:128]!r}: keys have 1 to 128 characters, values at most 256")
        if key.lower().startswith("aws:"):
            refuse(f"tag {key!r}: keys that start with aws: are reserved")
    return tags
