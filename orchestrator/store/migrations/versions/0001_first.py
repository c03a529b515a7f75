"""The first schema.

Written out, not taken from `schema`: a revision never changes after its release.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_Key = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
_Number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_ROOT = sa.text("id = root_id")
_CLAIMABLE = sa.text("id = root_id AND state IN ('Submitted', 'Running', 'Aborting')")


def _root_key(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["root_id"], ["workflow.id"], name=f"fk_{table}_root_id", ondelete="CASCADE"
    )


def upgrade() -> None:
    op.create_table(
        "bundle",
        sa.Column("digest", _Key, nullable=False),
        sa.Column("files", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_bundle"),
    )
    op.create_table(
        "workflow",
        sa.Column("id", _Key, nullable=False),
        sa.Column("root_id", _Key, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("bundle", sa.Text, nullable=False),
        sa.Column("inputs", sa.Text, nullable=False),
        sa.Column("options", sa.Text, nullable=False),
        sa.Column("labels", sa.Text, nullable=False),
        sa.Column("outputs", sa.Text),
        sa.Column("failures", sa.Text),
        sa.Column("parent_id", sa.Text),
        sa.Column("parent_call_id", sa.Text),
        sa.Column("directory", sa.Text, nullable=False),
        sa.Column("backend", sa.Text, nullable=False),
        sa.Column("submitted_at", sa.Double, nullable=False),
        sa.Column("started_at", sa.Double),
        sa.Column("ended_at", sa.Double),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_workflow"),
        sa.UniqueConstraint("root_id", "id", name="uq_workflow_root_id_id"),
        _root_key("workflow"),
    )
    op.create_index(
        "ix_workflow_roots",
        "workflow",
        ["submitted_at", "id"],
        sqlite_where=_ROOT,
        postgresql_where=_ROOT,
    )
    op.create_index(
        "ix_workflow_claimable",
        "workflow",
        ["submitted_at", "id"],
        sqlite_where=_CLAIMABLE,
        postgresql_where=_CLAIMABLE,
    )
    op.create_table(
        "call",
        sa.Column("root_id", _Key, nullable=False),
        sa.Column("workflow_id", _Key, nullable=False),
        sa.Column("id", _Key, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("shards", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("inputs_digest", sa.Text, nullable=False),
        sa.Column("inputs", sa.Text, nullable=False),
        sa.Column("outputs", sa.Text),
        sa.Column("sub_workflow_id", sa.Text),
        sa.Column("attempts", sa.BigInteger, nullable=False),
        sa.Column("failure_code", sa.Text),
        sa.Column("failure_message", sa.Text),
        sa.Column("started_at", sa.Double),
        sa.Column("ended_at", sa.Double),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("root_id", "workflow_id", "id", name="pk_call"),
        _root_key("call"),
    )
    op.create_table(
        "submission",
        sa.Column("root_id", _Key, nullable=False),
        sa.Column("id", _Key, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("backend", sa.Text, nullable=False),
        sa.Column("queue", sa.Text, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("job_id", sa.Text),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("root_id", "id", name="pk_submission"),
        _root_key("submission"),
    )
    op.create_table(
        "attempt",
        sa.Column("root_id", _Key, nullable=False),
        sa.Column("workflow_id", _Key, nullable=False),
        sa.Column("call_id", _Key, nullable=False),
        sa.Column("attempt", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("submission_id", sa.Text),
        sa.Column("array_index", sa.BigInteger, nullable=False),
        sa.Column("uri", sa.Text, nullable=False),
        sa.Column("runtime", sa.Text, nullable=False),
        sa.Column("job_id", sa.Text),
        sa.Column("return_code", sa.BigInteger),
        sa.Column("failure_code", sa.Text),
        sa.Column("failure_message", sa.Text),
        sa.Column("stdout", sa.Text),
        sa.Column("stderr", sa.Text),
        sa.Column("log_stream", sa.Text),
        sa.Column("phases", sa.Text, nullable=False),
        sa.Column("peak_memory_bytes", sa.BigInteger),
        sa.Column("peak_disk_bytes", sa.BigInteger),
        sa.Column("started_at", sa.Double),
        sa.Column("ended_at", sa.Double),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("root_id", "workflow_id", "call_id", "attempt", name="pk_attempt"),
        _root_key("attempt"),
    )
    op.create_table(
        "fact",
        sa.Column("root_id", _Key, nullable=False),
        sa.Column("kind", _Key, nullable=False),
        sa.Column("uri_digest", _Key, nullable=False),
        sa.Column("uri", sa.Text, nullable=False),
        sa.Column("exists", sa.Boolean, nullable=False),
        sa.Column("size", sa.BigInteger),
        sa.Column("etag", sa.Text),
        sa.Column("content", sa.LargeBinary),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("root_id", "kind", "uri_digest", name="pk_fact"),
        _root_key("fact"),
    )
    op.create_table(
        "event",
        sa.Column("root_id", _Key, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("workflow_id", sa.Text, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("call_id", sa.Text),
        sa.Column("attempt", sa.BigInteger),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("root_id", "number", name="pk_event"),
        _root_key("event"),
    )
    op.create_table(
        "command",
        sa.Column("number", _Number, nullable=False, autoincrement=True),
        sa.Column("root_id", _Key, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("put_token", sa.Text, nullable=False),
        sa.Column("taken_token", sa.Text),
        sa.Column("taken_epoch", sa.BigInteger),
        sa.PrimaryKeyConstraint("number", name="pk_command"),
        sa.UniqueConstraint("put_token", name="uq_command_put_token"),
        _root_key("command"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_command_root_id_taken_epoch", "command", ["root_id", "taken_epoch"])
    op.create_table(
        "lease",
        sa.Column("root_id", _Key, nullable=False),
        sa.Column("owner", sa.Text),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.Double),
        sa.Column("events", sa.BigInteger, nullable=False),
        sa.Column("token", sa.Text),
        sa.PrimaryKeyConstraint("root_id", name="pk_lease"),
        _root_key("lease"),
    )
