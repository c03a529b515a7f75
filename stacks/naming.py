"""Names that are the same before and after a deployment, so that policies can use them."""

from __future__ import annotations

from typing import Literal

QueueKind = Literal["spot", "on-demand", "priority"]


def queue(environment: str, kind: QueueKind) -> str:
    """A job queue: `dev-spot`."""
    return f"{environment}-{kind}"


def job_definition_prefix(environment: str) -> str:
    """What the names of the orchestrator's job definitions begin with, before a hyphen.

    No environment has an underscore in its name, so none begins as another does.
    """
    return f"{environment}_orchestrator"


def job_log_group(environment: str) -> str:
    """The log group of all jobs."""
    return f"/orchestrator/{environment}/jobs"
