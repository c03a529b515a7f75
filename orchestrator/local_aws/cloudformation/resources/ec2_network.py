"""AWS::EC2: VPCs and what lies in them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

from orchestrator.local_aws.cloudformation.errors import ResourceFailed
from orchestrator.local_aws.cloudformation.resources.base import (
    Made,
    Request,
    ResourceType,
    boolean,
)


@contextlib.contextmanager
def absent_is_fine() -> Iterator[None]:
    """EC2 says Invalid...NotFound of what is gone already."""
    try:
        yield
    except ClientError as error:
        if not error.response["Error"]["Code"].endswith(("NotFound", "NotFoundException")):
            raise


def tag_specifications(request: Request, kind: str) -> dict[str, Any]:
    """The TagSpecifications argument of a create call; nothing when there are no tags."""
    tags = request.tag_list()
    return {"TagSpecifications": [{"ResourceType": kind, "Tags": tags}]} if tags else {}


def sync_tags(request: Request) -> None:
    """Bring the tags of an existing resource to what the template says."""
    ec2 = request.client("ec2")
    if dropped := request.dropped_tags():
        ec2.delete_tags(Resources=[request.physical_id], Tags=[{"Key": key} for key in dropped])
    if tags := request.tag_list():
        ec2.create_tags(Resources=[request.physical_id], Tags=tags)


class Tagged(ResourceType):
    """A resource whose tags change in place and whose other properties may too."""

    updatable = frozenset({"Tags"})

    def update(self, request: Request) -> Made:
        sync_tags(request)
        return self.describe(request, request.physical_id)

    def describe(self, request: Request, physical_id: str) -> Made:
        """Physical id and attributes of an existing one."""
        raise NotImplementedError


class Vpc(Tagged):
    type = "AWS::EC2::VPC"
    updatable = frozenset({"EnableDnsHostnames", "EnableDnsSupport", "Tags"})
    replacing = frozenset({"CidrBlock", "InstanceTenancy"})

    def create(self, request: Request) -> Made:
        arguments = request.pick("CidrBlock", "InstanceTenancy")
        answer = request.client("ec2").create_vpc(**arguments, **tag_specifications(request, "vpc"))
        physical_id = answer["Vpc"]["VpcId"]
        request.begun.append(physical_id)
        self._set_dns(request, physical_id)
        return self.describe(request, physical_id)

    def update(self, request: Request) -> Made:
        self._set_dns(request, request.physical_id)
        return super().update(request)

    def describe(self, request: Request, physical_id: str) -> Made:
        ec2 = request.client("ec2")
        vpc = ec2.describe_vpcs(VpcIds=[physical_id])["Vpcs"][0]
        filters = [{"Name": "vpc-id", "Values": [physical_id]}]
        groups = ec2.describe_security_groups(
            Filters=[*filters, {"Name": "group-name", "Values": ["default"]}]
        )["SecurityGroups"]
        acls = ec2.describe_network_acls(
            Filters=[*filters, {"Name": "default", "Values": ["true"]}]
        )["NetworkAcls"]
        associations = vpc.get("CidrBlockAssociationSet", [])
        return Made(
            physical_id,
            {
                "VpcId": physical_id,
                "CidrBlock": vpc["CidrBlock"],
                "CidrBlockAssociations": [a["AssociationId"] for a in associations],
                "DefaultNetworkAcl": acls[0]["NetworkAclId"],
                "DefaultSecurityGroup": groups[0]["GroupId"],
                "Ipv6CidrBlocks": [],
            },
        )

    def delete(self, request: Request) -> None:
        with absent_is_fine():
            request.client("ec2").delete_vpc(VpcId=request.physical_id)

    @staticmethod
    def _set_dns(request: Request, physical_id: str) -> None:
        ec2 = request.client("ec2")
        # In this order: host names need DNS support.
        for name, default in (("EnableDnsSupport", True), ("EnableDnsHostnames", False)):
            value = {"Value": boolean(request.get(name, default))}
            ec2.modify_vpc_attribute(VpcId=physical_id, **{name: value})


class Subnet(Tagged):
    type = "AWS::EC2::Subnet"
    updatable = frozenset({"MapPublicIpOnLaunch", "Tags"})
    replacing = frozenset({"AvailabilityZone", "CidrBlock", "VpcId"})

    def create(self, request: Request) -> Made:
        answer = request.client("ec2").create_subnet(
            **request.pick("AvailabilityZone", "CidrBlock", "VpcId"),
            **tag_specifications(request, "subnet"),
        )
        physical_id = answer["Subnet"]["SubnetId"]
        request.begun.append(physical_id)
        self._set_public(request, physical_id)
        return self.describe(request, physical_id)

    def update(self, request: Request) -> Made:
        self._set_public(request, request.physical_id)
        return super().update(request)

    def describe(self, request: Request, physical_id: str) -> Made:
        ec2 = request.client("ec2")
        subnet = ec2.describe_subnets(SubnetIds=[physical_id])["Subnets"][0]
        acls = ec2.describe_network_acls(
            Filters=[{"Name": "association.subnet-id", "Values": [physical_id]}]
        )["NetworkAcls"]
        associations = [
            a["NetworkAclAssociationId"]
            for acl in acls
            for a in acl["Associations"]
            if a["SubnetId"] == physical_id
        ]
        return Made(
            physical_id,
            {
                "SubnetId": physical_id,
                "AvailabilityZone": subnet["AvailabilityZone"],
                "CidrBlock": subnet["CidrBlock"],
                "Ipv6CidrBlocks": [],
                "NetworkAclAssociationId": associations[0] if associations else "",
                "VpcId": subnet["VpcId"],
            },
        )

    def delete(self, request: Request) -> None:
        with absent_is_fine():
            request.client("ec2").delete_subnet(SubnetId=request.physical_id)

    @staticmethod
    def _set_public(request: Request, physical_id: str) -> None:
        public = {"Value": boolean(request.get("MapPublicIpOnLaunch", False))}
        request.client("ec2").modify_subnet_attribute(
            SubnetId=physical_id, MapPublicIpOnLaunch=public
        )


class RouteTable(Tagged):
    type = "AWS::EC2::RouteTable"
    replacing = frozenset({"VpcId"})

    def create(self, request: Request) -> Made:
        answer = request.client("ec2").create_route_table(
            VpcId=request.get("VpcId"), **tag_specifications(request, "route-table")
        )
        return self.describe(request, answer["RouteTable"]["RouteTableId"])

    def describe(self, request: Request, physical_id: str) -> Made:
        return Made(physical_id, {"RouteTableId": physical_id})

    def delete(self, request: Request) -> None:
        with absent_is_fine():
            request.client("ec2").delete_route_table(RouteTableId=request.physical_id)


_TARGETS = frozenset(
    {
        "EgressOnlyInternetGatewayId",
        "GatewayId",
        "InstanceId",
        "NatGatewayId",
        "NetworkInterfaceId",
        "TransitGatewayId",
        "VpcEndpointId",
        "VpcPeeringConnectionId",
    }
)


class Route(ResourceType):
    type = "AWS::EC2::Route"
    updatable = _TARGETS
    replacing = frozenset({"DestinationCidrBlock", "DestinationIpv6CidrBlock", "RouteTableId"})

    def create(self, request: Request) -> Made:
        request.client("ec2").create_route(**request.properties)
        return self._made(request)

    def update(self, request: Request) -> Made:
        request.client("ec2").replace_route(**request.properties)
        return self._made(request)

    def delete(self, request: Request) -> None:
        names = ("DestinationCidrBlock", "DestinationIpv6CidrBlock", "RouteTableId")
        with absent_is_fine():
            request.client("ec2").delete_route(**request.pick(*names))

    @staticmethod
    def _made(request: Request) -> Made:
        block = request.get("DestinationCidrBlock") or request.get("DestinationIpv6CidrBlock")
        return Made(f"{request.get('RouteTableId')}|{block}", {"CidrBlock": block})


class SubnetRouteTableAssociation(ResourceType):
    type = "AWS::EC2::SubnetRouteTableAssociation"
    updatable = frozenset({"RouteTableId"})
    replacing = frozenset({"SubnetId"})

    def create(self, request: Request) -> Made:
        answer = request.client("ec2").associate_route_table(**request.properties)
        return Made(answer["AssociationId"], {"Id": answer["AssociationId"]})

    def update(self, request: Request) -> Made:
        answer = request.client("ec2").replace_route_table_association(
            AssociationId=request.physical_id, RouteTableId=request.get("RouteTableId")
        )
        return Made(answer["NewAssociationId"], {"Id": answer["NewAssociationId"]})

    def delete(self, request: Request) -> None:
        with absent_is_fine():
            request.client("ec2").disassociate_route_table(AssociationId=request.physical_id)


class InternetGateway(Tagged):
    type = "AWS::EC2::InternetGateway"

    def create(self, request: Request) -> Made:
        answer = request.client("ec2").create_internet_gateway(
            **tag_specifications(request, "internet-gateway")
        )
        return self.describe(request, answer["InternetGateway"]["InternetGatewayId"])

    def describe(self, request: Request, physical_id: str) -> Made:
        return Made(physical_id, {"InternetGatewayId": physical_id})

    def delete(self, request: Request) -> None:
        with absent_is_fine():
            request.client("ec2").delete_internet_gateway(InternetGatewayId=request.physical_id)


class VpcGatewayAttachment(ResourceType):
    type = "AWS::EC2::VPCGatewayAttachment"
    replacing = frozenset({"InternetGatewayId", "VpcId"})

    def create(self, request: Request) -> Made:
        request.client("ec2").attach_internet_gateway(**request.properties)
        return Made(f"IGW|{request.get('VpcId')}", {"AttachmentType": "IGW"})

    def delete(self, request: Request) -> None:
        with absent_is_fine():
            request.client("ec2").detach_internet_gateway(**request.properties)


class Eip(Tagged):
    type = "AWS::EC2::EIP"
    updatable = frozenset({"InstanceId", "Tags"})
    replacing = frozenset({"Domain"})

    def create(self, request: Request) -> Made:
        answer = request.client("ec2").allocate_address(
            Domain=request.get("Domain", "vpc"), **tag_specifications(request, "elastic-ip")
        )
        request.begun.append(answer["PublicIp"])
        self._associate(request, answer["PublicIp"])
        return self.describe(request, answer["PublicIp"])

    def update(self, request: Request) -> Made:
        if request.changed("InstanceId"):
            self._associate(request, request.physical_id)
        made = self.describe(request, request.physical_id)
        ec2 = request.client("ec2")
        allocation = made.attributes["AllocationId"]
        if dropped := request.dropped_tags():
            ec2.delete_tags(Resources=[allocation], Tags=[{"Key": key} for key in dropped])
        if tags := request.tag_list():
            ec2.create_tags(Resources=[allocation], Tags=tags)
        return made

    def describe(self, request: Request, physical_id: str) -> Made:
        addresses = request.client("ec2").describe_addresses(PublicIps=[physical_id])["Addresses"]
        allocation = addresses[0]["AllocationId"]
        return Made(physical_id, {"AllocationId": allocation, "PublicIp": physical_id})

    def delete(self, request: Request) -> None:
        ec2 = request.client("ec2")
        with absent_is_fine():
            address = ec2.describe_addresses(PublicIps=[request.physical_id])["Addresses"][0]
            if address.get("AssociationId"):
                ec2.disassociate_address(AssociationId=address["AssociationId"])
            ec2.release_address(AllocationId=address["AllocationId"])

    @staticmethod
    def _associate(request: Request, address: str) -> None:
        ec2 = request.client("ec2")
        found = ec2.describe_addresses(PublicIps=[address])["Addresses"][0]
        if request.get("InstanceId"):
            ec2.associate_address(
                AllocationId=found["AllocationId"], InstanceId=request.get("InstanceId")
            )
        elif found.get("AssociationId"):
            ec2.disassociate_address(AssociationId=found["AssociationId"])


class NatGateway(Tagged):
    type = "AWS::EC2::NatGateway"
    replacing = frozenset({"AllocationId", "ConnectivityType", "SubnetId"})

    def create(self, request: Request) -> Made:
        answer = request.client("ec2").create_nat_gateway(
            **request.pick("AllocationId", "ConnectivityType", "SubnetId"),
            **tag_specifications(request, "natgateway"),
        )
        return self.describe(request, answer["NatGateway"]["NatGatewayId"])

    def describe(self, request: Request, physical_id: str) -> Made:
        return Made(physical_id, {"NatGatewayId": physical_id})

    def delete(self, request: Request) -> None:
        with absent_is_fine():
            request.client("ec2").delete_nat_gateway(NatGatewayId=request.physical_id)


class VpcEndpoint(Tagged):
    type = "AWS::EC2::VPCEndpoint"
    updatable = frozenset(
        {
            "PolicyDocument",
            "PrivateDnsEnabled",
            "RouteTableIds",
            "SecurityGroupIds",
            "SubnetIds",
            "Tags",
        }
    )
    replacing = frozenset({"ServiceName", "VpcEndpointType", "VpcId"})

    def create(self, request: Request) -> Made:
        names = self.replacing | self.updatable - {"PolicyDocument", "PrivateDnsEnabled", "Tags"}
        arguments = request.pick(*names) | self._policy(request)
        if "PrivateDnsEnabled" in request.properties:
            arguments["PrivateDnsEnabled"] = boolean(request.get("PrivateDnsEnabled"))
        answer = request.client("ec2").create_vpc_endpoint(
            **arguments, **tag_specifications(request, "vpc-endpoint")
        )
        return self.describe(request, answer["VpcEndpoint"]["VpcEndpointId"])

    def update(self, request: Request) -> Made:
        arguments: dict[str, Any] = {}
        for name in ("RouteTableIds", "SecurityGroupIds", "SubnetIds"):
            old, new = set((request.old or {}).get(name, [])), set(request.get(name, []))
            if new - old:
                arguments[f"Add{name}"] = sorted(new - old)
            if old - new:
                arguments[f"Remove{name}"] = sorted(old - new)
        if request.changed("PolicyDocument"):
            policy = self._policy(request)
            arguments |= policy if policy else {"ResetPolicy": True}
        if request.changed("PrivateDnsEnabled"):
            arguments["PrivateDnsEnabled"] = boolean(request.get("PrivateDnsEnabled"))
        if arguments:
            request.client("ec2").modify_vpc_endpoint(
                VpcEndpointId=request.physical_id, **arguments
            )
        return super().update(request)

    def describe(self, request: Request, physical_id: str) -> Made:
        answer = request.client("ec2").describe_vpc_endpoints(VpcEndpointIds=[physical_id])
        endpoint = answer["VpcEndpoints"][0]
        entries = endpoint.get("DnsEntries", [])
        return Made(
            physical_id,
            {
                "Id": physical_id,
                "CreationTimestamp": str(endpoint.get("CreationTimestamp", "")),
                "DnsEntries": [f"{e.get('HostedZoneId', '')}:{e['DnsName']}" for e in entries],
                "NetworkInterfaceIds": endpoint.get("NetworkInterfaceIds", []),
            },
        )

    def delete(self, request: Request) -> None:
        with absent_is_fine():
            request.client("ec2").delete_vpc_endpoints(VpcEndpointIds=[request.physical_id])

    @staticmethod
    def _policy(request: Request) -> dict[str, Any]:
        policy = request.get("PolicyDocument")
        if policy is None:
            return {}
        return {"PolicyDocument": policy if isinstance(policy, str) else json.dumps(policy)}


class FlowLog(Tagged):
    type = "AWS::EC2::FlowLog"
    replacing = frozenset(
        {
            "DeliverLogsPermissionArn",
            "LogDestination",
            "LogDestinationType",
            "LogFormat",
            "LogGroupName",
            "MaxAggregationInterval",
            "ResourceId",
            "ResourceType",
            "TrafficType",
        }
    )

    def create(self, request: Request) -> Made:
        arguments = request.pick(*self.replacing - {"ResourceId"})
        if "MaxAggregationInterval" in arguments:
            arguments["MaxAggregationInterval"] = int(arguments["MaxAggregationInterval"])
        answer = request.client("ec2").create_flow_logs(
            ResourceIds=[request.get("ResourceId")],
            **arguments,
            **tag_specifications(request, "vpc-flow-log"),
        )
        if answer.get("Unsuccessful"):
            raise ResourceFailed(str(answer["Unsuccessful"][0]["Error"]["Message"]))
        return self.describe(request, answer["FlowLogIds"][0])

    def describe(self, request: Request, physical_id: str) -> Made:
        return Made(physical_id, {"Id": physical_id})

    def delete(self, request: Request) -> None:
        with absent_is_fine():
            request.client("ec2").delete_flow_logs(FlowLogIds=[request.physical_id])


TYPES: tuple[ResourceType, ...] = (
    Eip(),
    FlowLog(),
    InternetGateway(),
    NatGateway(),
    Route(),
    RouteTable(),
    Subnet(),
    SubnetRouteTableAssociation(),
    Vpc(),
    VpcEndpoint(),
    VpcGatewayAttachment(),
)
