"""S3: bucket policies with their conditions and principals.

moto looks at neither, so CDK's "deny what does not come by TLS" would deny everything.
Requests on the loopback interface count as secure: aws:SecureTransport is true.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

from __future__ import annotations

import functools
import json
from typing import Any

from orchestrator.local_aws import policies
from orchestrator.local_aws.moto_patches import replace


def apply() -> None:
    """Patch moto.s3. Raises MotoChanged."""
    from moto.s3.models import FakeBucket

    replace(FakeBucket, "get_permission", _get_permission)
    # S3 does not look at the target's policy when logging is switched on; CDK's, which names the
    # bucket that is logged, can only come after both.
    replace(FakeBucket, "_log_permissions_enabled_policy", lambda _: lambda *_, **__: True)


def _get_permission(original: Any) -> Any:
    from moto.iam.access_control import PermissionResult

    answers = {
        policies.Decision.ALLOWED: PermissionResult.PERMITTED,
        policies.Decision.DENIED: PermissionResult.DENIED,
        policies.Decision.NEUTRAL: PermissionResult.NEUTRAL,
    }

    @functools.wraps(original)
    def get_permission(bucket: Any, action: str, resource: str) -> Any:
        if bucket.policy is None:
            return PermissionResult.NEUTRAL
        context = {
            "aws:PrincipalAccount": bucket.account_id,
            "aws:SecureTransport": "true",
            "aws:SourceIp": "127.0.0.1",
        }
        document = json.loads(bucket.policy)
        decision = policies.decide(document, bucket.account_id, action, resource, context)
        return answers[decision]

    return get_permission
