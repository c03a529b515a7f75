"""The Data API: one statement on the PostgreSQL behind a cluster; moto makes answers up.

Transactions, batches and formatted results are not here, and refused by name.

Source: https://docs.aws.amazon.com/rdsdataservice/latest/APIReference/API_ExecuteStatement.html
"""

from __future__ import annotations

import base64
import json
import re
from typing import Any, NoReturn

from orchestrator.local_aws.moto_patches import replace

_UNSUPPORTED = ("continueAfterTimeout", "formatRecordsAs", "includeResultMetadata",
                "resultSetOptions", "schema", "transactionId")  # fmt: skip
# What holds no parameters: texts, names in quotes, casts. Then a parameter.
_PARTS = re.compile(r"""('(?:[^']|'')*'|"(?:[^"]|"")*"|::)|:([A-Za-z_]\w*)""")


def apply() -> None:
    """Patch moto.rdsdata. Raises MotoChanged."""
    from moto.rdsdata.responses import RDSDataServiceResponse

    replace(RDSDataServiceResponse, "execute_statement", lambda _: _execute_statement)


def _execute_statement(response: Any) -> str:
    for name in _UNSUPPORTED:
        if response._get_param(name):
            _refuse("BadRequestException", f"the local AWS does not support {name}")
    cluster = _cluster(response)
    secret = _secret(response)
    parameters = {
        one["name"]: _value(one["value"]) for one in response._get_param("parameters", [])
    }
    database = response._get_param("database") or cluster.database_name
    return json.dumps(_run(cluster, secret, database, response._get_param("sql"), parameters))


def _cluster(response: Any) -> Any:
    from moto.rds.models import rds_backends

    arn = response._get_param("resourceArn")
    clusters = rds_backends[response.current_account][response.region].clusters.values()
    found = next((one for one in clusters if one.db_cluster_arn == arn), None)
    if found is None or not hasattr(found, "local_aws_host"):
        _refuse("DatabaseNotFoundException", f"DB cluster {arn} is not found")
    if not found.enable_http_endpoint:
        _refuse("HttpEndpointNotEnabledException", f"HttpEndpoint is not enabled for {arn}")
    return found


def _secret(response: Any) -> dict[str, str]:
    from moto.secretsmanager.exceptions import SecretNotFoundException
    from moto.secretsmanager.models import secretsmanager_backends

    arn = response._get_param("secretArn")
    backend: Any = secretsmanager_backends[response.current_account][response.region]
    try:
        text = backend.get_secret_value(arn, version_id=None, version_stage=None)["SecretString"]
        secret: dict[str, str] = json.loads(text)
    except (SecretNotFoundException, KeyError, ValueError):
        _refuse("SecretsErrorException", f"the secret {arn} cannot be read")
    return secret


def _run(
    cluster: Any, secret: dict[str, str], database: str, sql: str, parameters: dict[str, Any]
) -> dict[str, Any]:
    import psycopg

    try:
        with psycopg.connect(
            host=cluster.local_aws_host,
            port=cluster.port,
            user=secret["username"],
            password=secret["password"],
            dbname=database,
            connect_timeout=30,
        ) as connection:
            cursor = connection.execute(_in_psycopgs_words(sql), parameters or None)
            if cursor.description is None:
                return {"numberOfRecordsUpdated": max(cursor.rowcount, 0), "generatedFields": []}
            records = [[_field(value) for value in row] for row in cursor.fetchall()]
            return {"numberOfRecordsUpdated": 0, "records": records}
    except psycopg.Error as error:
        state = f"; SQLState: {error.sqlstate}" if error.sqlstate else ""
        _refuse("DatabaseErrorException", f"ERROR: {str(error).strip()}{state}")


def _in_psycopgs_words(sql: str) -> Any:
    def spelled(match: re.Match[str]) -> str:
        return match[1] if match[2] is None else f"%({match[2]})s"

    # Without parameters psycopg takes the text as it is; with some, a % of the text is doubled.
    if not any(match[2] for match in _PARTS.finditer(sql)):
        return sql
    return _PARTS.sub(spelled, sql.replace("%", "%%"))


def _value(field: dict[str, Any]) -> Any:
    ((kind, value),) = field.items()
    if kind == "isNull":
        return None
    if kind == "blobValue":
        return base64.b64decode(value)
    if kind == "arrayValue":
        _refuse("BadRequestException", "Array parameters are not supported.")
    return value


def _field(value: Any) -> dict[str, Any]:
    match value:
        case None:
            return {"isNull": True}
        case bool():
            return {"booleanValue": value}
        case int():
            return {"longValue": value}
        case float():
            return {"doubleValue": value}
        case bytes() | memoryview():
            return {"blobValue": base64.b64encode(value).decode()}
    return {"stringValue": str(value)}


def _refuse(code: str, message: str) -> NoReturn:
    from moto.core.exceptions import JsonRESTError

    raise JsonRESTError(code, message)
