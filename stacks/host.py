"""Host: the machine that the orchestrator runs on."""

from __future__ import annotations

from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from constructs import Construct

from stacks import identity
from stacks.constructs import machine_image, published, workflow_database
from stacks.constructs.environment_stack import EnvironmentStack
from stacks.constructs.orchestrator_host import OrchestratorHost
from stacks.contract import ContractStack
from stacks.database import DatabaseStack
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
        database: DatabaseStack,
        contract: ContractStack,
    ) -> None:
        super().__init__(scope, "host", settings=settings, description="the orchestrator's host")
        self.add_stack_dependency(contract)  # which it reads as it boots
        role = published.role(self, settings.environment, identity.ORCHESTRATOR)
        # Before the host, which connects as it starts; and in this stack, not the database's: the
        # rule names both groups, and references go one way.
        access = iam.Policy(
            self,
            "DatabaseAccess",
            roles=[role],
            statements=[database.database.login()],
        )
        host = OrchestratorHost(
            self,
            "Orchestrator",
            settings=settings,
            image=machine_image.of(settings, "host"),
            vpc=network.vpc,
            subnets=network.orchestrator,
            public=network.public_orchestrator,
            role=role,
            key=storage.key,
        )
        ingress = ec2.CfnSecurityGroupIngress(
            self,
            "OrchestratorToDatabase",
            description="From the host of the orchestrator",
            group_id=database.database.security_group.security_group_id,
            source_security_group_id=host.security_group.security_group_id,
            ip_protocol="tcp",
            from_port=workflow_database.PORT,
            to_port=workflow_database.PORT,
        )
        host.group.node.add_dependency(access, ingress)
