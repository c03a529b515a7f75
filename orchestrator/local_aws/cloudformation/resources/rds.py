"""AWS::RDS: clusters, instances in them, subnet and parameter groups."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from botocore.exceptions import ClientError

from orchestrator.local_aws.cloudformation.errors import ResourceFailed
from orchestrator.local_aws.cloudformation.resources.base import (
    Made,
    Request,
    ResourceType,
)


@contextlib.contextmanager
def _absent_is_fine() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        if "NotFound" not in error.response["Error"]["Code"]:
            raise


def _sync_tags(request: Request, arn: str) -> None:
    rds = request.client("rds")
    if dropped := request.dropped_tags():
        rds.remove_tags_from_resource(ResourceName=arn, TagKeys=dropped)
    if tags := request.tag_list():
        rds.add_tags_to_resource(ResourceName=arn, Tags=tags)


def _tags(request: Request) -> dict[str, Any]:
    tags = request.tag_list()
    return {"Tags": tags} if tags else {}


class DBSubnetGroup(ResourceType):
    type = "AWS::RDS::DBSubnetGroup"
    name_property = "DBSubnetGroupName"
    updatable = frozenset({"DBSubnetGroupDescription", "SubnetIds", "Tags"})
    replacing = frozenset({"DBSubnetGroupName"})

    def create(self, request: Request) -> Made:
        group = request.client("rds").create_db_subnet_group(
            DBSubnetGroupName=request.name("DBSubnetGroupName", 255, lower=True).lower(),
            **request.pick("DBSubnetGroupDescription", "SubnetIds"),
            **_tags(request),
        )["DBSubnetGroup"]
        return Made(group["DBSubnetGroupName"], {})

    def update(self, request: Request) -> Made:
        group = request.client("rds").modify_db_subnet_group(
            DBSubnetGroupName=request.physical_id,
            **request.pick("DBSubnetGroupDescription", "SubnetIds"),
        )["DBSubnetGroup"]
        _sync_tags(request, group["DBSubnetGroupArn"])
        return Made(request.physical_id, {})

    def delete(self, request: Request) -> None:
        with _absent_is_fine():
            request.client("rds").delete_db_subnet_group(DBSubnetGroupName=request.physical_id)


class _ParameterGroup(ResourceType):
    """Parameters apply at once: nothing here waits for a reboot."""

    call: ClassVar[str]
    """As the API's verbs and members spell it: db_cluster_parameter_group."""
    member: ClassVar[str]
    name_property = ""
    updatable = frozenset({"Parameters", "Tags"})

    def create(self, request: Request) -> Made:
        rds = request.client("rds")
        name = request.name(self.name_property or "", 255, lower=True).lower()
        getattr(rds, f"create_{self.call}")(
            **{f"{self.member}Name": name},
            DBParameterGroupFamily=request.get("Family"),
            Description=request.get("Description"),
            **_tags(request),
        )
        request.begun.append(name)
        self._put(request, name, request.get("Parameters", {}))
        return Made(name, {f"{self.member}Name": name})

    def update(self, request: Request) -> Made:
        rds, name = request.client("rds"), request.physical_id
        old, new = (request.old or {}).get("Parameters", {}), request.get("Parameters", {})
        dropped = [{"ParameterName": k, "ApplyMethod": "pending-reboot"} for k in old.keys() - new]
        if dropped:
            raise ResourceFailed(
                f"the local AWS cannot reset parameters {sorted(old.keys() - new.keys())} of "
                f"{self.type}; set them to their default"
            )
        self._put(request, name, {k: v for k, v in new.items() if old.get(k) != v})
        found = getattr(rds, f"describe_{self.call}s")(**{f"{self.member}Name": name})
        _sync_tags(request, found[f"{self.member}s"][0][f"{self.member}Arn"])
        return Made(name, {f"{self.member}Name": name})

    def delete(self, request: Request) -> None:
        with _absent_is_fine():
            delete = getattr(request.client("rds"), f"delete_{self.call}")
            delete(**{f"{self.member}Name": request.physical_id})

    def _put(self, request: Request, name: str, values: Mapping[str, Any]) -> None:
        parameters = [
            {"ParameterName": key, "ParameterValue": str(value), "ApplyMethod": "pending-reboot"}
            for key, value in values.items()
        ]
        for start in range(0, len(parameters), 20):  # the most that one call takes
            modify = getattr(request.client("rds"), f"modify_{self.call}")
            modify(**{f"{self.member}Name": name}, Parameters=parameters[start : start + 20])


