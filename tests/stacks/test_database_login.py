"""The function's code, run on a real PostgreSQL: the fake is only the Data API's envelope."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

import boto3
import psycopg
import pytest
from botocore.exceptions import ClientError
from sqlalchemy import make_url

from stacks.assets import database_login
from tests.postgres import PostgresServer, postgres_server, postgres_url

__all__ = ["postgres_server", "postgres_url"]

About = dict[str, str]


class DataApi:
    """`execute_statement` as the superuser of a server; `refusing` times it refuses first."""

    def __init__(
        self, server: PostgresServer, refusing: int = 0, code: str = "DatabaseResumingException"
    ) -> None:
        self._server, self._refusing, self._code = server, refusing, code
        self.asked: list[dict[str, Any]] = []

    def execute_statement(self, **request: Any) -> dict[str, Any]:
        self.asked.append(request)
        if self._refusing:
            self._refusing -= 1
            raise ClientError(
                {"Error": {"Code": self._code, "Message": "not now"}}, "ExecuteStatement"
            )
        sql = request["sql"]
        for parameter in request["parameters"]:
            sql = sql.replace(f":{parameter['name']}", f"'{parameter['value']['stringValue']}'")
        return {"records": self._server.execute(sql, request["database"])}


@pytest.fixture
def about(postgres_server: PostgresServer, postgres_url: str) -> Iterator[About]:
    """A database, and a user's name that no other test has."""
    name = str(make_url(postgres_url).database)
    if not postgres_server.execute("SELECT 1 FROM pg_roles WHERE rolname = 'rds_iam'"):
        postgres_server.execute("CREATE ROLE rds_iam")  # RDS has it
    user = f"login_{name[-12:]}"
    yield {"Cluster": "arn", "Secret": "secret", "Database": name, "User": user}
    for made in (user, f"{user}_2"):
        if postgres_server.execute(f"SELECT 1 FROM pg_roles WHERE rolname = '{made}'"):
            postgres_server.execute(f'DROP OWNED BY "{made}"', name)
            postgres_server.execute(f'DROP ROLE "{made}"')


def _ensure(api: DataApi, about: About, former: str | None = None) -> bool:
    return database_login.ensure(api, about, former, pause=lambda _: None)


def _connect(server: PostgresServer, about: About) -> psycopg.Connection[Any]:
    return psycopg.connect(
        server.url(about["Database"], about["User"]).replace("+psycopg", ""), autocommit=True
    )


def test_the_login_is_made_once_and_may_make_tables_and_log_in_by_iam_only(
    postgres_server: PostgresServer, about: About
) -> None:
    api = DataApi(postgres_server)
    assert _ensure(api, about)
    assert not _ensure(api, about)
    with _connect(postgres_server, about) as connection:
        connection.execute("CREATE TABLE workflows (id int)")
    [row] = postgres_server.execute(
        "SELECT rolsuper, rolcreaterole, rolcreatedb, rolpassword IS NULL, "
        "pg_has_role(rolname, 'rds_iam', 'member') FROM pg_authid "
        f"WHERE rolname = '{about['User']}'"
    )
    assert row == (False, False, False, True, True)


def test_another_user_may_change_what_the_former_one_made(
    postgres_server: PostgresServer, about: About
) -> None:
    api = DataApi(postgres_server)
    _ensure(api, about)
    with _connect(postgres_server, about) as connection:
        connection.execute("CREATE TABLE workflows (id int)")
    other = about | {"User": f"{about['User']}_2"}
    assert _ensure(api, other, former=about["User"])
    with _connect(postgres_server, other) as connection:
        connection.execute("ALTER TABLE workflows ADD COLUMN name text")


def test_nothing_but_the_arns_of_cluster_and_secret_is_handed_over(
    postgres_server: PostgresServer, about: About
) -> None:
    api = DataApi(postgres_server)
    _ensure(api, about)
    assert {(r["resourceArn"], r["secretArn"], r["database"]) for r in api.asked} == {
        ("arn", "secret", about["Database"])
    }


@pytest.mark.parametrize("code", ["DatabaseResumingException", "AccessDeniedException"])
def test_a_cluster_that_sleeps_and_a_policy_that_is_new_are_waited_for(
    postgres_server: PostgresServer, about: About, code: str
) -> None:
    assert _ensure(DataApi(postgres_server, 3, code), about)


@pytest.mark.parametrize(
    ("code", "tries"), [("DatabaseResumingException", 60), ("DatabaseErrorException", 1)]
)
def test_it_is_not_waited_for_ever_nor_for_what_does_not_pass(
    postgres_server: PostgresServer, about: About, code: str, tries: int
) -> None:
    api = DataApi(postgres_server, 10_000, code)
    with pytest.raises(ClientError, match=code):
        _ensure(api, about)
    assert len(api.asked) == tries


@pytest.fixture
def mailbox() -> Iterator[http.server.HTTPServer]:
    """What CloudFormation's URL is put to."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            # S3 counts it in the signature: one that urllib adds by itself would be refused.
            assert self.headers["Content-Type"] == ""
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...

    got: list[dict[str, Any]] = []
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.got = got  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def _answer(mailbox: Any, **event: Any) -> dict[str, Any]:
    identity = {"StackId": "s", "RequestId": "r", "LogicalResourceId": "Login"}
    url = f"http://127.0.0.1:{mailbox.server_port}/"
    database_login.handler({**identity, "ResponseURL": url, **event}, None)
    answer: dict[str, Any] = mailbox.got[-1]
    assert identity.items() <= answer.items()
    return answer


def test_cloudformation_is_answered(
    postgres_server: PostgresServer,
    about: About,
    mailbox: http.server.HTTPServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    api = DataApi(postgres_server)
    monkeypatch.setattr(boto3, "client", lambda service: {"rds-data": api}[service])
    made = _answer(mailbox, RequestType="Create", ResourceProperties=about)
    assert made["Status"] == "SUCCESS"
    changed = _answer(
        mailbox,
        RequestType="Update",
        PhysicalResourceId=made["PhysicalResourceId"],
        ResourceProperties=about,
        OldResourceProperties=about,
    )
    # Another id would be another resource, and the former one's end.
    assert changed["PhysicalResourceId"] == made["PhysicalResourceId"]
    count = len(api.asked)
    gone = _answer(mailbox, RequestType="Delete", PhysicalResourceId="x", ResourceProperties=about)
    assert (gone["Status"], gone["PhysicalResourceId"]) == ("SUCCESS", "x")
    assert len(api.asked) == count  # its tables are its own


def test_cloudformation_hears_of_a_failure_at_once(
    postgres_server: PostgresServer,
    about: About,
    mailbox: http.server.HTTPServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    api = DataApi(postgres_server, 10_000, "DatabaseErrorException")
    monkeypatch.setattr(boto3, "client", lambda service: api)
    answer = _answer(mailbox, RequestType="Create", ResourceProperties=about)
    assert answer["Status"] == "FAILED"
    assert "DatabaseErrorException" in answer["Reason"]
