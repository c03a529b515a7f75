"""AWS Batch: compute environments without a service role get the service-linked one."""

from __future__ import annotations

import functools
from typing import Any

from orchestrator.local_aws.moto_patches import replace

_ROLE = "AWSServiceRoleForBatch"
_PATH = "/aws-service-role/batch.amazonaws.com/"


def apply() -> None:
    """Patch moto.batch. Raises MotoChanged."""
    from moto.batch.models import BatchBackend

    replace(BatchBackend, "create_compute_environment", _with_service_linked_role)


def _with_service_linked_role(original: Any) -> Any:
    @functools.wraps(original)
    def create_compute_environment(backend: Any, *args: Any, **kwargs: Any) -> Any:
        kwargs["service_role"] = kwargs.get("service_role") or _service_linked_role(backend)
        kwargs["state"] = kwargs.get("state") or "ENABLED"
        return original(backend, *args, **kwargs)

    return create_compute_environment


def _service_linked_role(backend: Any) -> str:
    iam = backend.iam_backend
    for role in iam.get_roles():
        if role.name == _ROLE:
            return str(role.arn)
    trust = (
        '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":'
        '{"Service":"batch.amazonaws.com"},"Action":"sts:AssumeRole"}]}'
    )
    role = iam.create_role(
        role_name=_ROLE,
        assume_role_policy_document=trust,
        path=_PATH,
        permissions_boundary=None,
        description="",
        tags=[],
        max_session_duration="3600",
    )
    return str(role.arn)
