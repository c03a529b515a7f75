"""The tables. `migrations/` builds them; a test proves that both say the same.

Every table begins its key with the root workflow: all that is known of a root is one range of each
index, a write under a lease can touch no row of another root, and deleting a root takes the rest
along. `epoch` is that of the lease a row was last written under. Times are seconds since the epoch.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from orchestrator.model.states import WorkflowState, is_terminal

# Keys compare by code point in both dialects, so that order and prefix search are the same.
_Key = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
_Time: sa.Double[float] = sa.Double()
_Int = sa.BigInteger()  # sizes and exit codes of any system
_Number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # SQLite counts up INTEGER only

CLAIMABLE_STATES = tuple(
    state.value
    for state in WorkflowState
    if not is_terminal(state) and state is not WorkflowState.ON_HOLD
)


def is_root(table: str = "") -> sa.TextClause:
    """Condition on `workflow`: no sub-workflow. `table` is `workflow.` where names would clash."""
    return sa.text(f"{table}id = {table}root_id")


def is_claimable(table: str = "") -> sa.TextClause:
    """Condition on `workflow`: a root that a server should work on."""
    # Literal text: a partial index serves only a query that repeats its condition word by word.
    states = ", ".join(f"'{state}'" for state in CLAIMABLE_STATES)
    return sa.text(f"{is_root(table)} AND {table}state IN ({states})")


def has_deaths(table: str = "") -> sa.TextClause:
    """Condition on `lease`: a holder died."""
    return sa.text(f"{table}deaths > 0")


def is_held() -> sa.TextClause:
    """Condition on `lease`: it was not given back."""
    return sa.text("owner IS NOT NULL")


metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _root() -> sa.Column[str]:
    return sa.Column(
        "root_id", _Key, sa.ForeignKey("workflow.id", ondelete="CASCADE"), primary_key=True
    )


def _epoch() -> sa.Column[int]:
    return sa.Column("epoch", _Int, nullable=False)


bundle = sa.Table(
    "bundle",
    metadata,
    sa.Column("digest", _Key, primary_key=True),
    sa.Column("files", sa.Text, nullable=False),  # JSON: {name: text}
)

workflow = sa.Table(
    "workflow",
    metadata,
    sa.Column("id", _Key, primary_key=True),
    sa.Column("root_id", _Key, sa.ForeignKey("workflow.id", ondelete="CASCADE"), nullable=False),
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
    sa.Column("submitted_at", _Time, nullable=False),
    sa.Column("started_at", _Time),
    sa.Column("ended_at", _Time),
    _epoch(),
    sa.UniqueConstraint("root_id", "id"),
    sa.Index(
        "ix_workflow_roots",
        "submitted_at",
        "id",
        sqlite_where=is_root(),
        postgresql_where=is_root(),
    ),
    sa.Index(
        "ix_workflow_claimable",
        "submitted_at",
        "id",
        sqlite_where=is_claimable(),
        postgresql_where=is_claimable(),
    ),
)

call = sa.Table(
    "call",
    metadata,
    _root(),
    sa.Column("workflow_id", _Key, primary_key=True),
    sa.Column("id", _Key, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("shards", sa.Text, nullable=False),  # JSON: [index, ...]
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("inputs_digest", sa.Text, nullable=False),
    sa.Column("inputs", sa.Text, nullable=False),
    sa.Column("outputs", sa.Text),
    sa.Column("sub_workflow_id", sa.Text),
    sa.Column("attempts", _Int, nullable=False),
    sa.Column("failure_code", sa.Text),
    sa.Column("failure_message", sa.Text),
    sa.Column("started_at", _Time),
    sa.Column("ended_at", _Time),
    sa.Column("shared_inputs", sa.Text, nullable=False, server_default="{}"),
    _epoch(),
)

shared_input = sa.Table(
    "shared_input",
    metadata,
    _root(),
    sa.Column("digest", _Key, primary_key=True),
    sa.Column("json", sa.Text, nullable=False),
    _epoch(),
)

attempt = sa.Table(
    "attempt",
    metadata,
    _root(),
    sa.Column("workflow_id", _Key, primary_key=True),
    sa.Column("call_id", _Key, primary_key=True),
    sa.Column("attempt", _Int, primary_key=True, autoincrement=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("submission_id", sa.Text),
    sa.Column("array_index", _Int, nullable=False),
    sa.Column("uri", sa.Text, nullable=False),
    sa.Column("runtime", sa.Text, nullable=False),
    sa.Column("job_id", sa.Text),
    sa.Column("return_code", _Int),
    sa.Column("failure_code", sa.Text),
    sa.Column("failure_message", sa.Text),
    sa.Column("stdout", sa.Text),
    sa.Column("stderr", sa.Text),
    sa.Column("log_stream", sa.Text),
    sa.Column("phases", sa.Text, nullable=False),
    sa.Column("peak_memory_bytes", _Int),
    sa.Column("peak_disk_bytes", _Int),
    sa.Column("started_at", _Time),
    sa.Column("ended_at", _Time),
    _epoch(),
)

submission = sa.Table(
    "submission",
    metadata,
    _root(),
    sa.Column("id", _Key, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("backend", sa.Text, nullable=False),
    sa.Column("queue", sa.Text, nullable=False),
    sa.Column("size", _Int, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("created_at", _Time, nullable=False),
    sa.Column("job_id", sa.Text),
    _epoch(),
)

fact = sa.Table(
    "fact",
    metadata,
    _root(),
    sa.Column("kind", _Key, primary_key=True),
    # sha256 of the URI: a presigned URL or a deep path is longer than PostgreSQL can index.
    sa.Column("uri_digest", _Key, primary_key=True),
    sa.Column("uri", sa.Text, nullable=False),
    sa.Column("exists", sa.Boolean, nullable=False),
    sa.Column("size", _Int),
    sa.Column("etag", sa.Text),
    sa.Column("content", sa.LargeBinary),
    _epoch(),
)

event = sa.Table(
    "event",
    metadata,
    _root(),
    # Counted by `lease.events` under the lease's row lock: no gaps, no number seen out of order.
    sa.Column("number", _Int, primary_key=True, autoincrement=False),
    sa.Column("workflow_id", sa.Text, nullable=False),
    sa.Column("at", _Time, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("call_id", sa.Text),
    sa.Column("attempt", _Int),
    sa.Column("detail", sa.Text, nullable=False),
    _epoch(),
)

command = sa.Table(
    "command",
    metadata,
    sa.Column("number", _Number, primary_key=True, autoincrement=True),
    sa.Column("root_id", _Key, sa.ForeignKey("workflow.id", ondelete="CASCADE"), nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("put_token", sa.Text, nullable=False, unique=True),  # see lease.token
    sa.Column("taken_token", sa.Text),
    sa.Column("taken_epoch", sa.BigInteger),
    sa.Index("ix_command_root_id_taken_epoch", "root_id", "taken_epoch"),
    sqlite_autoincrement=True,
)

lease = sa.Table(
    "lease",
    metadata,
    _root(),
    sa.Column("owner", sa.Text),
    _epoch(),
    sa.Column("expires_at", _Time),
    sa.Column("events", _Int, nullable=False),  # how many this root has
    # Of the last transaction that claimed or wrote: where a connection breaks before the answer to
    # COMMIT, the retry finds its own token and knows that the transaction was done.
    sa.Column("token", sa.Text),
    # Holders in a row that died of it, or beside it: see `base.Lease.deaths`.
    sa.Column("deaths", _Int, nullable=False, server_default="0"),
    sa.Column("taken_at", _Time),
    sa.Index("ix_lease_deaths", "deaths", sqlite_where=has_deaths(), postgresql_where=has_deaths()),
    sa.Index("ix_lease_owner", "owner", sqlite_where=is_held(), postgresql_where=is_held()),
)
