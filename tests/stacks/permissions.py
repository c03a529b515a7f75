"""What a role may do: IAM's decision on the statements of a synthesised role.

Source: IAM User Guide, "Policy evaluation logic" and "Policy variables".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from orchestrator.local_aws import policies
from tests.stacks.deployed import Role

_VARIABLE = re.compile(r"\$\{([A-Za-z0-9:/_.-]+)\}")
_ABSENT = "no-such-key-in-this-request"


def is_allowed(
    role: Role, action: str, resource: str, context: Mapping[str, str] | None = None
) -> bool:
    """Whether the role's policies allow one request. A key not in `context` is absent."""
    given = {key.lower(): value for key, value in (context or {}).items()}
    text = _VARIABLE.sub(
        lambda match: given.get(match[1].lower(), _ABSENT), json.dumps(role.statements)
    )
    document: dict[str, Any] = {"Statement": json.loads(text)}
    decision = policies.decide(document, "any", action, resource, context or {})
    return decision is policies.Decision.ALLOWED
