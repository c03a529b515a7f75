"""The orchestrator's login to the database, made as the stack is."""

from __future__ import annotations

import hashlib

from aws_cdk import CustomResource, Duration, RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from stacks import assets
from stacks.constructs.workflow_database import NAME, WorkflowDatabase

# cdk-nag finds it when there is a newer one.
_RUNTIME = lambda_.Runtime.PYTHON_3_14
_SECONDS = 300  # a cluster that sleeps is waited for


class DatabaseLogin(Construct):
    """A role in PostgreSQL that logs in by IAM, and nothing else can be done with.

    Only the master can make it, so a function does as the stack is deployed: an environment is
    whole after `cdk deploy`. It is outside of the VPC, with the Data API as its only way in. It is
    run again when cluster, user or its own code changes.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        database: WorkflowDatabase,
        user: str,
        log_retention: logs.RetentionDays,
    ) -> None:
        super().__init__(scope, id)
        code = assets.script("database_login.py")
        group = logs.LogGroup(
            self, "Log", retention=log_retention, removal_policy=RemovalPolicy.DESTROY
        )
        role = iam.Role(
            self,
            "Role",
            description="Makes the orchestrator's login to the database",
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
        )
        policy = iam.Policy(
            self,
            "Policy",
            roles=[role],
            statements=[
                iam.PolicyStatement(
                    sid="ActAsMaster",
                    actions=["rds-data:ExecuteStatement"],
                    resources=[database.arn],
                ),
                iam.PolicyStatement(
                    sid="ReadMastersSecret",
                    actions=["secretsmanager:GetSecretValue"],
                    resources=[database.secret_arn],
                ),
                iam.PolicyStatement(
                    sid="WriteLogs",
                    actions=["logs:CreateLogStream", "logs:PutLogEvents"],
                    resources=[group.log_group_arn],
                ),
            ],
        )
        function = lambda_.CfnFunction(
            self,
            "Function",
            description="Makes the orchestrator's login to the database, as CloudFormation asks",
            code=lambda_.CfnFunction.CodeProperty(zip_file=code),
            handler="index.handler",
            runtime=_RUNTIME.name,
            memory_size=256,
            timeout=_SECONDS,
            role=role.role_arn,
            logging_config=lambda_.CfnFunction.LoggingConfigProperty(
                log_group=group.log_group_name
            ),
        )
        function.node.add_dependency(policy)
        login = CustomResource(
            self,
            "Login",
            resource_type="Custom::DatabaseLogin",
            service_token=function.attr_arn,
            service_timeout=Duration.seconds(_SECONDS + 60),
            properties={
                "Cluster": database.arn,
                "Secret": database.secret_arn,
                "Database": NAME,
                "User": user,
                "Code": hashlib.sha256(code.encode()).hexdigest()[:16],
            },
        )
        login.node.add_dependency(*database.instances)
