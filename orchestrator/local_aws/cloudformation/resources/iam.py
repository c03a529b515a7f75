"""AWS::IAM: roles, policies, instance profiles."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

from orchestrator.local_aws.cloudformation.resources.base import Made, Request, ResourceType

_HOLDERS = (("Roles", "role", "RoleName"), ("Users", "user", "UserName"),
            ("Groups", "group", "GroupName"))  # fmt: skip


@contextlib.contextmanager
def _absent_is_fine() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchEntity":
            raise


def _document(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


class Role(ResourceType):
    type = "AWS::IAM::Role"
    name_property = "RoleName"
    updatable = frozenset(
        {
            "AssumeRolePolicyDocument",
            "Description",
            "ManagedPolicyArns",
            "MaxSessionDuration",
            "PermissionsBoundary",
            "Policies",
            "Tags",
        }
    )
    replacing = frozenset({"Path", "RoleName"})

    def create(self, request: Request) -> Made:
        name = request.name("RoleName", 64)
        names = ("Description", "MaxSessionDuration", "Path", "PermissionsBoundary")
        request.client("iam").create_role(
            RoleName=name,
            AssumeRolePolicyDocument=_document(request.get("AssumeRolePolicyDocument")),
            Tags=request.tag_list(),
            **request.pick(*names),
        )
        request.begun.append(name)
        self._sync_policies(request, name, {})
        return self._made(request, name)

    def update(self, request: Request) -> Made:
        iam, name = request.client("iam"), request.physical_id
        if request.changed("AssumeRolePolicyDocument"):
            iam.update_assume_role_policy(
                RoleName=name,
                PolicyDocument=_document(request.get("AssumeRolePolicyDocument")),
            )
        if request.changed("Description", "MaxSessionDuration"):
            iam.update_role(
                RoleName=name,
                Description=request.get("Description", ""),
                MaxSessionDuration=request.get("MaxSessionDuration", 3600),
            )
        if request.changed("PermissionsBoundary"):
            boundary = request.get("PermissionsBoundary")
            if boundary:
                iam.put_role_permissions_boundary(RoleName=name, PermissionsBoundary=boundary)
            else:
                iam.delete_role_permissions_boundary(RoleName=name)
        self._sync_policies(request, name, dict(request.old or {}))
        if dropped := request.dropped_tags():
            iam.untag_role(RoleName=name, TagKeys=dropped)
        if tags := request.tag_list():
            iam.tag_role(RoleName=name, Tags=tags)
        return self._made(request, name)

    def delete(self, request: Request) -> None:
        iam, name = request.client("iam"), request.physical_id
        with _absent_is_fine():
            for arn in request.get("ManagedPolicyArns", []):
                with _absent_is_fine():
                    iam.detach_role_policy(RoleName=name, PolicyArn=arn)
            for policy in request.get("Policies", []):
                with _absent_is_fine():
                    iam.delete_role_policy(RoleName=name, PolicyName=policy["PolicyName"])
            iam.delete_role(RoleName=name)

    @staticmethod
    def _sync_policies(request: Request, name: str, old: dict[str, Any]) -> None:
        iam = request.client("iam")
        before, now = set(old.get("ManagedPolicyArns", [])), request.get("ManagedPolicyArns", [])
        for arn in (arn for arn in now if arn not in before):
            iam.attach_role_policy(RoleName=name, PolicyArn=arn)
        for arn in sorted(before - set(now)):
            iam.detach_role_policy(RoleName=name, PolicyArn=arn)
        inline = {p["PolicyName"]: p["PolicyDocument"] for p in request.get("Policies", [])}
        old_inline = {p["PolicyName"]: p["PolicyDocument"] for p in old.get("Policies", [])}
        for policy, document in inline.items():
            if old_inline.get(policy) != document:
                iam.put_role_policy(
                    RoleName=name, PolicyName=policy, PolicyDocument=_document(document)
                )
        for policy in sorted(old_inline.keys() - inline.keys()):
            iam.delete_role_policy(RoleName=name, PolicyName=policy)

    @staticmethod
    def _made(request: Request, name: str) -> Made:
        role = request.client("iam").get_role(RoleName=name)["Role"]
        return Made(name, {"Arn": role["Arn"], "RoleId": role["RoleId"]})


class InlinePolicy(ResourceType):
    """AWS::IAM::Policy: one document put into roles, users and groups."""

    type = "AWS::IAM::Policy"
    name_property = "PolicyName"
    updatable = frozenset({"Groups", "PolicyDocument", "Roles", "Users"})
    replacing = frozenset({"PolicyName"})

    def create(self, request: Request) -> Made:
        name = request.get("PolicyName")
        request.begun.append(name)
        self._put(request)
        return Made(name, {"Id": name})

    def update(self, request: Request) -> Made:
        self._put(request)
        for key, kind, argument in _HOLDERS:
            for holder in (request.old or {}).get(key, []):
                if holder not in request.get(key, []):
                    self._remove(request, kind, argument, holder)
        return Made(request.physical_id, {"Id": request.physical_id})

    def delete(self, request: Request) -> None:
        for key, kind, argument in _HOLDERS:
            for holder in request.get(key, []):
                self._remove(request, kind, argument, holder)

    @staticmethod
    def _put(request: Request) -> None:
        for key, kind, argument in _HOLDERS:
            for holder in request.get(key, []):
                put = getattr(request.client("iam"), f"put_{kind}_policy")
                put(
                    **{argument: holder},
                    PolicyName=request.get("PolicyName"),
                    PolicyDocument=_document(request.get("PolicyDocument")),
                )

    @staticmethod
    def _remove(request: Request, kind: str, argument: str, holder: str) -> None:
        with _absent_is_fine():
            delete = getattr(request.client("iam"), f"delete_{kind}_policy")
            delete(**{argument: holder}, PolicyName=request.physical_id)


class ManagedPolicy(ResourceType):
    type = "AWS::IAM::ManagedPolicy"
    name_property = "ManagedPolicyName"
    updatable = frozenset({"Groups", "PolicyDocument", "Roles", "Users"})
    replacing = frozenset({"Description", "ManagedPolicyName", "Path"})

    def create(self, request: Request) -> Made:
        policy = request.client("iam").create_policy(
            PolicyName=request.name("ManagedPolicyName"),
            PolicyDocument=_document(request.get("PolicyDocument")),
            **request.pick("Description", "Path"),
        )["Policy"]
        request.begun.append(policy["Arn"])
        self._sync_holders(request, policy["Arn"])
        return Made(policy["Arn"], {"PolicyArn": policy["Arn"], "PolicyId": policy["PolicyId"]})

    def update(self, request: Request) -> Made:
        iam, arn = request.client("iam"), request.physical_id
        if request.changed("PolicyDocument"):
            # AWS keeps five versions; CloudFormation drops the old one.
            for version in iam.list_policy_versions(PolicyArn=arn)["Versions"]:
                if not version["IsDefaultVersion"]:
                    iam.delete_policy_version(PolicyArn=arn, VersionId=version["VersionId"])
            iam.create_policy_version(
                PolicyArn=arn,
                PolicyDocument=_document(request.get("PolicyDocument")),
                SetAsDefault=True,
            )
        self._sync_holders(request, arn)
        policy = iam.get_policy(PolicyArn=arn)["Policy"]
        return Made(arn, {"PolicyArn": arn, "PolicyId": policy["PolicyId"]})

    def delete(self, request: Request) -> None:
        iam, arn = request.client("iam"), request.physical_id
        with _absent_is_fine():
            for key, kind, argument in _HOLDERS:
                for holder in request.get(key, []):
                    with _absent_is_fine():
                        detach = getattr(iam, f"detach_{kind}_policy")
                        detach(**{argument: holder}, PolicyArn=arn)
            for version in iam.list_policy_versions(PolicyArn=arn)["Versions"]:
                if not version["IsDefaultVersion"]:
                    iam.delete_policy_version(PolicyArn=arn, VersionId=version["VersionId"])
            iam.delete_policy(PolicyArn=arn)

    @staticmethod
    def _sync_holders(request: Request, arn: str) -> None:
        iam, old = request.client("iam"), request.old or {}
        for key, kind, argument in _HOLDERS:
            now, before = request.get(key, []), old.get(key, [])
            for holder in (h for h in now if h not in before):
                getattr(iam, f"attach_{kind}_policy")(**{argument: holder}, PolicyArn=arn)
            for holder in (h for h in before if h not in now):
                getattr(iam, f"detach_{kind}_policy")(**{argument: holder}, PolicyArn=arn)


class InstanceProfile(ResourceType):
    type = "AWS::IAM::InstanceProfile"
    name_property = "InstanceProfileName"
    updatable = frozenset({"Roles"})
    replacing = frozenset({"InstanceProfileName", "Path"})

    def create(self, request: Request) -> Made:
        name = request.name("InstanceProfileName", 128)
        iam = request.client("iam")
        iam.create_instance_profile(InstanceProfileName=name, **request.pick("Path"))
        request.begun.append(name)
        for role in request.get("Roles", []):
            iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=role)
        return self._made(request, name)

    def update(self, request: Request) -> Made:
        iam, name = request.client("iam"), request.physical_id
        before, now = (request.old or {}).get("Roles", []), request.get("Roles", [])
        for role in (role for role in before if role not in now):
            iam.remove_role_from_instance_profile(InstanceProfileName=name, RoleName=role)
        for role in (role for role in now if role not in before):
            iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=role)
        return self._made(request, name)

    def delete(self, request: Request) -> None:
        iam, name = request.client("iam"), request.physical_id
        with _absent_is_fine():
            for role in request.get("Roles", []):
                with _absent_is_fine():
                    iam.remove_role_from_instance_profile(InstanceProfileName=name, RoleName=role)
            iam.delete_instance_profile(InstanceProfileName=name)

    @staticmethod
    def _made(request: Request, name: str) -> Made:
        iam = request.client("iam")
        profile = iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"]
        return Made(name, {"Arn": profile["Arn"]})


TYPES: tuple[ResourceType, ...] = (InlinePolicy(), InstanceProfile(), ManagedPolicy(), Role())
