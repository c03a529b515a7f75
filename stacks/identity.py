"""Identity: who may do what."""

from __future__ import annotations

from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from stacks.constructs import published
from stacks.constructs.environment_stack import EnvironmentStack
from stacks.constructs.roles import jobs, operator, orchestrator, worker
from stacks.settings import Settings

# The names by which later stacks find the roles. Only they know some of what those must be given
# (assets by their keys, the database), which they do by policies of their own.
WORKER, JOB, EXECUTION, ORCHESTRATOR = "worker-role", "job-role", "execution-role", "host-role"


class IdentityStack(EnvironmentStack):
    """One role a duty; an operator's only where the settings say who operates."""

    def __init__(
        self, scope: Construct, *, settings: Settings, bucket: s3.IBucket, key: kms.IKey | None
    ) -> None:
        super().__init__(scope, "identity", settings=settings, description="roles")
        environment, identity = settings.environment, settings.identity
        keys = [*([key.key_arn] if key else []), *settings.storage.kms_keys]
        self.worker = worker.make(
            self, "WorkerRole", environment=environment, disk_key=key.key_arn if key else None
        )
        self.job = jobs.make(self, "JobRole", bucket=bucket, storage=settings.storage, keys=keys)
        self.execution = jobs.make_execution(
            self,
            "ExecutionRole",
            environment=environment,
            registries=settings.registries,
            keys=keys,
        )
        self.orchestrator = orchestrator.make(
            self,
            "OrchestratorRole",
            settings=settings,
            bucket=bucket,
            job_roles=[self.job.role_arn, self.execution.role_arn, *identity.job_roles],
            keys=keys,
        )
        if identity.operators:
            operator.make(
                self,
                "OperatorRole",
                settings=settings,
                bucket=bucket,
                operators=identity.operators,
                keys=keys,
            )
        for name, role in {
            WORKER: self.worker,
            JOB: self.job,
            EXECUTION: self.execution,
            ORCHESTRATOR: self.orchestrator,
        }.items():
            published.publish_role(self, environment, name, role)
