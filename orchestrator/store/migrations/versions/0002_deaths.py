"""Leases count the servers that died while they held them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_HAS_DEATHS = sa.text("deaths > 0")


def upgrade() -> None:
    op.add_column(
        "lease", sa.Column("deaths", sa.BigInteger, nullable=False, server_default=sa.text("0"))
    )
    op.add_column("lease", sa.Column("taken_at", sa.Double))
    op.create_index(
        "ix_lease_deaths",
        "lease",
        ["deaths"],
        sqlite_where=_HAS_DEATHS,
        postgresql_where=_HAS_DEATHS,
    )
