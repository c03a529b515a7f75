"""The network: a VPC of its own, the way out, and the free S3 endpoint."""

from __future__ import annotations

import jsii
from aws_cdk import RemovalPolicy
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_logs as logs
from constructs import Construct

from stacks.constructs import retention
from stacks.constructs.environment_stack import EnvironmentStack
from stacks.settings import Settings


class NetworkStack(EnvironmentStack):
    """Where hosts live (`hosts`), and where the database lives (isolated subnets)."""

    def __init__(self, scope: Construct, *, settings: Settings) -> None:
        super().__init__(
            scope, "network", settings=settings, description="VPC, subnets, the way out"
        )
        network = settings.network
        self._zones = [f"{settings.region}{zone}" for zone in network.zones]
        public = network.egress == "public"
        self.hosts = ec2.SubnetSelection(
            subnet_type=ec2.SubnetType.PUBLIC if public else ec2.SubnetType.PRIVATE_WITH_EGRESS
        )
        subnets = [
            ec2.SubnetConfiguration(
                name="public",
                subnet_type=ec2.SubnetType.PUBLIC,
                map_public_ip_on_launch=public,
            ),
            ec2.SubnetConfiguration(
                name="database", subnet_type=ec2.SubnetType.PRIVATE_ISOLATED, cidr_mask=28
            ),
        ]
        if not public:
            subnets.append(
                ec2.SubnetConfiguration(
                    name="hosts", subnet_type=ec2.SubnetType.PRIVATE_WITH_EGRESS
                )
            )
        gateways = {"public": 0, "nat_single": 1, "nat_per_zone": len(network.zones)}
        self.vpc = ec2.Vpc(
            self,
            "Vpc",
            ip_addresses=ec2.IpAddresses.cidr(network.cidr),
            availability_zones=self._zones,
            nat_gateways=gateways[network.egress],
            subnet_configuration=subnets,
            # Jobs move all their data through it: no NAT charge for S3.
            gateway_endpoints={
                "S3": ec2.GatewayVpcEndpointOptions(service=ec2.GatewayVpcEndpointAwsService.S3)
            },
            # Would need a Lambda function; nothing here uses the default group.
            restrict_default_security_group=False,
        )
        if network.flow_logs != "none":
            self.vpc.add_flow_log(
                "FlowLog",
                traffic_type=ec2.FlowLogTrafficType.REJECT,
                destination=ec2.FlowLogDestination.to_cloud_watch_logs(
                    logs.LogGroup(
                        self,
                        "FlowLogs",
                        retention=retention.log_days(settings.log_retention_days),
                        removal_policy=RemovalPolicy.DESTROY,
                    )
                ),
            )

    @property
    @jsii.member(jsii_name="availabilityZones")
    def availability_zones(self) -> list[str]:
        """The zones of the settings: CDK would look them up in the account while synthesising."""
        return self._zones
