"""`database`: where workflows are kept, from the JDBC URLs that Cromwell has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import Field, SecretStr

from orchestrator.config.keys import Keys
from orchestrator.config.reading import KeyPath, Reader

DEFAULT_DATABASE = Path(".orchestrator/orchestrator.db")


class Sqlite(Keys):
    """A database in a file."""

    path: Path = DEFAULT_DATABASE


class Postgres(Keys):
    """A PostgreSQL database. Its user and password stand here or in a secret, by its ARN.

    `parameters` are the URL's, e.g. sslmode. With `iam`, tokens of AWS's take the password's place.
    """

    host: str
    port: int = 5432
    name: str
    user: str | None = None
    password: SecretStr | None = None
    secret_arn: str | None = None
    iam: bool = False
    parameters: dict[str, str] = Field(default_factory=dict)


class _Db(Keys):
    driver: str | None = None  # Cromwell requires it; the URL says it
    url: str | None = None
    user: str | None = None
    password: SecretStr | None = None


class Layout(Keys):
    """`database` as it stands in a document, Cromwell's way."""

    profile: str | None = None
    db: _Db = _Db()


class Login(Keys):
    """`orchestrator.database`: a login without a password in the document."""

    secret_arn: str | None = None
    iam: bool = False


# Of PostgreSQL's documentation, "Parameter Key Words"; those that JDBC URLs share or people add.
_LIBPQ = frozenset(
    {
        "application_name", "channel_binding", "connect_timeout", "gssencmode", "keepalives",
        "keepalives_idle", "options", "sslcert", "sslcrl", "sslkey", "sslmode", "sslrootcert",
        "target_session_attrs",
    }
)  # fmt: skip
# JDBC's own names: jdbc.postgresql.org, "Connection Parameters".
_OF_JDBC = {"connectTimeout": "connect_timeout", "ApplicationName": "application_name"}

_URL: KeyPath = ("database", "db", "url")
_POSTGRES = "jdbc:postgresql://<host>:<port>/<database>"
_MYSQL = frozenset({"mysql", "mariadb"})
_CROMWELLS = {
    **dict.fromkeys(_MYSQL, "MySQL"),
    "hsqldb": "HSQLDB",
}


def kind(block: Any) -> str:
    """Of a block `database`: `postgresql`, `sqlite`, `mysql`, `hsqldb`..., or "" for none."""
    db = block.get("db") if isinstance(block, dict) else None
    url = db.get("url") if isinstance(db, dict) else None
    if isinstance(url, str) and url.strip():
        return url.strip().removeprefix("jdbc:").partition(":")[0]
    profile = str(block.get("profile", "")) if isinstance(block, dict) else ""
    if "Hsqldb" in profile:
        return "hsqldb"
    return "mysql" if "MySQL" in profile else ""


def product(kind: str) -> str | None:
    """The name of a database that only Cromwell can use; None: any other."""
    return _CROMWELLS.get(kind)


def read(reader: Reader, login: Login) -> Sqlite | Postgres | None:
    """The database, None where it has defects."""
    raw = reader.block("database", Layout)
    if raw is None:
        return None
    found = kind(reader.data.get("database"))
    url = (raw.db.url or "").strip()
    rest = url.removeprefix("jdbc:").partition(":")[2]
    at: KeyPath = _URL if url else ("database", "profile")
    if found == "hsqldb":
        reader.without_effect(
            at, "HSQLDB is not used here", f"workflows are kept in SQLite, {DEFAULT_DATABASE}"
        )
        return Sqlite()
    if found in _MYSQL:
        reader.defect(
            at,
            "MySQL is not supported; Cromwell's database stays untouched, and is not taken over",
            f"a PostgreSQL ({_POSTGRES}), or leave `database` out: workflows are then kept in "
            "SQLite, or in the database of --environment",
        )
        return None
    if not url:
        if raw.profile or login.secret_arn or login.iam:
            reader.defect(_URL, "missing", _POSTGRES)
        return Sqlite()
    if found == "sqlite":
        return Sqlite(path=Path(rest.removeprefix("//")))
    if found != "postgresql":
        reader.defect(
            _URL,
            f"a database of the kind {found!r} is not supported",
            f"{_POSTGRES}, or jdbc:sqlite:<file>",
        )
        return None
    return _postgres(reader, rest, raw.db, login)


def _postgres(reader: Reader, rest: str, db: _Db, login: Login) -> Postgres | None:
    try:
        parts = urlsplit(rest)
        port = parts.port or 5432
    except ValueError:
        parts, port = urlsplit(""), 0
    name = unquote(parts.path.strip("/"))
    if not parts.hostname or not name:
        reader.defect(_URL, "host or database is missing", _POSTGRES)
        return None
    parameters = dict(parse_qsl(parts.query))
    user = db.user or parameters.pop("user", None)
    password = db.password
    if "password" in parameters:
        password = password or SecretStr(parameters.pop("password"))
    if parts.username or parts.password:
        reader.defect(_URL, "user and password stand in the URL", "database.db.user, .password")
    if login.iam and (login.secret_arn or password):
        reader.defect(
            ("orchestrator", "database", "iam"),
            "a login by IAM takes neither a password nor a secret",
            "leave out secret-arn and password, or iam",
        )
    if not user and not login.secret_arn:
        reader.defect(("database", "db", "user"), "missing", "or orchestrator.database.secret-arn")
    return Postgres(
        host=parts.hostname,
        port=port,
        name=name,
        user=user,
        password=password,
        secret_arn=login.secret_arn,
        iam=login.iam,
        parameters=_libpq(reader, parameters),
    )


def _libpq(reader: Reader, parameters: Mapping[str, str]) -> dict[str, str]:
    """Parameters of the JDBC driver that libpq knows too; a warning for the others."""
    known = {_OF_JDBC.get(name, name): value for name, value in parameters.items()}
    if known.pop("ssl", "false").lower() in ("true", ""):
        known.setdefault("sslmode", "require")
    for name in sorted(known.keys() - _LIBPQ):
        reader.warn(_URL, f"the parameter {name} of the JDBC driver has no effect here")
    return {name: value for name, value in known.items() if name in _LIBPQ}
