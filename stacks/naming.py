"""Names that are the same before and after a deployment, so that policies can use them."""

from __future__ import annotations

from typing import Literal

QueueKind = Literal["spot", "on-demand", "priority"]
PoolName = Literal["main", "arm64", "gpu"]
ImageKind = Literal["x86_64", "arm64", "gpu", "host"]
DockerHubWay = Literal["pull_through", "job_secret", "host_login"]


def queue(environment: str, kind: QueueKind, pool: PoolName = "main") -> str:
    """A job queue: `dev-spot`, `dev-spot-gpu`.

    The pool is last, so that no queue of an environment has the name of another environment's.
    """
    return f"{environment}-{kind}" if pool == "main" else f"{environment}-{kind}-{pool}"


def job_definition_prefix(environment: str) -> str:
    """What the names of the orchestrator's job definitions begin with, before a hyphen.

    No environment has an underscore in its name, so none begins as another does.
    """
    return f"{environment}_orchestrator"


def job_log_group(environment: str) -> str:
    """The log group of all jobs."""
    return f"/orchestrator/{environment}/jobs"


def worker_log_group(environment: str) -> str:
    """The log group of worker hosts: the ECS agent, booting, and what they report."""
    return f"/orchestrator/{environment}/workers"


def host_log_group(environment: str) -> str:
    """The log group of the orchestrator's host: the server, booting, and what it reports."""
    return f"/orchestrator/{environment}/host"


def event_queue(environment: str) -> str:
    """The SQS queue that tells the orchestrator of Batch's events."""
    return f"{environment}-batch-events"


def docker_hub_secret(environment: str, way: DockerHubWay) -> str:
    """The secret with the login to Docker Hub, which the orchestrator keeps. ECR asks for that
    prefix; the others read no such name."""
    if way == "pull_through":
        return f"ecr-pullthroughcache/{docker_hub_prefix(environment)}"
    return f"orchestrator/{environment}/docker-hub"


def docker_hub_prefix(environment: str) -> str:
    """What ECR's repositories with images of Docker Hub begin with: 30 characters at most."""
    return f"{environment}-hub"


def published(environment: str, name: str) -> str:
    """The SSM parameter by which one stack tells another a value that may be replaced."""
    return f"/orchestrator/{environment}/stacks/{name}"


def image(environment: str, kind: ImageKind) -> str:
    """The SSM parameter with the AMI that hosts start from, where the settings give none."""
    return f"/orchestrator/{environment}/images/{kind}"


def event_rule(environment: str, what: str) -> str:
    """An EventBridge rule, whose matches CloudWatch counts under its name."""
    return f"{environment}-jobs-{what.lower()}"


def metrics(environment: str) -> str:
    """The namespace of what hosts report, as CloudWatch knows it."""
    return f"Orchestrator/{environment}"
