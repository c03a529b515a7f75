"""AWS::KMS: keys and aliases."""

from __future__ import annotations

import json

from orchestrator.local_aws.cloudformation.resources.base import (
    Made,
    Request,
    ResourceType,
    boolean,
)


class Key(ResourceType):
    type = "AWS::KMS::Key"
    updatable = frozenset(
        {"Description", "EnableKeyRotation", "Enabled", "KeyPolicy", "PendingWindowInDays", "Tags"}
    )
    replacing = frozenset({"KeySpec", "KeyUsage", "MultiRegion"})

    def create(self, request: Request) -> Made:
        tags = [{"TagKey": k, "TagValue": v} for k, v in request.tags().items()]
        policy = request.get("KeyPolicy")
        key = request.client("kms").create_key(
            **request.pick("Description", "KeySpec", "KeyUsage", "MultiRegion"),
            **({"Policy": json.dumps(policy)} if policy else {}),
            **({"Tags": tags} if tags else {}),
        )["KeyMetadata"]
        request.begun.append(key["KeyId"])
        self._switch(request, key["KeyId"])
        return Made(key["KeyId"], {"Arn": key["Arn"], "KeyId": key["KeyId"]})

    def update(self, request: Request) -> Made:
        kms, key = request.client("kms"), request.physical_id
        if request.changed("Description"):
            kms.update_key_description(KeyId=key, Description=request.get("Description", ""))
        if request.changed("KeyPolicy"):
            policy = json.dumps(request.get("KeyPolicy"))
            kms.put_key_policy(KeyId=key, PolicyName="default", Policy=policy)
        self._switch(request, key)
        if dropped := request.dropped_tags():
            kms.untag_resource(KeyId=key, TagKeys=dropped)
        if tags := request.tags():
            kms.tag_resource(
                KeyId=key, Tags=[{"TagKey": k, "TagValue": v} for k, v in tags.items()]
            )
        arn = kms.describe_key(KeyId=key)["KeyMetadata"]["Arn"]
        return Made(key, {"Arn": arn, "KeyId": key})

    def delete(self, request: Request) -> None:
        kms = request.client("kms")
        days = request.get("PendingWindowInDays", 30)
        try:
            kms.schedule_key_deletion(KeyId=request.physical_id, PendingWindowInDays=days)
        except kms.exceptions.NotFoundException:
            return

    @staticmethod
    def _switch(request: Request, key: str) -> None:
        kms = request.client("kms")
        if request.changed("EnableKeyRotation"):
            rotate = boolean(request.get("EnableKeyRotation", False))
            (kms.enable_key_rotation if rotate else kms.disable_key_rotation)(KeyId=key)
        if request.changed("Enabled"):
            on = boolean(request.get("Enabled", True))
            (kms.enable_key if on else kms.disable_key)(KeyId=key)


class Alias(ResourceType):
    type = "AWS::KMS::Alias"
    name_property = "AliasName"
    updatable = frozenset({"TargetKeyId"})
    replacing = frozenset({"AliasName"})

    def create(self, request: Request) -> Made:
        request.client("kms").create_alias(**request.properties)
        return Made(request.get("AliasName"), {"AliasName": request.get("AliasName")})

    def update(self, request: Request) -> Made:
        request.client("kms").update_alias(**request.properties)
        return Made(request.physical_id, {"AliasName": request.physical_id})

    def delete(self, request: Request) -> None:
        kms = request.client("kms")
        try:
            kms.delete_alias(AliasName=request.physical_id)
        except kms.exceptions.NotFoundException:
            return


TYPES: tuple[ResourceType, ...] = (Alias(), Key())
