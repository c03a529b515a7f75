"""Run on a real PostgreSQL: the fake is only the Data API's envelope."""

from __future__ import annotations

from typing import Any, cast

import psycopg
import pytest
from botocore.exceptions import ClientError
from sqlalchemy import make_url

from orchestrator import errors
from orchestrator.deployment import Database
from stacks.lifecycle import database_login
from tests.postgres import PostgresServer, postgres_server, postgres_url

__all__ = ["postgres_server", "postgres_url"]


class DataApi:
    """`execute_statement` as the superuser of a server; `sleeping` times it refuses first."""

    def __init__(self, server: PostgresServer, database: str, sleeping: int = 0) -> None:
        self._server, self._database, self._sleeping = server, database, sleeping
        self.asked: list[dict[str, Any]] = []

    def execute_statement(self, **request: Any) -> dict[str, Any]:
        self.asked.append(request)
        if self._sleeping:
            self._sleeping -= 1
            raise ClientError(
                {"Error": {"Code": "DatabaseResumingException", "Message": "resuming"}},
                "ExecuteStatement",
            )
        sql = request["sql"]
        for parameter in request["parameters"]:
            sql = sql.replace(f":{parameter['name']}", f"'{parameter['value']['stringValue']}'")
        return {"records": self._server.execute(sql, self._database)}


@pytest.fixture
def database(postgres_server: PostgresServer, postgres_url: str) -> Any:
    """A database, and a user's name that no other test has."""
    name = str(make_url(postgres_url).database)
    if not postgres_server.execute("SELECT 1 FROM pg_roles WHERE rolname = 'rds_iam'"):
        postgres_server.execute("CREATE ROLE rds_iam")  # RDS has it
    user = f"login_{name[-12:]}"
    yield Database(
        host="h", port=1, name=name, secret_arn="secret", login="iam", user=user, cluster_arn="arn"
    )
    postgres_server.execute(f'DROP OWNED BY "{user}"', name)
    postgres_server.execute(f'DROP ROLE "{user}"')


def _ensure(api: DataApi, database: Database) -> bool:
    return database_login.ensure(cast(Any, api), database, pause=lambda _: None)


def test_the_login_is_made_once_and_may_make_tables_and_log_in_by_iam_only(
    postgres_server: PostgresServer, database: Database
) -> None:
    api = DataApi(postgres_server, database.name)
    assert _ensure(api, database)
    assert not _ensure(api, database)
    url = postgres_server.url(database.name, database.user).replace("+psycopg", "")
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE workflows (id int)")
    [row] = postgres_server.execute(
        "SELECT rolsuper, rolcreaterole, rolcreatedb, rolpassword IS NULL, "
        "pg_has_role(rolname, 'rds_iam', 'member') FROM pg_authid "
        f"WHERE rolname = '{database.user}'"
    )
    assert row == (False, False, False, True, True)


def test_nothing_but_the_arns_of_cluster_and_secret_is_handed_over(
    postgres_server: PostgresServer, database: Database
) -> None:
    api = DataApi(postgres_server, database.name)
    _ensure(api, database)
    assert {(r["resourceArn"], r["secretArn"], r["database"]) for r in api.asked} == {
        ("arn", "secret", database.name)
    }


def test_a_cluster_that_sleeps_is_waited_for(
    postgres_server: PostgresServer, database: Database
) -> None:
    assert _ensure(DataApi(postgres_server, database.name, sleeping=3), database)


def test_what_the_data_api_refuses_is_said_with_what_is_needed(
    postgres_server: PostgresServer, database: Database
) -> None:
    _ensure(DataApi(postgres_server, database.name), database)  # for the fixture to remove
    api = DataApi(postgres_server, database.name, sleeping=10_000)
    with pytest.raises(errors.EnvironmentProblem, match="login to the database") as raised:
        _ensure(api, database)
    assert "rds-data:ExecuteStatement" in raised.value.hint
    assert len(api.asked) == 60
