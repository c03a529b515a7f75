"""The network: a VPC of its own or one that is there, the way out, and the free S3 endpoint."""

from __future__ import annotations

from collections.abc import Sequence

import jsii
from aws_cdk import Annotations, RemovalPolicy
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_logs as logs
from constructs import Construct

from stacks.constructs import retention
from stacks.constructs.environment_stack import EnvironmentStack
from stacks.constructs.interface_endpoints import InterfaceEndpoints
from stacks.settings import ExistingNetwork, Network, Settings

_S3 = ec2.GatewayVpcEndpointAwsService.S3
_LOGGED = {"all": ec2.FlowLogTrafficType.ALL, "rejected": ec2.FlowLogTrafficType.REJECT}


class NetworkStack(EnvironmentStack):
    """Where hosts live, and where the database lives.

    `workers`, `orchestrator` and `database` are the subnets of each. `public_workers` and
    `public_orchestrator` tell whether those hosts need an address of their own to get out.
    `hosts` is another name of `workers`.
    """

    def __init__(self, scope: Construct, *, settings: Settings) -> None:
        super().__init__(
            scope, "network", settings=settings, description="VPC, subnets, the way out"
        )
        network = self._network = settings.network
        self._zones = [f"{settings.region}{zone}" for zone in network.zones]
        if network.existing is None:
            self._make()
        else:
            self._take(network.existing)
        self.hosts = self.workers
        self.public_workers = network.egress == "public"
        self.orchestrator = (
            ec2.SubnetSelection(subnet_type=ec2.SubnetType.PUBLIC)
            if settings.host.mode == "public" and network.existing is None
            else self.workers
        )
        self.public_orchestrator = self.public_workers or settings.host.mode == "public"
        if network.flow_logs != "none":
            self._log_flows(settings)

    @property
    @jsii.member(jsii_name="availabilityZones")
    def availability_zones(self) -> list[str]:
        """The zones of the settings: CDK would look them up in the account while synthesising."""
        return self._zones

    def reach(self, services: frozenset[str]) -> None:
        """Give hosts without internet a way to these services of AWS."""
        existing = self._network.existing
        cidr = existing.cidr if existing and existing.cidr else self.vpc.vpc_cidr_block
        InterfaceEndpoints(
            self,
            "Endpoints",
            vpc=self.vpc,
            cidr=cidr,
            subnet_ids=self._worker_subnet_ids(),
            services=services,
        )

    def _make(self) -> None:
        network = self._network
        gateways = {"nat_single": 1, "nat_per_zone": len(network.zones)}
        self.vpc: ec2.IVpc = ec2.Vpc(
            self,
            "Vpc",
            ip_addresses=ec2.IpAddresses.cidr(network.cidr),
            availability_zones=self._zones,
            nat_gateways=gateways.get(network.egress, 0),
            subnet_configuration=_subnets(network),
            # Jobs move all their data through it: no NAT charge for S3.
            gateway_endpoints={"S3": ec2.GatewayVpcEndpointOptions(service=_S3)},
            # Would need a Lambda function; nothing here uses the default group.
            restrict_default_security_group=False,
        )
        self.workers = ec2.SubnetSelection(subnet_group_name="hosts")
        self.database = ec2.SubnetSelection(subnet_group_name="database")

    def _take(self, existing: ExistingNetwork) -> None:
        if existing.look_up:
            self.vpc = ec2.Vpc.from_lookup(self, "Vpc", vpc_id=existing.vpc_id)
        else:
            self.vpc = ec2.Vpc.from_vpc_attributes(
                self,
                "Vpc",
                vpc_id=existing.vpc_id,
                availability_zones=self._zones,
                vpc_cidr_block=existing.cidr or None,
            )
        of_hosts = {
            "public": ec2.SubnetType.PUBLIC,
            "endpoints": ec2.SubnetType.PRIVATE_ISOLATED,
        }.get(self._network.egress, ec2.SubnetType.PRIVATE_WITH_EGRESS)
        self.workers = self._named(existing.host_subnets, "HostSubnet", of_hosts)
        self.database = self._named(
            existing.database_subnets, "DatabaseSubnet", ec2.SubnetType.PRIVATE_ISOLATED
        )
        if existing.s3_endpoint == "create":
            tables = existing.route_tables or [
                subnet.route_table.route_table_id
                for subnet in self.vpc.select_subnets(subnet_type=of_hosts).subnets
            ]
            ec2.CfnVPCEndpoint(
                self,
                "S3Endpoint",
                service_name=_S3.name,
                vpc_endpoint_type="Gateway",
                vpc_id=self.vpc.vpc_id,
                route_table_ids=sorted(set(tables)),
            )

    def _named(
        self, ids: Sequence[str], name: str, otherwise: ec2.SubnetType
    ) -> ec2.SubnetSelection:
        if not ids:
            return ec2.SubnetSelection(subnet_type=otherwise)
        subnets = [ec2.Subnet.from_subnet_id(self, f"{name}-{id}", id) for id in ids]
        for subnet in subnets:  # nothing here asks a subnet for its route table
            Annotations.of(subnet).acknowledge_warning("@aws-cdk/aws-ec2:noSubnetRouteTableId")
        return ec2.SubnetSelection(subnets=subnets)

    def _worker_subnet_ids(self) -> list[str]:
        existing = self._network.existing
        if existing is not None and existing.host_subnets:
            return list(existing.host_subnets)
        return self.vpc.select_subnets(
            subnet_group_name=self.workers.subnet_group_name, subnet_type=self.workers.subnet_type
        ).subnet_ids

    def _log_flows(self, settings: Settings) -> None:
        self.vpc.add_flow_log(
            "FlowLog",
            traffic_type=_LOGGED[settings.network.flow_logs],
            destination=ec2.FlowLogDestination.to_cloud_watch_logs(
                logs.LogGroup(
                    self,
                    "FlowLogs",
                    retention=retention.log_days(settings.log_retention_days),
                    removal_policy=RemovalPolicy.DESTROY,
                )
            ),
        )


def _subnets(network: Network) -> list[ec2.SubnetConfiguration]:
    """Of each kind one a zone. The widest come first: then all of them lie without gaps.

    They are the same whatever the way out is, so that it can be changed later: a subnet whose range
    moves is replaced, and the new one overlaps what is still there. `public` is where NAT gateways
    and a public orchestrator are; its range is kept free where nobody needs it.
    """
    hosts = {
        "public": ec2.SubnetType.PUBLIC,
        "endpoints": ec2.SubnetType.PRIVATE_ISOLATED,
    }.get(network.egress, ec2.SubnetType.PRIVATE_WITH_EGRESS)
    kinds = {
        "database": (ec2.SubnetType.PRIVATE_ISOLATED, network.database_prefix_length),
        "hosts": (hosts, network.host_prefix_length),
        "public": (ec2.SubnetType.PUBLIC, network.public_prefix_length),
    }
    return [
        ec2.SubnetConfiguration(
            name=name,
            subnet_type=kind,
            cidr_mask=length,
            reserved=name == "public" and not network.egress.startswith("nat_"),
            map_public_ip_on_launch=name == "hosts" if kind is ec2.SubnetType.PUBLIC else None,
        )
        for name, (kind, length) in sorted(kinds.items(), key=lambda item: (item[1][1], item[0]))
    ]
