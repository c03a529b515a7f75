"""Contract: the note that the stacks leave for the orchestrator, when all it names is there."""

from __future__ import annotations

from constructs import Construct

from orchestrator import deployment
from stacks import identity, naming, queues
from stacks.constructs import published, workflow_database
from stacks.constructs.deployment_contract import DeploymentContract
from stacks.constructs.environment_stack import EnvironmentStack
from stacks.database import DatabaseStack
from stacks.settings import Settings
from stacks.storage import StorageStack


class ContractStack(EnvironmentStack):
    """One SSM parameter, `parameter`. The orchestrator's host comes after it, and reads it."""

    def __init__(
        self,
        scope: Construct,
        *,
        settings: Settings,
        storage: StorageStack,
        database: DatabaseStack,
    ) -> None:
        super().__init__(scope, "contract", settings=settings, description="deployment contract")
        self._settings = settings
        self.parameter = DeploymentContract(
            self,
            "Contract",
            contract=self._contract(storage, database),
            database_port=database.database.port,
        ).parameter

    def _contract(self, storage: StorageStack, database: DatabaseStack) -> deployment.Deployment:
        settings = self._settings
        environment = settings.environment
        found = tuple(self._queue(plan) for plan in queues.planned(settings))
        default = naming.queue(environment, settings.compute.default_queue)
        job_role = self._role(identity.JOB)
        return deployment.Deployment(
            release=deployment.release(),
            environment=environment,
            account=settings.account,
            region=settings.region,
            bucket=storage.root.bucket.bucket_name,
            root=storage.root.root,
            scratch_root=storage.root.scratch_root,
            queues=found,
            default_queue_arn=next(q.arn for q in found if q.name == default),
            job_role_arn=job_role,
            job_role_arns=(job_role, *settings.identity.job_roles),
            execution_role_arn=self._role(identity.EXECUTION),
            orchestrator_role_arn=self._role(identity.ORCHESTRATOR),
            fuse_mount=settings.compute.fuse_mount,
            log_group=naming.job_log_group(environment),
            worker_log_group=naming.worker_log_group(environment),
            host_log_group=(naming.host_log_group(environment) if settings.host.enabled else None),
            event_queue_url=f"https://sqs.{self.region}.{self.url_suffix}/{self.account}/"
            f"{naming.event_queue(environment)}",
            job_definition_prefix=naming.job_definition_prefix(environment),
            tools_path=settings.worker.tools_path,
            scratch_path=settings.worker.scratch_path,
            registries=self._registries(),
            database=deployment.Database(
                host=database.database.host,
                port=workflow_database.PORT,
                name=workflow_database.NAME,
                secret_arn=database.database.secret_arn,
                login=settings.database.login,
                user=settings.database.user,
                cluster_arn=database.database.arn,
                pause_seconds=(
                    settings.database.auto_pause_minutes * 60
                    if settings.database.min_acu == 0
                    else None
                ),
            ),
        )

    def _queue(self, plan: queues.Plan) -> deployment.Queue:
        vcpus, memory_mib = plan.pool.largest_job(plan.max_vcpus)
        return deployment.Queue(
            name=plan.name,
            arn=f"arn:{self.partition}:batch:{self.region}:{self.account}:job-queue/{plan.name}",
            kind=plan.kind,
            architecture=plan.pool.architecture,
            max_vcpus=vcpus,
            fair_share=True,  # a queue gets its policy when it is made, or never
            max_memory_mib=memory_mib,
            max_gpus=plan.pool.gpus,
            max_disk_gib=self._settings.worker.data_volume_max_gib,
        )

    def _registries(self) -> deployment.Registries:
        registries = self._settings.registries
        ecr = f"{self.account}.dkr.ecr.{self.region}.{self.url_suffix}"
        rewrites = {rule.registry: f"{ecr}/{rule.prefix}" for rule in registries.pull_through}
        environment, way = self._settings.environment, registries.docker_hub_way
        if way == "pull_through":
            rewrites["docker.io"] = f"{ecr}/{naming.docker_hub_prefix(environment)}"
        return deployment.Registries(
            rewrites=rewrites,
            secrets=dict(registries.job_secrets),
            docker_hub=deployment.DockerHub(
                way=way, secret=naming.docker_hub_secret(environment, way)
            )
            if way
            else None,
            internet=self._settings.network.egress != "endpoints",
        )

    def _role(self, name: str) -> str:
        return published.role_arn(self, self._settings.environment, name)