class DBClusterParameterGroup(_ParameterGroup):
    type = "AWS::RDS::DBClusterParameterGroup"
    call, member = "db_cluster_parameter_group", "DBClusterParameterGroup"
    name_property = "DBClusterParameterGroupName"
    replacing = frozenset({"DBClusterParameterGroupName", "Description", "Family"})


class DBParameterGroup(_ParameterGroup):
    type = "AWS::RDS::DBParameterGroup"
    call, member = "db_parameter_group", "DBParameterGroup"
    name_property = "DBParameterGroupName"
    replacing = frozenset({"DBParameterGroupName", "Description", "Family"})


class DBCluster(ResourceType):
    """aurora-postgresql is a real PostgreSQL on this machine; its endpoint and port are real."""

    type = "AWS::RDS::DBCluster"
    name_property = "DBClusterIdentifier"
    snapshots = True
    updatable = frozenset(
        {
            "BackupRetentionPeriod",
            "CopyTagsToSnapshot",
            "DBClusterParameterGroupName",
            "DeletionProtection",
            "EnableCloudwatchLogsExports",
            "EnableHttpEndpoint",
            "EnableIAMDatabaseAuthentication",
            "EngineVersion",
            "MasterUserPassword",
            "PreferredBackupWindow",
            "PreferredMaintenanceWindow",
            "ServerlessV2ScalingConfiguration",
            "Tags",
            "VpcSecurityGroupIds",
        }
    )
    replacing = frozenset(
        {
            "DBClusterIdentifier",
            "DBSubnetGroupName",
            "DatabaseName",
            "Engine",
            "KmsKeyId",
            "MasterUsername",
            "StorageEncrypted",
        }
    )
    unchangeable = frozenset({"EngineMode", "ManageMasterUserPassword", "MasterUserSecret", "Port"})

    def create(self, request: Request) -> Made:
        arguments = self._arguments(request, (self.updatable | self.replacing) - {"Tags"})
        arguments["DBClusterIdentifier"] = request.name("DBClusterIdentifier", 63, lower=True)
        arguments |= request.pick("EngineMode", "ManageMasterUserPassword", "Port")
        if "MasterUserSecret" in request.properties:
            key = request.get("MasterUserSecret").get("KmsKeyId")
            arguments["MasterUserSecretKmsKeyId"] = key
        cluster = request.client("rds").create_db_cluster(**arguments, **_tags(request))
        return self._made(request, cluster["DBCluster"]["DBClusterIdentifier"])

    def update(self, request: Request) -> Made:
        rds, name = request.client("rds"), request.physical_id
        changed = {key for key in self.updatable - {"Tags"} if request.changed(key)}
        removed = sorted(changed - request.properties.keys())
        if removed:
            raise ResourceFailed(f"the local AWS cannot remove {removed} of an existing cluster")
        arguments = self._arguments(request, changed)
        if "EnableCloudwatchLogsExports" in arguments:
            old = (request.old or {}).get("EnableCloudwatchLogsExports", [])
            new = arguments.pop("EnableCloudwatchLogsExports")
            arguments["CloudwatchLogsExportConfiguration"] = {
                "EnableLogTypes": [kind for kind in new if kind not in old],
                "DisableLogTypes": [kind for kind in old if kind not in new],
            }
        if arguments:
            rds.modify_db_cluster(DBClusterIdentifier=name, ApplyImmediately=True, **arguments)
        made = self._made(request, name)
        _sync_tags(request, made.attributes["DBClusterArn"])
        return made

    def snapshot(self, request: Request) -> None:
        name = f"{request.physical_id}-snapshot-{time.time_ns():x}"[-63:].lstrip("-0123456789")
        with _absent_is_fine():
            request.client("rds").create_db_cluster_snapshot(
                DBClusterIdentifier=request.physical_id, DBClusterSnapshotIdentifier=name
            )

    def delete(self, request: Request) -> None:
        with _absent_is_fine():
            request.client("rds").delete_db_cluster(
                DBClusterIdentifier=request.physical_id, SkipFinalSnapshot=True
            )

    @staticmethod
    def _arguments(request: Request, names: frozenset[str] | set[str]) -> dict[str, Any]:
        return request.pick(*names)

    @staticmethod
    def _made(request: Request, name: str) -> Made:
        answer = request.client("rds").describe_db_clusters(DBClusterIdentifier=name)
        cluster = answer["DBClusters"][0]
        attributes = {
            "DBClusterArn": cluster["DBClusterArn"],
            "DBClusterResourceId": cluster["DbClusterResourceId"],
            "Endpoint.Address": cluster["Endpoint"],
            "Endpoint.Port": str(cluster["Port"]),
            "ReadEndpoint.Address": cluster["ReaderEndpoint"],
        }
        if "MasterUserSecret" in cluster:
            attributes["MasterUserSecret.SecretArn"] = cluster["MasterUserSecret"]["SecretArn"]
        return Made(name, attributes)


