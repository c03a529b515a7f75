"""Leases in SQL: the row of a root workflow in `lease`, its owner, its epoch, its end.

That row is the lock of its workflow: every write takes it first. Times are compared by one clock:
PostgreSQL's own, because servers' clocks differ; this machine's for SQLite.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import sqlalchemy as sa

from orchestrator import errors
from orchestrator.store import schema
from orchestrator.store.base import POISON_DEATHS, PROBATION_SECONDS, Lease

_lease, _workflow = schema.lease.c, schema.workflow.c
_CLAIMABLE = schema.is_claimable("workflow.")
_HAS_DEATHS = schema.has_deaths("lease.")
_RENEWED_AT_ONCE = 5_000  # SQLite binds 32,766 values at most

Clock = Callable[[], Any]
"""Seconds since the epoch: a number, or the expression that makes the database say it."""


def claim(
    connection: sa.Connection,
    now: Any,
    owner: str,
    lease_seconds: float,
    limit: int,
    root_id: str | None,
    dead_owners: Collection[str],
    token: str,
) -> Sequence[Lease]:
    """Take free leases, oldest workflow first."""
    free = (
        sa.select(_lease.root_id, _workflow.submitted_at)
        .join(schema.workflow, _workflow.id == _lease.root_id)
        .where(_CLAIMABLE, sa.or_(_is_free(now), _lease.owner.in_(dead_owners)))
        .order_by(_workflow.submitted_at, _workflow.id)
        .with_for_update(of=schema.lease, skip_locked=True)
    )
    deaths: sa.ColumnElement[Any] = _deaths(owner)
    found: list[Any] = []
    if root_id is not None:
        deaths = sa.literal(0)
        found += connection.execute(free.where(_workflow.id == root_id).limit(limit))
    else:
        last_chance = deaths == POISON_DEATHS - 1
        held = sa.select(_lease.root_id).where(_HAS_DEATHS, _lease.owner == owner)
        if not connection.execute(held.where(_lease.deaths == POISON_DEATHS - 1)).first():
            found += connection.execute(free.where(_HAS_DEATHS, last_chance).limit(1))
        found += connection.execute(free.where(~last_chance).limit(limit - len(found)))
    if not found:
        return ()
    order = [root for root, _ in sorted(found, key=lambda row: (row.submitted_at, row.root_id))]
    # The state is looked at again now that the row is locked: between snapshot and lock the holder
    # may have finished the workflow and let it go.
    taken = _take(connection, _lease.root_id.in_(order), now, owner, lease_seconds, token, deaths)
    return tuple(taken[root] for root in order if root in taken)


def steal(
    connection: sa.Connection,
    now: Any,
    owner: str,
    lease_seconds: float,
    root_id: str,
    dead_owner: str,
    token: str,
) -> Lease | None:
    """Take a lease from an owner who is known to be dead, or that is free."""
    # Wait for a write in flight: the update below must see the state that it leaves.
    connection.execute(sa.select(_lease.root_id).where(_lease.root_id == root_id).with_for_update())
    whose = sa.and_(_lease.root_id == root_id, sa.or_(_lease.owner == dead_owner, _is_free(now)))
    taken = _take(connection, whose, now, owner, lease_seconds, token, sa.literal(0))
    return taken.get(root_id)


def taken_with(connection: sa.Connection, owner: str, token: str) -> Sequence[Lease]:
    """What a claim took before its answer was lost."""
    query = (
        sa.select(_lease.root_id, _lease.owner, _lease.epoch, _lease.deaths)
        .join(schema.workflow, _workflow.id == _lease.root_id)
        .where(_lease.owner == owner, _lease.token == token)
        .order_by(_workflow.submitted_at, _workflow.id)
    )
    return tuple(Lease(*row) for row in connection.execute(query))


def holder(connection: sa.Connection, now: Any, root_id: str) -> str | None:
    """Who holds it now."""
    query = sa.select(_lease.owner).where(_lease.root_id == root_id, ~_is_free(now))
    return connection.execute(query).scalar()


def holders(connection: sa.Connection, now: Any) -> Collection[str]:
    """Who holds anything unfinished."""
    query = (
        sa.select(_lease.owner)
        .join(schema.workflow, _workflow.id == _lease.root_id)
        .where(_CLAIMABLE, ~_is_free(now))
        .distinct()
    )
    return set(connection.execute(query).scalars())


def renew(
    connection: sa.Connection, now: Any, leases: Sequence[Lease], lease_seconds: float
) -> Sequence[Lease]:
    """Extend leases; the answer lists those that are lost."""
    kept: set[str] = set()
    survived = sa.case((_lease.taken_at <= now - PROBATION_SECONDS, 0), else_=_lease.deaths)
    for start in range(0, len(leases), _RENEWED_AT_ONCE):
        part = leases[start : start + _RENEWED_AT_ONCE]
        extend = (
            sa.update(schema.lease)
            .where(
                sa.tuple_(_lease.root_id, _lease.owner, _lease.epoch).in_(
                    [(lease.root_id, lease.owner, lease.epoch) for lease in part]
                )
            )
            .values(expires_at=now + lease_seconds, deaths=survived)
            .returning(_lease.root_id)
        )
        kept.update(connection.execute(extend).scalars())
    return tuple(lease for lease in leases if lease.root_id not in kept)


def release(connection: sa.Connection, lease: Lease, broken: bool) -> None:
    """Let it go; nothing happens when it is lost already."""
    connection.execute(
        sa.update(schema.lease)
        .where(_is(lease))
        .values(owner=None, expires_at=None, deaths=_lease.deaths + int(broken))
    )


def lock(connection: sa.Connection, lease: Lease) -> tuple[int, str | None]:
    """Hold the lease's row until the transaction ends: (number of its last event, last token).

    Raises LeaseLost.
    """
    return _read(connection, lease, lock=True)


def check(connection: sa.Connection, lease: Lease) -> None:
    """Raises LeaseLost when the lease is not this one any more."""
    _read(connection, lease, lock=False)


def _read(connection: sa.Connection, lease: Lease, *, lock: bool) -> tuple[int, str | None]:
    query = sa.select(_lease.events, _lease.token).where(_is(lease))
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        raise errors.LeaseLost(
            f"{lease.owner} lost workflow {lease.root_id} (epoch {lease.epoch}); "
            "nothing was written"
        )
    return row.events, row.token


def _take(
    connection: sa.Connection,
    condition: sa.ColumnElement[bool],
    now: Any,
    owner: str,
    lease_seconds: float,
    token: str,
    deaths: sa.ColumnElement[Any],
) -> dict[str, Lease]:
    # A value, not EXISTS: PostgreSQL would join, beginning with every claimable workflow there is.
    state = sa.select(_workflow.state).where(_workflow.id == _lease.root_id).scalar_subquery()
    take = (
        sa.update(schema.lease)
        .where(condition, state.in_(schema.CLAIMABLE_STATES))
        .values(
            owner=owner,
            epoch=_lease.epoch + 1,
            expires_at=now + lease_seconds,
            token=token,
            deaths=deaths,
            taken_at=now,
        )
        .returning(_lease.root_id, _lease.owner, _lease.epoch, _lease.deaths)
    )
    return {row.root_id: Lease(*row) for row in connection.execute(take)}


def _deaths(owner: str) -> sa.ColumnElement[Any]:
    """What they are when this owner takes it. Who takes it from itself has not died."""
    return _lease.deaths + sa.case((_lease.owner != owner, 1), else_=0)  # NULL: it was given back


def _is_free(now: Any) -> sa.ColumnElement[bool]:
    return sa.or_(_lease.owner.is_(None), _lease.expires_at <= now)


def _is(lease: Lease) -> sa.ColumnElement[bool]:
    return sa.and_(
        _lease.root_id == lease.root_id,
        _lease.owner == lease.owner,
        _lease.epoch == lease.epoch,
    )
