"""The database of workflows: Aurora Serverless v2, PostgreSQL."""

from __future__ import annotations

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_rds as rds
from constructs import Construct

from stacks.settings import Database

PORT = 5432
NAME = "orchestrator"


class WorkflowDatabase(Construct):
    """Encrypted, TLS forced, in subnets without a way out; nobody may connect until let in.

    RDS makes, keeps and rotates the master secret (`username`, `password`): it is in no template.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        vpc: ec2.IVpc,
        database: Database,
        removal_policy: RemovalPolicy,
        protected: bool,
    ) -> None:
        super().__init__(scope, id)
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
            vpc_subnets=ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_ISOLATED),
            security_groups=[self.security_group],
            writer=rds.ClusterInstance.serverless_v2("Writer", publicly_accessible=False),
            serverless_v2_min_capacity=database.min_acu,
            serverless_v2_max_capacity=database.max_acu,
            serverless_v2_auto_pause_duration=(
                Duration.minutes(database.auto_pause_minutes) if database.min_acu == 0 else None
            ),
            default_database_name=NAME,
            port=PORT,
            credentials=rds.Credentials.from_username("orchestrator"),
            manage_master_user_password=True,
            iam_authentication=True,
            storage_encrypted=True,
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
        self.host = cluster.cluster_endpoint.hostname
        self.port = cluster.cluster_endpoint.port  # a token: what the deployed cluster says
        self.secret_arn = resource.attr_master_user_secret_secret_arn
