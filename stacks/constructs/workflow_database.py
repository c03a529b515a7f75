"""The database of workflows: Aurora Serverless v2, PostgreSQL."""

from __future__ import annotations

from aws_cdk import Duration, RemovalPolicy, Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_rds as rds
from constructs import Construct

from stacks.settings import Database

PORT = 5432
NAME = "orchestrator"
MASTER = "bootstrap"


class WorkflowDatabase(Construct):
    """Encrypted, TLS forced, in subnets without a way out; nobody may connect until let in.

    RDS makes, keeps and rotates the master's secret (`username`, `password`): it is in no template,
    and only the function of `DatabaseLogin` uses it, through the Data API. The orchestrator logs in
    by IAM. `instances` have to be there before anybody answers.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        vpc: ec2.IVpc,
        subnets: ec2.SubnetSelection,
        database: Database,
        key: kms.IKey | None,
        log_retention: logs.RetentionDays,
        removal_policy: RemovalPolicy,
        protected: bool,
    ) -> None:
        super().__init__(scope, id)
        self._database = database
        self.security_group = ec2.SecurityGroup(
            self,
            "SecurityGroup",
            vpc=vpc,
            description="Workflow database: lets in whom other stacks name",
            allow_all_outbound=False,
        )
        engine = rds.DatabaseClusterEngine.aurora_postgres(
            version=rds.AuroraPostgresEngineVersion.of(
                database.engine_version, database.engine_version.partition(".")[0]
            )
        )
        cluster = rds.DatabaseCluster(
            self,
            "Cluster",
            engine=engine,
            vpc=vpc,
            vpc_subnets=subnets,
            security_groups=[self.security_group],
            writer=_instance("Writer"),
            readers=[_instance(f"Reader{n}") for n in range(1, database.readers + 1)],
            serverless_v2_min_capacity=database.min_acu,
            serverless_v2_max_capacity=database.max_acu,
            serverless_v2_auto_pause_duration=(
                Duration.minutes(database.auto_pause_minutes) if database.min_acu == 0 else None
            ),
            default_database_name=NAME,
            port=PORT,
            credentials=rds.Credentials.from_username(MASTER),
            manage_master_user_password=True,
            enable_data_api=True,
            iam_authentication=True,
            storage_encrypted=True,
            storage_encryption_key=key,
            parameter_group=rds.ParameterGroup(
                self,
                "Parameters",
                engine=engine,
                description="Workflow database: no connection without TLS",
                parameters={"rds.force_ssl": "1"},
            ),
            backup=rds.BackupProps(retention=Duration.days(database.backup_days)),
            copy_tags_to_snapshot=True,
            deletion_protection=protected,
            removal_policy=removal_policy,
        )
        resource = cluster.node.default_child
        assert isinstance(resource, rds.CfnDBCluster)
        self.instances = [
            child for child in cluster.node.find_all() if isinstance(child, rds.CfnDBInstance)
        ]
        self._log(resource, log_retention)
        self.identifier = cluster.cluster_identifier
        self.host = cluster.cluster_endpoint.hostname
        self.port = cluster.cluster_endpoint.port  # a token: what the deployed cluster says
        self.arn = cluster.cluster_arn
        self.secret_arn = resource.attr_master_user_secret_secret_arn
        self._resource_id = resource.attr_db_cluster_resource_id

    def login(self) -> iam.PolicyStatement:
        """What whoever connects for the orchestrator must be allowed."""
        if self._database.login == "secret":
            return iam.PolicyStatement(
                sid="ReadDatabaseSecret",
                actions=["secretsmanager:GetSecretValue"],
                resources=[self.secret_arn],
            )
        stack = Stack.of(self)
        return iam.PolicyStatement(
            sid="LogInToDatabase",
            actions=["rds-db:connect"],
            resources=[
                f"arn:{stack.partition}:rds-db:{stack.region}:{stack.account}"
                f":dbuser:{self._resource_id}/{self._database.user}"
            ],
        )

    def _log(self, resource: rds.CfnDBCluster, days: logs.RetentionDays) -> None:
        """Its log in CloudWatch, in a group that forgets.

        RDS makes the group when an instance first writes, for ever and in the way of ours. The name
        has the cluster's in it: so the group comes after the cluster, and before any instance.
        """
        resource.enable_cloudwatch_logs_exports = ["postgresql"]
        group = logs.LogGroup(
            self,
            "Log",
            log_group_name=f"/aws/rds/cluster/{resource.ref}/postgresql",
            retention=days,
            removal_policy=RemovalPolicy.DESTROY,
        )
        for instance in self.instances:
            instance.node.add_dependency(group)


def _instance(name: str) -> rds.IClusterInstance:
    return rds.ClusterInstance.serverless_v2(
        name,
        publicly_accessible=False,
        auto_minor_version_upgrade=True,
        scale_with_writer=None if name == "Writer" else True,
    )