class DBInstance(ResourceType):
    type = "AWS::RDS::DBInstance"
    name_property = "DBInstanceIdentifier"
    updatable = frozenset(
        {
            "AutoMinorVersionUpgrade",
            "DBInstanceClass",
            "PreferredMaintenanceWindow",
            "PromotionTier",
            "PubliclyAccessible",
            "Tags",
        }
    )
    replacing = frozenset(
        {"AvailabilityZone", "DBClusterIdentifier", "DBInstanceIdentifier", "Engine"}
    )
    unchangeable = frozenset({"CopyTagsToSnapshot", "DBSubnetGroupName", "DBParameterGroupName"})

    def create(self, request: Request) -> Made:
        if "DBClusterIdentifier" not in request.properties:
            raise ResourceFailed("the local AWS supports AWS::RDS::DBInstance in a cluster only")
        names = (self.updatable | self.replacing | self.unchangeable) - {"Tags"}
        arguments = request.pick(*names)
        arguments["DBInstanceIdentifier"] = request.name("DBInstanceIdentifier", 63, lower=True)
        answer = request.client("rds").create_db_instance(**arguments, **_tags(request))
        return self._made(request, answer["DBInstance"]["DBInstanceIdentifier"])

    def update(self, request: Request) -> Made:
        changed = [key for key in self.updatable - {"Tags"} if request.changed(key)]
        if changed:
            request.client("rds").modify_db_instance(
                DBInstanceIdentifier=request.physical_id,
                ApplyImmediately=True,
                **request.pick(*changed),
            )
        made = self._made(request, request.physical_id)
        _sync_tags(request, made.attributes["DBInstanceArn"])
        return made

    def delete(self, request: Request) -> None:
        with _absent_is_fine():
            request.client("rds").delete_db_instance(
                DBInstanceIdentifier=request.physical_id, SkipFinalSnapshot=True
            )

    @staticmethod
    def _made(request: Request, name: str) -> Made:
        answer = request.client("rds").describe_db_instances(DBInstanceIdentifier=name)
        found = answer["DBInstances"][0]
        return Made(
            name,
            {
                "DBInstanceArn": found["DBInstanceArn"],
                "DbiResourceId": found["DbiResourceId"],
                "Endpoint.Address": found["Endpoint"]["Address"],
                "Endpoint.Port": str(found["Endpoint"]["Port"]),
            },
        )


TYPES: tuple[ResourceType, ...] = (
    DBCluster(),
    DBClusterParameterGroup(),
    DBInstance(),
    DBParameterGroup(),
    DBSubnetGroup(),
)
