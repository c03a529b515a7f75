"""The database stack."""

from __future__ import annotations

from aws_cdk import aws_ec2 as ec2
from constructs import Construct

from stacks.constructs import retention
from stacks.constructs.environment_stack import EnvironmentStack
from stacks.constructs.workflow_database import WorkflowDatabase
from stacks.settings import Settings


class DatabaseStack(EnvironmentStack):
    """The memory of every workflow."""

    def __init__(self, scope: Construct, *, settings: Settings, vpc: ec2.IVpc) -> None:
        super().__init__(
            scope, "database", settings=settings, description="workflow database", holds_data=True
        )
        self.database = WorkflowDatabase(
            self,
            "Workflows",
            vpc=vpc,
            database=settings.database,
            removal_policy=retention.database(settings),
            protected=settings.retention == "keep",
        )
