"""Names that are the same before and after a deployment, so that policies can use them."""

from __future__ import annotations

from typing import Literal

QueueKind = Literal["spot", "on-demand"]


def queue(environment: str, kind: QueueKind) -> str:
    """A job queue: `dev-spot`."""
    return f"{environment}-{kind}"


def job_definition_prefix(environment: str) -> str:
    """What the names of all job definitions begin with that the orchestrator registers."""
    return f"orchestrator-{environment}-"


def job_log_group(environment: str) -> str:
    """The log group of all jobs."""
    return f"/orchestrator/{environment}/jobs"
