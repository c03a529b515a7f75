"""RDS: a real PostgreSQL behind each aurora-postgresql cluster, and real generated passwords."""

from __future__ import annotations

import functools
import json
import secrets
import string
from collections.abc import Callable
from typing import Any

from orchestrator.local_aws.moto_patches import replace
from orchestrator.local_aws.postgres import PostgresError, Servers

_POSTGRES = ("aurora-postgresql", "postgres")
_servers: Servers | None = None


def apply(servers: Servers) -> None:
    """Patch moto.rds; databases run in `servers` from now on. Raises MotoChanged."""
    global _servers
    from moto.rds.models import DBCluster, DBInstance, MasterUserSecret, RDSBackend

    _servers = servers
    replace(MasterUserSecret, "_generate_secret_string", lambda _: _secret_string)
    replace(MasterUserSecret, "rotate_secret", lambda _: _refused("to rotate a master password"))
    replace(RDSBackend, "create_db_cluster", _create)
    replace(RDSBackend, "modify_db_cluster", _modify)
    replace(RDSBackend, "delete_db_cluster", _delete)
    restore = _refused("to restore a database from a snapshot")
    replace(RDSBackend, "restore_db_cluster_from_snapshot", lambda _: restore)
    halt = _refused("to stop a database and start it again")
    replace(RDSBackend, "stop_db_cluster", lambda _: halt)
    replace(DBCluster, "enable_http_endpoint", _http_endpoint)
    replace(DBCluster, "endpoint", _local_or)
    replace(DBCluster, "reader_endpoint", _local_or)
    replace(DBInstance, "endpoint", _instance_endpoint)


def _secret_string(secret: Any) -> str:
    """30 characters that need no quoting, neither in a URL nor in a shell."""
    letters = string.ascii_letters + string.digits + "_.-"
    password = "".join(secrets.choice(letters) for _ in range(30))
    secret.resource.local_aws_password = password
    return json.dumps({"username": secret.resource.master_username, "password": password})


def _create(original: Any) -> Any:
    @functools.wraps(original)
    def create_db_cluster(backend: Any, kwargs: Any) -> Any:
        from moto.rds.exceptions import RDSClientError

        name = kwargs["db_cluster_identifier"]
        if name in backend.clusters:
            raise RDSClientError(
                "DBClusterAlreadyExistsFault", f"DB Cluster already exists: {name}"
            )
        cluster = original(backend, kwargs)
        if cluster.engine not in _POSTGRES:
            return cluster
        try:
            server = _running().start(
                cluster.db_cluster_resource_id,
                user=cluster.master_username,
                password=_password(cluster),
                database=cluster.database_name,
            )
        except PostgresError as error:
            cluster.deletion_protection = False
            _plain_delete(backend, cluster)
            raise RDSClientError("InvalidDBClusterStateFault", str(error)) from error
        cluster.local_aws_host, cluster.port = server.host, server.port
        return cluster

    return create_db_cluster


def _modify(original: Any) -> Any:
    @functools.wraps(original)
    def modify_db_cluster(backend: Any, kwargs: Any) -> Any:
        from moto.rds.exceptions import DBClusterNotFoundError

        name = kwargs["db_cluster_identifier"]
        if name not in backend.clusters:
            raise DBClusterNotFoundError(name)
        cluster = backend.clusters[name]
        before = _password(cluster)
        if kwargs.get("enable_iam_database_authentication") is not None:
            cluster.iam_auth = kwargs["enable_iam_database_authentication"]
        if kwargs.get("master_user_password"):
            cluster.local_aws_password = None
        answer = original(backend, kwargs)
        if hasattr(cluster, "local_aws_host") and _password(cluster) != before:
            _running().change_password(
                cluster.db_cluster_resource_id,
                user=cluster.master_username,
                password=_password(cluster),
            )
        return answer

    return modify_db_cluster


def _delete(original: Any) -> Any:
    @functools.wraps(original)
    def delete_db_cluster(backend: Any, *args: Any, **kwargs: Any) -> Any:
        cluster = original(backend, *args, **kwargs)
        for name, snapshot in list(backend.cluster_snapshots.items()):
            # AWS deletes automated backups with their cluster unless it is told not to.
            automated = snapshot.snapshot_type == "automated"
            if automated and snapshot.db_cluster_identifier == cluster.db_cluster_identifier:
                del backend.cluster_snapshots[name]
        if hasattr(cluster, "local_aws_host"):
            _running().remove(cluster.db_cluster_resource_id)
        return cluster

    return delete_db_cluster


def _plain_delete(backend: Any, cluster: Any) -> None:
    if getattr(cluster, "manage_master_user_password", False):
        cluster.master_user_secret.delete_secret()
    backend.clusters.pop(cluster.db_cluster_identifier, None)


def _password(cluster: Any) -> str:
    generated = getattr(cluster, "local_aws_password", None)
    return str(generated or getattr(cluster, "_master_user_password", ""))


def _http_endpoint(original: property) -> property:
    """The Data API, which moto knows of Serverless v1 only: v2 has it too."""

    def switch(cluster: Any, on: bool | None) -> None:
        original.__set__(cluster, on)
        if cluster.engine in _POSTGRES:
            cluster._enable_http_endpoint = bool(on)

    return property(original.__get__, switch)


def _local_or(original: property) -> property:
    def endpoint(cluster: Any) -> str:
        host = getattr(cluster, "local_aws_host", None)
        return str(host or original.__get__(cluster))

    return property(endpoint)


def _instance_endpoint(original: property) -> property:
    def endpoint(instance: Any) -> dict[str, Any]:
        cluster: Any = getattr(instance, "cluster", None)
        if hasattr(cluster, "local_aws_host"):
            return {"Address": cluster.local_aws_host, "Port": cluster.port}
        address: dict[str, Any] = original.__get__(instance)
        return address

    return property(endpoint)


def _refused(what: str) -> Callable[..., Any]:
    def refuse(*_: Any, **__: Any) -> Any:
        from moto.rds.exceptions import InvalidParameterCombination

        raise InvalidParameterCombination(f"the local AWS is not able {what}")

    return refuse


def _running() -> Servers:
    assert _servers is not None, "apply() comes first"
    return _servers
