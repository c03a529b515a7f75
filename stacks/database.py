"""The database stack."""

from __future__ import annotations

from aws_cdk import aws_kms as kms
from constructs import Construct

from stacks.constructs import retention
from stacks.constructs.database_login import DatabaseLogin
from stacks.constructs.environment_stack import EnvironmentStack
from stacks.constructs.workflow_database import WorkflowDatabase
from stacks.network import NetworkStack
from stacks.settings import Settings


class DatabaseStack(EnvironmentStack):
    """The memory of every workflow, and the orchestrator's login to it."""

    def __init__(
        self, scope: Construct, *, settings: Settings, network: NetworkStack, key: kms.IKey | None
    ) -> None:
        super().__init__(
            scope, "database", settings=settings, description="workflow database", holds_data=True
        )
        days = retention.log_days(settings.log_retention_days)
        self.database = WorkflowDatabase(
            self,
            "Workflows",
            vpc=network.vpc,
            subnets=network.database,
            database=settings.database,
            key=key,
            log_retention=days,
            removal_policy=retention.database(settings),
            protected=settings.retention == "keep",
        )
        if settings.database.login == "iam":
            DatabaseLogin(
                self,
                "Login",
                database=self.database,
                user=settings.database.user,
                log_retention=days,
            )
