"""Identity: who may do what."""

from __future__ import annotations

from aws_cdk import aws_s3 as s3
from constructs import Construct

from stacks.constructs import roles
from stacks.constructs.environment_stack import EnvironmentStack
from stacks.settings import Settings


class IdentityStack(EnvironmentStack):
    """The four roles. Later stacks give them what only they know, by policies of their own."""

    def __init__(self, scope: Construct, *, settings: Settings, bucket: s3.IBucket) -> None:
        super().__init__(scope, "identity", settings=settings, description="roles")
        self.worker = roles.worker(self, "WorkerRole")
        self.job = roles.job(self, "JobRole", bucket=bucket, storage=settings.storage)
        self.execution = roles.execution(self, "ExecutionRole", environment=settings.environment)
        self.orchestrator = roles.orchestrator(
            self,
            "OrchestratorRole",
            environment=settings.environment,
            bucket=bucket,
            storage=settings.storage,
            job_roles=[self.job, self.execution],
        )
