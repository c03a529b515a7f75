"""AWS::SecretsManager: secrets, and their attachment to databases."""

from __future__ import annotations

import json
from typing import Any

from orchestrator.local_aws.cloudformation.errors import ResourceFailed
from orchestrator.local_aws.cloudformation.resources.base import (
    Made,
    Properties,
    Request,
    ResourceType,
)

_ATTACHED = ("engine", "host", "port", "dbname", "dbClusterIdentifier", "dbInstanceIdentifier")


class Secret(ResourceType):
    type = "AWS::SecretsManager::Secret"
    name_property = "Name"
    updatable = frozenset(
        {"Description", "GenerateSecretString", "KmsKeyId", "SecretString", "Tags"}
    )
    replacing = frozenset({"Name"})

    def create(self, request: Request) -> Made:
        tags = request.tag_list()
        answer = request.client("secretsmanager").create_secret(
            Name=request.name("Name", 256),
            **request.pick("Description", "KmsKeyId"),
            **self._value(request),
            **({"Tags": tags} if tags else {}),
        )
        return Made(answer["ARN"], {"Id": answer["ARN"]})

    def update(self, request: Request) -> Made:
        secrets, arn = request.client("secretsmanager"), request.physical_id
        changes = request.pick("Description", "KmsKeyId")
        if request.changed("GenerateSecretString", "SecretString"):
            changes |= self._value(request)
        if changes:
            secrets.update_secret(SecretId=arn, **changes)
        if dropped := request.dropped_tags():
            secrets.untag_resource(SecretId=arn, TagKeys=dropped)
        if tags := request.tag_list():
            secrets.tag_resource(SecretId=arn, Tags=tags)
        return Made(arn, {"Id": arn})

    def delete(self, request: Request) -> None:
        secrets = request.client("secretsmanager")
        try:
            secrets.delete_secret(SecretId=request.physical_id, ForceDeleteWithoutRecovery=True)
        except secrets.exceptions.ResourceNotFoundException:
            return

    @staticmethod
    def _value(request: Request) -> dict[str, str]:
        generate = request.get("GenerateSecretString")
        if generate is None:
            return request.pick("SecretString")
        if "SecretString" in request.properties:
            raise ResourceFailed("a secret has SecretString or GenerateSecretString, not both")
        how = dict(generate)
        template, key = how.pop("SecretStringTemplate", None), how.pop("GenerateStringKey", None)
        answer = request.client("secretsmanager").get_random_password(**how)
        password = answer["RandomPassword"]
        if (template is None) != (key is None):
            raise ResourceFailed("SecretStringTemplate and GenerateStringKey belong together")
        if template is None:
            return {"SecretString": password}
        return {"SecretString": json.dumps(json.loads(template) | {key: password})}


class SecretTargetAttachment(ResourceType):
    """Writes where the database is into the secret."""

    type = "AWS::SecretsManager::SecretTargetAttachment"
    replacing = frozenset({"SecretId", "TargetId", "TargetType"})

    def create(self, request: Request) -> Made:
        self._change(request, self._target(request))
        return Made(request.get("SecretId"), {"Id": request.get("SecretId")})

    def delete(self, request: Request) -> None:
        secrets = request.client("secretsmanager")
        try:
            self._change(request, {})
        except secrets.exceptions.ResourceNotFoundException:
            return

    def replaces(self, old: Properties, new: Properties) -> bool:
        return old != new

    @staticmethod
    def _change(request: Request, target: dict[str, Any]) -> None:
        secrets, secret = request.client("secretsmanager"), request.get("SecretId")
        value = json.loads(secrets.get_secret_value(SecretId=secret)["SecretString"])
        value = {k: v for k, v in value.items() if k not in _ATTACHED} | target
        secrets.put_secret_value(SecretId=secret, SecretString=json.dumps(value))

    @staticmethod
    def _target(request: Request) -> dict[str, Any]:
        rds, target, kind = (
            request.client("rds"),
            request.get("TargetId"),
            request.get("TargetType"),
        )
        if kind == "AWS::RDS::DBCluster":
            found = rds.describe_db_clusters(DBClusterIdentifier=target)["DBClusters"][0]
            value = {
                "host": found["Endpoint"],
                "port": found["Port"],
                "dbname": found.get("DatabaseName"),
                "dbClusterIdentifier": target,
            }
        elif kind == "AWS::RDS::DBInstance":
            found = rds.describe_db_instances(DBInstanceIdentifier=target)["DBInstances"][0]
            value = {
                "host": found["Endpoint"]["Address"],
                "port": found["Endpoint"]["Port"],
                "dbname": found.get("DBName"),
                "dbInstanceIdentifier": target,
            }
        else:
            raise ResourceFailed(f"the local AWS does not support secrets of {kind}")
        engine = found["Engine"].removeprefix("aurora-").replace("postgresql", "postgres")
        return {k: v for k, v in value.items() if v is not None} | {"engine": engine}


TYPES: tuple[ResourceType, ...] = (Secret(), SecretTargetAttachment())
