"""Brings a database to this software's schema; one revision a file below `versions/`.

Revisions are numbered upwards, so that a database newer than this software is known as such.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from orchestrator import errors
from orchestrator.store.database import POSTGRESQL, Database

HEAD = "0004"
_LOCK = 0x776F726B666C6F77  # any number of our own; PostgreSQL's advisory locks share one space
_VERSION = sa.table("alembic_version", sa.column("version_num"))


def migrate(database: Database) -> None:
    """To `HEAD`, in one transaction. Whoever comes meanwhile waits and then finds nothing to do.

    Raises StoreUnavailable for a database that a newer release has migrated.
    """
    # Alembic takes longer to import than everything else here: only where there is work for it.
    if database.read(lambda connection: _is_current(database, connection)):
        return

    def work(connection: sa.Connection, _: bool) -> None:
        if database.name == POSTGRESQL:
            connection.execute(sa.text("SET LOCAL lock_timeout = 0"))
            connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        if not _is_current(database, connection):
            _upgrade(connection)

    database.write(work)


def _is_current(database: Database, connection: sa.Connection) -> bool:
    if not sa.inspect(connection).has_table(_VERSION.name):
        return False
    version = connection.execute(sa.select(_VERSION.c.version_num)).scalar()
    if version is not None and version > HEAD:
        raise errors.StoreUnavailable(
            f"{database} has schema version {version}, this software knows {HEAD}",
            hint="use the release of the orchestrator that migrated it, or a newer one",
        )
    return version == HEAD


def _upgrade(connection: sa.Connection) -> None:
    from alembic import command, config

    settings = config.Config()
    settings.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    settings.attributes["connection"] = connection
    command.upgrade(settings, HEAD)
