"""Logging in to RDS by IAM: a token for each new connection, and the certificate to trust.

A token is valid for 15 minutes, and only to connect: who is connected stays so. It is signed on
this machine, without a call, with whatever credentials the role has at that moment.
Source: https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/UsingWithRDS.IAMDBAuth.html
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources

from botocore.exceptions import BotoCoreError

from orchestrator import errors
from orchestrator.config.aws import Sessions
from orchestrator.config.databases import Postgres


def parameters(database: Postgres) -> dict[str, str]:
    """The URL's parameters. By IAM, the server must prove who it is before it gets a token."""
    if not database.iam:
        return database.parameters
    bundle = str(resources.files(__package__) / "rds-ca.pem")
    return {"sslrootcert": bundle, **database.parameters, "sslmode": "verify-full"}


def token(database: Postgres, sessions: Sessions, auth: str | None) -> Callable[[], str]:
    """What makes the password of the next connection."""

    def make() -> str:
        try:
            made: str = sessions.client("rds", auth).generate_db_auth_token(
                DBHostname=database.host, Port=database.port, DBUsername=database.user
            )
        except BotoCoreError as error:
            raise errors.EnvironmentProblem(
                f"no token for the database can be made: {error}",
                hint="credentials of a role that may rds-db:connect, and a region",
            ) from None
        return made

    return make
