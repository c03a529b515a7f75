"""AWS::EC2: security groups and their rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from orchestrator.local_aws.cloudformation.errors import ResourceFailed
from orchestrator.local_aws.cloudformation.resources.base import Made, Request, ResourceType
from orchestrator.local_aws.cloudformation.resources.ec2_network import (
    Tagged,
    absent_is_fine,
    tag_specifications,
)

_PEERS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "CidrIp": lambda rule: {"IpRanges": [_with_text({"CidrIp": rule["CidrIp"]}, rule)]},
    "CidrIpv6": lambda rule: {"Ipv6Ranges": [_with_text({"CidrIpv6": rule["CidrIpv6"]}, rule)]},
    "SourceSecurityGroupId": lambda rule: _group(rule, "SourceSecurityGroupId"),
    "DestinationSecurityGroupId": lambda rule: _group(rule, "DestinationSecurityGroupId"),
    "SourcePrefixListId": lambda rule: _prefixes(rule, "SourcePrefixListId"),
    "DestinationPrefixListId": lambda rule: _prefixes(rule, "DestinationPrefixListId"),
}
_RULE_KEYS = frozenset({"Description", "FromPort", "IpProtocol", "ToPort", *_PEERS})


def _with_text(peer: dict[str, Any], rule: dict[str, Any]) -> dict[str, Any]:
    return peer | ({"Description": rule["Description"]} if rule.get("Description") else {})


def _group(rule: dict[str, Any], name: str) -> dict[str, Any]:
    return {"UserIdGroupPairs": [_with_text({"GroupId": rule[name]}, rule)]}


def _prefixes(rule: dict[str, Any], name: str) -> dict[str, Any]:
    return {"PrefixListIds": [_with_text({"PrefixListId": rule[name]}, rule)]}


def _permission(rule: dict[str, Any]) -> dict[str, Any]:
    """An IpPermission of one rule. Raises ResourceFailed for a key that is not known."""
    unknown = sorted(rule.keys() - _RULE_KEYS)
    peers = sorted(rule.keys() & _PEERS.keys())
    if unknown or len(peers) != 1:
        raise ResourceFailed(
            f"a security group rule needs exactly one peer and knows no {unknown}; got {peers}"
        )
    permission: dict[str, Any] = {"IpProtocol": str(rule["IpProtocol"])}
    for port in ("FromPort", "ToPort"):
        if port in rule:
            permission[port] = int(rule[port])
    return permission | _PEERS[peers[0]](rule)


class SecurityGroup(Tagged):
    type = "AWS::EC2::SecurityGroup"
    name_property = "GroupName"
    updatable = frozenset({"SecurityGroupEgress", "SecurityGroupIngress", "Tags"})
    replacing = frozenset({"GroupDescription", "GroupName", "VpcId"})

    def create(self, request: Request) -> Made:
        ec2 = request.client("ec2")
        answer = ec2.create_security_group(
            GroupName=request.name("GroupName", 255),
            Description=request.get("GroupDescription"),
            **request.pick("VpcId"),
            **tag_specifications(request, "security-group"),
        )
        physical_id = answer["GroupId"]
        request.begun.append(physical_id)
        if request.get("SecurityGroupIngress"):
            self._allow(request, "ingress", physical_id, request.get("SecurityGroupIngress"))
        if request.get("SecurityGroupEgress"):
            # Given rules stand in place of the one that lets everything out.
            self._forget_default_egress(request, physical_id)
            self._allow(request, "egress", physical_id, request.get("SecurityGroupEgress"))
        return self.describe(request, physical_id)

    def update(self, request: Request) -> Made:
        for name, way in (("SecurityGroupIngress", "ingress"), ("SecurityGroupEgress", "egress")):
            old, new = (request.old or {}).get(name, []), request.get(name, [])
            ec2 = request.client("ec2")
            for rule in (rule for rule in old if rule not in new):
                revoke = getattr(ec2, f"revoke_security_group_{way}")
                revoke(GroupId=request.physical_id, IpPermissions=[_permission(rule)])
            self._allow(request, way, request.physical_id, [r for r in new if r not in old])
            if way == "egress" and old and not new:
                everything = {"IpProtocol": "-1", "CidrIp": "0.0.0.0/0"}
                self._allow(request, way, request.physical_id, [everything])
            if way == "egress" and new and not old:
                self._forget_default_egress(request, request.physical_id)
        return super().update(request)

    def describe(self, request: Request, physical_id: str) -> Made:
        answer = request.client("ec2").describe_security_groups(GroupIds=[physical_id])
        vpc = answer["SecurityGroups"][0].get("VpcId", "")
        return Made(physical_id, {"GroupId": physical_id, "Id": physical_id, "VpcId": vpc})

    def delete(self, request: Request) -> None:
        with absent_is_fine():
            request.client("ec2").delete_security_group(GroupId=request.physical_id)

    @staticmethod
    def _allow(request: Request, way: str, group: str, rules: list[dict[str, Any]]) -> None:
        if rules:
            allow = getattr(request.client("ec2"), f"authorize_security_group_{way}")
            allow(GroupId=group, IpPermissions=[_permission(rule) for rule in rules])

    @staticmethod
    def _forget_default_egress(request: Request, group: str) -> None:
        everything = {"IpProtocol": "-1", "CidrIp": "0.0.0.0/0"}
        request.client("ec2").revoke_security_group_egress(
            GroupId=group, IpPermissions=[_permission(everything)]
        )


class _SecurityGroupRule(ResourceType):
    """A rule that is a resource of its own. Any change replaces it."""

    way: ClassVar[str]

    def create(self, request: Request) -> Made:
        allow = getattr(request.client("ec2"), f"authorize_security_group_{self.way}")
        answer = allow(GroupId=request.get("GroupId"), IpPermissions=[self._permission(request)])
        rules = answer.get("SecurityGroupRules") or []
        physical_id = rules[0]["SecurityGroupRuleId"] if rules else request.logical_id
        return Made(physical_id, {"Id": physical_id})

    def delete(self, request: Request) -> None:
        revoke = getattr(request.client("ec2"), f"revoke_security_group_{self.way}")
        with absent_is_fine():
            revoke(GroupId=request.get("GroupId"), IpPermissions=[self._permission(request)])

    @staticmethod
    def _permission(request: Request) -> dict[str, Any]:
        return _permission({k: v for k, v in request.properties.items() if k != "GroupId"})


class SecurityGroupIngress(_SecurityGroupRule):
    type = "AWS::EC2::SecurityGroupIngress"
    way = "ingress"
    replacing = frozenset(
        {"GroupId", *_RULE_KEYS} - {"DestinationSecurityGroupId", "DestinationPrefixListId"}
    )


class SecurityGroupEgress(_SecurityGroupRule):
    type = "AWS::EC2::SecurityGroupEgress"
    way = "egress"
    replacing = frozenset(
        {"GroupId", *_RULE_KEYS} - {"SourceSecurityGroupId", "SourcePrefixListId"}
    )


TYPES: tuple[ResourceType, ...] = (
    SecurityGroup(),
    SecurityGroupEgress(),
    SecurityGroupIngress(),
)
