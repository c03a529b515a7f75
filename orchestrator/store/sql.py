"""The store in SQL, for both dialects. See `base` for what it promises."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from orchestrator import errors
from orchestrator.model.records import (
    AttemptRecord,
    CallRecord,
    EventRecord,
    Record,
    SubmissionRecord,
    WorkflowRecord,
)
from orchestrator.model.states import WorkflowState
from orchestrator.store import leases, migrations, rows, schema
from orchestrator.store.base import Journal, Lease, Store
from orchestrator.store.database import POSTGRESQL, Database, new_token

_PAGE = 100  # workflows that `matching` answers with


class SqlStore(Store):
    """Implements `base.Store` over SQLite or PostgreSQL.

    Usable from several threads and by several processes. The writes of one lease are made one after
    another, by its one holder.
    """

    def __init__(
        self,
        url: str,
        *,
        password: Callable[[], str] | None = None,
        clock: Callable[[], float] | None = None,
        idle_seconds: float = 60.0,
        busy_seconds: float = 30.0,
    ) -> None:
        """See `Database`. `clock` (seconds since the epoch) is for tests; without it leases run by
        PostgreSQL's clock, or this machine's for SQLite."""
        self._database = Database(
            url, password=password, idle_seconds=idle_seconds, busy_seconds=busy_seconds
        )
        self._now = clock or self._database.now
        insert = postgresql.insert if self._database.name == POSTGRESQL else sqlite.insert
        self._insert: Callable[[sa.Table], Any] = insert
        self._upserts = {m.record: self._upsert(m) for m in rows.UPSERTED}

    def migrate(self) -> None:
        migrations.migrate(self._database)

    def close(self) -> None:
        self._database.close()

    # Bundles

    def put_bundle(self, digest: str, files: Mapping[str, str]) -> None:
        row = {"digest": rows.clean(digest), "files": json.dumps(dict(files))}
        insert = self._insert(schema.bundle).on_conflict_do_nothing()
        self._database.write(lambda connection, _: connection.execute(insert, row))

    def bundle(self, digest: str) -> Mapping[str, str]:
        query = sa.select(schema.bundle.c.files).where(schema.bundle.c.digest == rows.clean(digest))
        files = self._database.read(lambda connection: connection.execute(query).scalar())
        if files is None:
            raise errors.NotFound(f"no source bundle {digest}")
        return dict(json.loads(files))

    # Workflows, for doors

    def create(
        self, workflow: WorkflowRecord, owner: str | None = None, lease_seconds: float = 0.0
    ) -> None:
        if workflow.id != workflow.root_id:
            raise ValueError(f"workflow {workflow.id} is no root")
        [row] = rows.WORKFLOW.rows([workflow], epoch=0)
        lease = {"root_id": row["id"], "epoch": 0, "events": 0, "deaths": 0}
        given = ("id", "bundle", "submitted_at", "inputs")  # what no server changes
        same = sa.select(schema.workflow.c.id).where(
            *(schema.workflow.c[name] == row[name] for name in given)
        )

        def work(connection: sa.Connection, again: bool) -> None:
            insert = self._insert(schema.workflow).on_conflict_do_nothing()
            new = insert.returning(schema.workflow.c.id)
            if connection.execute(new, row).scalar() is not None:
                connection.execute(sa.insert(schema.lease), lease)
                if owner is not None:
                    leases.claim(
                        connection, self._now(), owner, lease_seconds, 1, row["id"], (), new_token()
                    )
            elif not (again and connection.execute(same).scalar()):
                raise errors.NotAllowed(f"a workflow {workflow.id} exists already")

        self._database.write(work)

    def workflow(self, workflow_id: str) -> WorkflowRecord:
        found = self._select(rows.WORKFLOW, schema.workflow.c.id == rows.clean(workflow_id))
        if not found:
            raise errors.NotFound(
                f"no workflow {workflow_id}", hint="the whole id is needed; list the workflows"
            )
        [record] = found
        return cast(WorkflowRecord, record)

    def matching(self, id_prefix: str) -> Sequence[WorkflowRecord]:
        workflow, prefix = schema.workflow.c, rows.clean(id_prefix)
        query = (
            sa.select(*rows.WORKFLOW.columns)
            .where(schema.is_root())
            .order_by(workflow.submitted_at.desc(), workflow.id.desc())
            .limit(_PAGE)
        )
        if prefix:  # a range, not LIKE: nothing to escape, and the index serves it
            query = query.where(workflow.id >= prefix, workflow.id <= prefix + "\U0010ffff")
        return self._database.read(
            lambda connection: tuple(rows.WORKFLOW.records(connection.execute(query)))
        )

    def calls(self, workflow_id: str) -> Sequence[CallRecord]:
        call = schema.call.c
        return self._select(
            rows.CALL, *self._of_workflow(schema.call, workflow_id), order=[call.id]
        )

    def shared_inputs(self, root_id: str) -> Mapping[str, str]:
        shared = schema.shared_input.c
        query = sa.select(shared.digest, shared.json).where(shared.root_id == rows.clean(root_id))
        return self._database.read(
            lambda connection: {row.digest: row.json for row in connection.execute(query)}
        )

    def attempts(self, workflow_id: str) -> Sequence[AttemptRecord]:
        attempt = schema.attempt.c
        return self._select(
            rows.ATTEMPT,
            *self._of_workflow(schema.attempt, workflow_id),
            order=[attempt.call_id, attempt.attempt],
        )

    def submissions(self, root_id: str) -> Sequence[SubmissionRecord]:
        submission = schema.submission.c
        return self._select(
            rows.SUBMISSION, submission.root_id == rows.clean(root_id), order=[submission.id]
        )

    def events(
        self, root_id: str, after: int = 0, limit: int = 1000
    ) -> Sequence[tuple[int, EventRecord]]:
        event = schema.event.c
        query = (
            sa.select(event.number, *rows.EVENT.columns)
            .where(event.root_id == rows.clean(root_id), event.number > after)
            .order_by(event.number)
            .limit(max(limit, 0))
        )
        found = self._database.read(lambda connection: connection.execute(query).all())
        records = rows.EVENT.records(row[1:] for row in found)
        return tuple((row[0], record) for row, record in zip(found, records, strict=True))

    # Leases

    def claim(
        self,
        owner: str,
        lease_seconds: float,
        limit: int,
        root_id: str | None = None,
        dead_owners: Collection[str] = (),
    ) -> Sequence[Lease]:
        token = new_token()

        def work(connection: sa.Connection, again: bool) -> Sequence[Lease]:
            taken = leases.taken_with(connection, owner, token) if again else ()
            return taken or leases.claim(
                connection, self._now(), owner, lease_seconds, limit, root_id, dead_owners, token
            )

        return self._database.write(work) if limit > 0 else ()

    def steal(
        self, owner: str, lease_seconds: float, root_id: str, dead_owner: str
    ) -> Lease | None:
        token = new_token()

        def work(connection: sa.Connection, again: bool) -> Lease | None:
            taken = leases.taken_with(connection, owner, token) if again else ()
            return taken[0] if taken else leases.steal(
                connection, self._now(), owner, lease_seconds, root_id, dead_owner, token
            )  # fmt: skip

        return self._database.write(work)

    def holder(self, root_id: str) -> str | None:
        return self._database.read(
            lambda connection: leases.holder(connection, self._now(), rows.clean(root_id))
        )

    def holders(self) -> Collection[str]:
        return self._database.read(lambda connection: leases.holders(connection, self._now()))

    def renew(self, leases_: Iterable[Lease], lease_seconds: float) -> Sequence[Lease]:
        held = tuple(leases_)
        if not held:
            return ()
        return self._database.write(
            lambda connection, _: leases.renew(connection, self._now(), held, lease_seconds)
        )

    def release(self, lease: Lease, *, broken: bool = False) -> None:
        self._database.write(lambda connection, _: leases.release(connection, lease, broken))

    # Under a lease

    def journal(self, lease: Lease) -> Journal:
        def work(connection: sa.Connection) -> Journal:
            leases.check(connection, lease)

            def all_of(mapping: rows.Mapping[Any], *order: str) -> tuple[Any, ...]:
                table = mapping.table
                query = (
                    sa.select(*mapping.columns)
                    .where(table.c.root_id == lease.root_id)
                    .order_by(*(table.c[name] for name in order))
                )
                return tuple(mapping.records(connection.execute(query)))

            workflows = all_of(rows.WORKFLOW, "id")
            return Journal(
                workflows=tuple(sorted(workflows, key=lambda w: w.id != w.root_id)),
                calls=all_of(rows.CALL, "workflow_id", "id"),
                attempts=all_of(rows.ATTEMPT, "workflow_id", "call_id", "attempt"),
                submissions=all_of(rows.SUBMISSION, "id"),
                facts=all_of(rows.FACT, "kind", "uri_digest"),
            )

        return self._database.read(work)

    def write(self, lease: Lease, records: Iterable[Record]) -> None:
        batch = rows.Batch(lease, records)
        token = new_token()
        progress = {"deaths": 0} if batch.ends_a_call else {}

        def work(connection: sa.Connection, again: bool) -> None:
            last_event, last_token = leases.lock(connection, lease)
            if last_token == token:
                return  # committed before the connection broke
            for mapping in rows.UPSERTED:
                if upserted := batch.rows(mapping):
                    connection.execute(self._upserts[mapping.record], upserted)
            for mapping in rows.KEPT:
                if kept := batch.rows(mapping):
                    insert = self._insert(mapping.table).on_conflict_do_nothing()
                    connection.execute(insert, kept)
            if events := batch.event_rows(last_event + 1):
                connection.execute(sa.insert(schema.event), events)
            connection.execute(
                sa.update(schema.lease)
                .where(schema.lease.c.root_id == lease.root_id)
                .values(events=last_event + len(events), token=token, **progress)
            )

        self._database.write(work)

    # Commands

    def leave_hold(self, root_id: str, state: WorkflowState) -> bool:
        workflow = schema.workflow.c
        ended = {} if state is WorkflowState.SUBMITTED else {"ended_at": time.time()}
        leave = (
            sa.update(schema.workflow)
            .where(workflow.id == rows.clean(root_id), workflow.state == WorkflowState.ON_HOLD)
            .values(state=state, **ended)
        )

        def work(connection: sa.Connection, again: bool) -> bool:
            if connection.execute(leave).rowcount:
                return True
            now = sa.select(workflow.state).where(workflow.id == rows.clean(root_id))
            # Again: the answer to the first try was lost.
            return again and connection.execute(now).scalar() == state

        return self._database.write(work)

    def put_command(self, root_id: str, kind: str, detail: str = "{}") -> int:
        command, workflow = schema.command.c, schema.workflow.c
        row = {
            "root_id": rows.clean(root_id),
            "kind": rows.clean(kind),
            "detail": rows.clean(detail),
            "put_token": new_token(),
        }

        def work(connection: sa.Connection, _: bool) -> int:
            root = sa.select(workflow.id).where(workflow.id == row["root_id"], schema.is_root())
            if connection.execute(root).scalar() is None:
                raise errors.NotFound(f"no root workflow {root_id}")
            connection.execute(self._insert(schema.command).on_conflict_do_nothing(), row)
            number = sa.select(command.number).where(command.put_token == row["put_token"])
            return int(connection.execute(number).scalar_one())

        return self._database.write(work)

    def commanded(self, owner: str) -> Collection[str]:
        command, lease = schema.command.c, schema.lease.c
        query = (
            sa.select(lease.root_id)
            .join_from(schema.lease, schema.command, command.root_id == lease.root_id)
            .where(
                lease.owner == rows.clean(owner),
                sa.or_(command.taken_epoch.is_(None), command.taken_epoch < lease.epoch),
            )
            .distinct()
        )
        return self._database.read(
            lambda connection: frozenset(connection.execute(query).scalars())
        )

    def take_commands(self, lease: Lease) -> Sequence[tuple[int, str, str]]:
        command, token = schema.command.c, new_token()
        mine = command.root_id == lease.root_id
        waiting = sa.or_(command.taken_epoch.is_(None), command.taken_epoch < lease.epoch)

        def work(connection: sa.Connection, _: bool) -> Sequence[tuple[int, str, str]]:
            leases.lock(connection, lease)
            connection.execute(
                sa.update(schema.command)
                .where(mine, waiting)
                .values(taken_token=token, taken_epoch=lease.epoch)
            )
            taken = (
                sa.select(command.number, command.kind, command.detail)
                .where(mine, command.taken_token == token)
                .order_by(command.number)
            )
            return tuple(
                (number, kind, detail) for number, kind, detail in connection.execute(taken)
            )

        return self._database.write(work)

    # Statements

    def _upsert(self, mapping: rows.Mapping[Any]) -> Any:
        insert = self._insert(mapping.table)
        # The workflow's own key is its id alone: an id that another root has is refused, not taken.
        key = ["root_id", *mapping.key]
        changed = {c.name: insert.excluded[c.name] for c in mapping.table.c if c.name not in key}
        return insert.on_conflict_do_update(index_elements=key, set_=changed)

    def _select(
        self, mapping: rows.Mapping[Any], *where: Any, order: Sequence[Any] = ()
    ) -> tuple[Any, ...]:
        query = sa.select(*mapping.columns).where(*where).order_by(*order)

        return self._database.read(
            lambda connection: tuple(mapping.records(connection.execute(query)))
        )

    def _of_workflow(self, table: sa.Table, workflow_id: str) -> list[Any]:
        """Conditions that use the table's key, which begins with the root."""
        workflow = schema.workflow.c
        root = sa.select(workflow.root_id).where(workflow.id == rows.clean(workflow_id))
        return [
            table.c.root_id == root.scalar_subquery(),
            table.c.workflow_id == rows.clean(workflow_id),
        ]
