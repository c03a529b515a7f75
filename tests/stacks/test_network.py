from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Match, Template

from stacks.constructs.interface_endpoints import ENDPOINTS, InterfaceEndpoints
from tests.stacks.recorded import RECORDED
from tests.stacks.test_matrix import EXISTING


def test_s3_is_reached_through_the_free_gateway_endpoint(
    templates: Mapping[str, Template],
) -> None:
    templates["network"].has_resource_properties(
        "AWS::EC2::VPCEndpoint", {"VpcEndpointType": "Gateway", "RouteTableIds": Match.any_value()}
    )


def test_the_default_way_out_is_one_nat_gateway_and_no_public_addresses(
    templates: Mapping[str, Template],
) -> None:
    network = templates["network"]
    network.resource_count_is("AWS::EC2::NatGateway", 1)
    subnets = network.find_resources("AWS::EC2::Subnet")
    assert len(subnets) == 6
    assert not any(s["Properties"]["MapPublicIpOnLaunch"] for s in subnets.values())


def test_the_public_way_out_has_no_nat_gateway_and_gives_hosts_addresses(
    synthesise: Callable[..., Mapping[str, Template]],
) -> None:
    made = synthesise(**{"set.network.egress": "public"})
    made["network"].resource_count_is("AWS::EC2::NatGateway", 0)
    subnets = made["network"].find_resources("AWS::EC2::Subnet")
    public = {n for n, s in subnets.items() if s["Properties"]["MapPublicIpOnLaunch"]}
    assert len(public) == 2
    for environment in made["compute"].find_resources("AWS::Batch::ComputeEnvironment").values():
        used = environment["Properties"]["ComputeResources"]["Subnets"]
        assert all("hostsSubnet" in subnet["Fn::ImportValue"] for subnet in used)


def test_nat_per_zone_has_a_gateway_in_each_zone(
    synthesise: Callable[..., Mapping[str, Template]],
) -> None:
    made = synthesise(**{"set.network.egress": "nat_per_zone"})
    made["network"].resource_count_is("AWS::EC2::NatGateway", 2)


def test_the_database_subnets_have_no_way_out(bodies: Mapping[str, dict[str, Any]]) -> None:
    resources = bodies["network"]["Resources"]
    tables = {n for n, r in resources.items() if r["Type"] == "AWS::EC2::RouteTable"}
    isolated = {n for n in tables if "database" in n}
    assert len(isolated) == 2
    for entry in resources.values():
        if entry["Type"] == "AWS::EC2::Route":
            assert entry["Properties"]["RouteTableId"]["Ref"] not in isolated


def test_zones_come_from_the_settings_and_nothing_is_looked_up(
    templates: Mapping[str, Template],
) -> None:
    subnets = templates["network"].find_resources("AWS::EC2::Subnet").values()
    assert {s["Properties"]["AvailabilityZone"] for s in subnets} == {"us-east-1a", "us-east-1b"}


@pytest.mark.parametrize(
    ("wanted", "logged"), [("all", ["ALL"]), ("rejected", ["REJECT"]), ("none", [])]
)
def test_traffic_is_logged_as_the_settings_say(
    synthesise: Callable[..., Mapping[str, Template]], wanted: str, logged: list[str]
) -> None:
    network = synthesise(**{"set.network.flow_logs": wanted})["network"]
    found = network.find_resources("AWS::EC2::FlowLog").values()
    assert [entry["Properties"]["TrafficType"] for entry in found] == logged
    for group in network.find_resources("AWS::Logs::LogGroup").values():
        assert group["Properties"]["RetentionInDays"] == 30


def test_nobody_is_let_in_from_the_internet(
    resources: list[tuple[str, str, str, dict[str, Any]]],
) -> None:
    rules = []
    for _, name, kind, entry in resources:
        properties = entry.get("Properties", {})
        if kind == "AWS::EC2::SecurityGroup":
            rules += [(name, rule) for rule in properties.get("SecurityGroupIngress", [])]
        if kind == "AWS::EC2::SecurityGroupIngress":
            rules.append((name, properties))
    # The one rule there is: the orchestrator's host to the database.
    ((_, rule),) = rules
    assert "CidrIp" not in rule
    assert "CidrIpv6" not in rule
    assert (rule["IpProtocol"], rule["FromPort"], rule["ToPort"]) == ("tcp", 5432, 5432)


def test_sizes_are_chosen_and_the_widest_subnets_come_first(
    synthesise: Callable[..., Mapping[str, Template]],
) -> None:
    made = synthesise(
        **{
            "set.network.cidr": "10.9.0.0/22",
            "set.network.host_prefix_length": 24,
            "set.network.public_prefix_length": 27,
            "set.network.database_prefix_length": 28,
        }
    )
    subnets = made["network"].find_resources("AWS::EC2::Subnet")
    assert sorted(s["Properties"]["CidrBlock"] for s in subnets.values()) == [
        "10.9.0.0/24",
        "10.9.1.0/24",
        "10.9.2.0/27",
        "10.9.2.32/27",
        "10.9.2.64/28",
        "10.9.2.80/28",
    ]


