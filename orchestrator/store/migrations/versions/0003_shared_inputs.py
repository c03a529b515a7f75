"""Large inputs of calls are kept once, by their content."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_KEY = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "shared_input",
        sa.Column("root_id", _KEY, nullable=False),
        sa.Column("digest", _KEY, nullable=False),
        sa.Column("json", sa.Text, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("root_id", "digest", name=op.f("pk_shared_input")),
        sa.ForeignKeyConstraint(
            ["root_id"],
            ["workflow.id"],
            name=op.f("fk_shared_input_root_id"),
            ondelete="CASCADE",
        ),
    )
    op.add_column(
        "call", sa.Column("shared_inputs", sa.Text, nullable=False, server_default=sa.text("'{}'"))
    )
