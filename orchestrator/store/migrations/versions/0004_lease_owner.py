"""What a server holds is found by its name: it asks for all its commands at once."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_HELD = sa.text("owner IS NOT NULL")


def upgrade() -> None:
    op.create_index(
        "ix_lease_owner", "lease", ["owner"], sqlite_where=_HELD, postgresql_where=_HELD
    )