def test_without_internet_there_is_an_endpoint_for_each_service_that_hosts_may_call(
    synthesise: Callable[..., Mapping[str, Template]],
) -> None:
    made = synthesise(**{"set.network.egress": "endpoints"})
    network = made["network"]
    for kind in ("AWS::EC2::NatGateway", "AWS::EC2::InternetGateway", "AWS::EC2::EIP"):
        network.resource_count_is(kind, 0)
    interfaces = {
        entry["Properties"]["ServiceName"].removeprefix("com.amazonaws.us-east-1."): entry
        for entry in network.find_resources("AWS::EC2::VPCEndpoint").values()
        if entry["Properties"]["VpcEndpointType"] == "Interface"
    }
    assert {"batch", "ecr.api", "ecr.dkr", "ecs", "ecs-agent", "ecs-telemetry", "ec2"} <= set(
        interfaces
    )
    assert {"logs", "sqs", "ssm", "ssmmessages", "cloudformation"} <= set(interfaces)
    called = set()
    for part, template in made.items():
        if part == "database":
            continue  # its function is not in the VPC
        for policy in template.find_resources("AWS::IAM::Policy").values():
            for statement in policy["Properties"]["PolicyDocument"]["Statement"]:
                actions = statement["Action"]
                for action in actions if isinstance(actions, list) else [actions]:
                    called.add(action.partition(":")[0])
    expected = {
        endpoint.short_name for service in called - {"s3"} for endpoint in ENDPOINTS[service]
    }
    assert interfaces.keys() == expected
    for entry in interfaces.values():
        assert entry["Properties"]["PrivateDnsEnabled"] is True
        assert len(entry["Properties"]["SubnetIds"]) == 2
    (group,) = [
        g["Properties"]
        for n, g in network.find_resources("AWS::EC2::SecurityGroup").items()
        if n.startswith("Endpoints")
    ]
    (rule,) = group["SecurityGroupIngress"]
    assert rule["CidrIp"] == {"Fn::GetAtt": ["Vpc8378EB38", "CidrBlock"]}
    assert (rule["FromPort"], rule["ToPort"]) == (443, 443)


def test_a_service_without_a_known_endpoint_is_an_error_not_a_job_that_hangs(
    synthesise: Callable[..., Mapping[str, Template]],
) -> None:
    app = cdk.App()
    stack = cdk.Stack(app, "s", env=cdk.Environment(account="123456789012", region="us-east-1"))
    vpc = cdk.aws_ec2.Vpc.from_vpc_attributes(
        stack, "v", vpc_id="vpc-0a1b2c3d", availability_zones=["us-east-1a"]
    )
    with pytest.raises(LookupError, match="teleport"):
        InterfaceEndpoints(
            stack,
            "e",
            vpc=vpc,
            cidr="10.0.0.0/16",
            subnet_ids=[],
            services=frozenset({"s3", "teleport"}),
        )


def test_an_existing_network_is_used_as_the_settings_describe_it(
    synthesise: Callable[..., Mapping[str, Template]],
) -> None:
    made = synthesise(**{"set.network.egress": "existing", "set.network.existing": EXISTING})
    network = made["network"]
    for kind in ("AWS::EC2::VPC", "AWS::EC2::Subnet", "AWS::EC2::Route"):
        network.resource_count_is(kind, 0)
    network.has_resource_properties(
        "AWS::EC2::VPCEndpoint",
        {
            "VpcEndpointType": "Gateway",
            "VpcId": "vpc-0a1b2c3d",
            "RouteTableIds": ["rtb-0a1b2c3d"],
        },
    )
    for entry in made["compute"].find_resources("AWS::Batch::ComputeEnvironment").values():
        assert entry["Properties"]["ComputeResources"]["Subnets"] == ["subnet-0a1b2c3d"]
    made["database"].has_resource_properties(
        "AWS::RDS::DBSubnetGroup", {"SubnetIds": ["subnet-0a1b2c3e", "subnet-0a1b2c3f"]}
    )
    theirs = synthesise(
        **{
            "set.network.egress": "existing",
            "set.network.existing": EXISTING | {"s3_endpoint": "existing", "route_tables": []},
        }
    )
    theirs["network"].resource_count_is("AWS::EC2::VPCEndpoint", 0)


def test_every_service_that_was_called_has_a_way(
    synthesise: Callable[..., Mapping[str, Template]],
) -> None:
    """`tests/acceptance/test_who_calls_what.py` holds the list against what runs call."""
    made = synthesise(**{"set.network.egress": "endpoints", "set.database.login": "secret"})
    reached = {
        entry["Properties"]["ServiceName"].removeprefix("com.amazonaws.us-east-1.")
        for entry in made["network"].find_resources("AWS::EC2::VPCEndpoint").values()
        if entry["Properties"]["VpcEndpointType"] == "Interface"
    }
    services = {call.service for call in RECORDED}
    assert {"batch", "logs", "s3", "ssm"} <= services
    for service in services - {"s3"}:
        assert {endpoint.short_name for endpoint in ENDPOINTS[service]} <= reached, service


@pytest.mark.parametrize("egress", ["nat_single", "nat_per_zone", "public", "endpoints"])
def test_the_way_out_can_be_changed_later(
    synthesise: Callable[..., Mapping[str, Template]], egress: str
) -> None:
    """What is in use stays where it is: the same subnets, with the same ranges."""

    def in_use(made: Mapping[str, Template]) -> dict[str, str]:
        return {
            name: entry["Properties"]["CidrBlock"]
            for name, entry in made["network"].find_resources("AWS::EC2::Subnet").items()
            if "public" not in name
        }

    first, then = synthesise(), synthesise(**{"set.network.egress": egress})
    assert len(in_use(first)) == 4
    assert in_use(then) == in_use(first)
