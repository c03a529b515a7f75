from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from aws_cdk.assertions import Match, Template


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
        assert all("publicSubnet" in subnet["Fn::ImportValue"] for subnet in used)


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


@pytest.mark.parametrize("wanted", [True, False])
def test_refused_traffic_is_logged_where_it_is_wanted(
    synthesise: Callable[..., Mapping[str, Template]], wanted: bool
) -> None:
    network = synthesise(**{"set.network.flow_logs": wanted})["network"]
    network.resource_count_is("AWS::EC2::FlowLog", int(wanted))


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
    assert [name for name, _ in rules] == ["OrchestratorToDatabaseC4D9BF8B"]
    for _, rule in rules:
        assert "CidrIp" not in rule
        assert "CidrIpv6" not in rule
        assert (rule["IpProtocol"], rule["FromPort"], rule["ToPort"]) == ("tcp", 5432, 5432)
