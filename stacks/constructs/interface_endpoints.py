"""The way to AWS for hosts that have none to the internet: one interface endpoint a service.

Which services is not a list that somebody keeps: it is what the policies of the environment allow
to call (`called`), so that a permission and the way to use it come together.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from aws_cdk import Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from constructs import Construct, IConstruct

_Service = ec2.InterfaceVpcEndpointAwsService

# The prefix of a service's actions -> its endpoints. Empty: no call of a host's goes there.
ENDPOINTS: Final[dict[str, tuple[ec2.InterfaceVpcEndpointAwsService, ...]]] = {
    "autoscaling": (_Service.AUTOSCALING,),
    "batch": (_Service.BATCH,),
    "cloudformation": (_Service.CLOUDFORMATION,),
    "cloudwatch": (_Service.CLOUDWATCH_MONITORING,),
    "ec2": (_Service.EC2,),
    "ecr": (_Service.ECR, _Service.ECR_DOCKER),
    "ecs": (_Service.ECS, _Service.ECS_AGENT, _Service.ECS_TELEMETRY),
    "events": (_Service.EVENTBRIDGE,),
    "kms": (_Service.KMS,),
    "logs": (_Service.CLOUDWATCH_LOGS,),
    "secretsmanager": (_Service.SECRETS_MANAGER,),
    "sns": (_Service.SNS,),
    "sqs": (_Service.SQS,),
    "ssm": (_Service.SSM,),
    "ssmmessages": (_Service.SSM_MESSAGES,),
    "sts": (_Service.STS,),
    "iam": (),  # iam:PassRole is asked of whoever gets the role
    "rds-db": (),  # a connection to the database
    "s3": (),  # the gateway endpoint, which is free
}


def called(*scopes: IConstruct) -> frozenset[str]:
    """The services whose actions any policy in `scopes` allows."""
    found: set[str] = set()
    for construct in (one for scope in scopes for one in scope.node.find_all()):
        for document in _documents(construct):
            for statement in _list(Stack.of(construct).resolve(document)["Statement"]):
                if statement["Effect"] == "Allow":
                    found |= {action.partition(":")[0] for action in _list(statement["Action"])}
    return frozenset(found)


class InterfaceEndpoints(Construct):
    """Endpoints in `subnets` (one a zone), which let in `cidr`, the VPC's own range, on 443."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        vpc: ec2.IVpc,
        cidr: str,
        subnet_ids: Iterable[str],
        services: frozenset[str],
    ) -> None:
        super().__init__(scope, id)
        group = ec2.SecurityGroup(
            self,
            "SecurityGroup",
            vpc=vpc,
            description="Endpoints of AWS services: hosts of this VPC come in",
            allow_all_outbound=False,
        )
        group.add_ingress_rule(ec2.Peer.ipv4(cidr), ec2.Port.tcp(443), "Hosts of the VPC")
        subnets = list(subnet_ids)
        unknown = sorted(services - ENDPOINTS.keys())
        if unknown:
            raise LookupError(f"no endpoint is known for {', '.join(unknown)}: add it to ENDPOINTS")
        for service in sorted(services):
            for endpoint in ENDPOINTS[service]:
                ec2.CfnVPCEndpoint(
                    self,
                    endpoint.short_name,
                    service_name=endpoint.name,
                    vpc_endpoint_type="Interface",
                    vpc_id=vpc.vpc_id,
                    subnet_ids=subnets,
                    security_group_ids=[group.security_group_id],
                    private_dns_enabled=True,
                )


def _documents(construct: IConstruct) -> list[Any]:
    if isinstance(construct, iam.CfnPolicy | iam.CfnManagedPolicy):
        return [construct.policy_document]
    return []


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
