"""The orchestrator's login to the database: made by bootstrap, as the master, through the Data API.

The Data API needs no way into the VPC, and no password leaves AWS: it is told the secret's ARN.
Nothing but bootstrap acts as the master.
Source: https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/UsingWithRDS.IAMDBAuth.DBAccounts.html
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from orchestrator import errors
from orchestrator.deployment import Database

_WAKES = "DatabaseResumingException"
_WAKE_SECONDS = 180.0
_PAUSE_SECONDS = 3.0


def ensure(
    rds_data: Any, database: Database, pause: Callable[[float], object] = time.sleep
) -> bool:
    """Make `database.user`, who logs in by IAM only, where it is not there yet; True when made.

    Its rights are given again each time, which changes nothing where it has them. A cluster that
    sleeps is waited for. `rds_data` is boto3's client. Raises EnvironmentProblem.
    """
    statements = _Statements(rds_data, database, pause)
    user, name = _quoted(database.user), _quoted(database.name)
    found = statements.run(
        "SELECT 1 FROM pg_roles WHERE rolname = :name",
        [{"name": "name", "value": {"stringValue": database.user}}],
    )
    if not found:
        statements.run(f"CREATE ROLE {user} LOGIN")
    statements.run(f"GRANT rds_iam TO {user}")
    statements.run(f"GRANT CONNECT, TEMPORARY ON DATABASE {name} TO {user}")
    # It makes its own tables; since PostgreSQL 15 nobody may in `public` without being told so.
    statements.run(f"GRANT USAGE, CREATE ON SCHEMA public TO {user}")
    return not found


class _Statements:
    def __init__(self, client: Any, database: Database, pause: Callable[[float], object]) -> None:
        self._client = client
        self._database = database
        self._pause = pause

    def run(self, sql: str, parameters: list[Any] | None = None) -> list[Any]:
        """One statement, committed; its rows."""
        assert self._database.cluster_arn is not None
        tries = int(_WAKE_SECONDS / _PAUSE_SECONDS)
        while True:
            tries -= 1
            try:
                answer = self._client.execute_statement(
                    resourceArn=self._database.cluster_arn,
                    secretArn=self._database.secret_arn,
                    database=self._database.name,
                    sql=sql,
                    parameters=parameters or [],
                )
            except (BotoCoreError, ClientError) as error:
                if tries > 0 and _code(error) == _WAKES:
                    self._pause(_PAUSE_SECONDS)
                    continue
                raise errors.EnvironmentProblem(
                    f"the orchestrator's login to the database cannot be made: {error}",
                    hint="these credentials need rds-data:ExecuteStatement on the cluster and "
                    "secretsmanager:GetSecretValue on its secret; then run this again",
                ) from None
            return list(answer.get("records", []))


def _code(error: BotoCoreError | ClientError) -> str:
    return str(error.response["Error"]["Code"]) if isinstance(error, ClientError) else ""


def _quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'
