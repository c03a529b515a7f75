"""Host: the deployment contract, and the machine that the orchestrator runs on."""

from __future__ import annotations

from constructs import Construct

from orchestrator import deployment
from stacks import naming
from stacks.compute import ComputeStack
from stacks.constructs import workflow_database
from stacks.constructs.deployment_contract import DeploymentContract
from stacks.constructs.environment_stack import EnvironmentStack
from stacks.constructs.orchestrator_host import OrchestratorHost
from stacks.database import DatabaseStack
from stacks.identity import IdentityStack
from stacks.network import NetworkStack
from stacks.settings import Settings
from stacks.storage import StorageStack


class HostStack(EnvironmentStack):
    """What the orchestrator needs beside what the other stacks built."""

    def __init__(
        self,
        scope: Construct,
        *,
        settings: Settings,
        network: NetworkStack,
        storage: StorageStack,
        identity: IdentityStack,
        database: DatabaseStack,
        compute: ComputeStack,
    ) -> None:
        super().__init__(
            scope, "host", settings=settings, description="deployment contract and orchestrator"
        )
        # The contract is the last to appear: whoever reads it finds all that it names.
        self.add_stack_dependency(compute)
        self.contract = DeploymentContract(
            self,
            "Contract",
            contract=_contract(settings, storage, identity, database, compute),
            database_port=database.database.port,
        )
        if settings.host.enabled:
            OrchestratorHost(
                self,
                "Orchestrator",
                host=settings.host,
                environment=settings.environment,
                contract=self.contract.parameter,
                vpc=network.vpc,
                subnets=network.hosts,
                role=identity.orchestrator,
                database_security_group=database.database.security_group,
                database_secret_arn=database.database.secret_arn,
            )


def _contract(
    settings: Settings,
    storage: StorageStack,
    identity: IdentityStack,
    database: DatabaseStack,
    compute: ComputeStack,
) -> deployment.Deployment:
    default = naming.queue(settings.environment, settings.compute.default_queue)
    return deployment.Deployment(
        environment=settings.environment,
        account=settings.account,
        region=settings.region,
        bucket=storage.root.bucket.bucket_name,
        root=storage.root.root,
        scratch_root=storage.root.scratch_root,
        queues=compute.queues,
        default_queue_arn=next(q.arn for q in compute.queues if q.name == default),
        job_role_arn=identity.job.role_arn,
        execution_role_arn=identity.execution.role_arn,
        log_group=compute.job_log_group,
        job_definition_prefix=naming.job_definition_prefix(settings.environment),
        tools_path=settings.worker.tools_path,
        scratch_path=settings.worker.scratch_path,
        database=deployment.Database(
            host=database.database.host,
            port=workflow_database.PORT,
            name=workflow_database.NAME,
            secret_arn=database.database.secret_arn,
        ),
    )
