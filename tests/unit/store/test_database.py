"""Connections, their loss, and the errors of drivers in plain words."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from orchestrator import errors
from orchestrator.model.records import EventRecord
from orchestrator.store.base import Lease
from orchestrator.store.database import Database
from orchestrator.store.sql import SqlStore
from tests.postgres import PostgresServer
from tests.unit.store.conftest import call, claimed, root

HAPPENED = EventRecord("w", "w", 1.0, "submitted")


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Poll with a deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came to pass"
        time.sleep(0.02)


class TestUrls:
    @pytest.mark.parametrize(
        "url", ["", "nonsense", "mysql://u@h/d", "postgresql+asyncpg://h/d", "postgresql://h:x/d"]
    )
    def test_that_cannot_be_used_are_refused_with_a_hint(self, url: str) -> None:
        with pytest.raises(errors.InvalidConfig) as caught:
            Database(url)
        assert "sqlite:///" in caught.value.hint

    @pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
    def test_in_memory_is_refused(self, url: str) -> None:
        with pytest.raises(errors.InvalidConfig, match="forgets"):
            Database(url)

    @pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
    def test_of_postgresql_always_use_psycopg_3(self, scheme: str) -> None:
        database = Database(f"{scheme}://u@h/d?sslmode=verify-full")
        assert str(database) == "postgresql+psycopg://u@h/d?sslmode=verify-full"

    def test_never_show_their_password(self, tmp_path: Path) -> None:
        secret = "s3cr3t/p%ss"
        url = f"postgresql+psycopg://me:{quote(secret, safe='')}@/db?host={tmp_path}"
        store = SqlStore(url.replace("?", "?connect_timeout=2&"))
        with pytest.raises(errors.StoreUnavailable) as caught:
            store.matching("")
        for text in (str(caught.value), repr(caught.value), str(caught.value.as_json())):
            assert secret not in text
            assert quote(secret, safe="") not in text
            assert "me:***@" in text or "StoreUnavailable" in text
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__
        store.close()

    def test_hide_passwords_in_their_query_too(self) -> None:
        url = "postgresql+psycopg://me@h/db?password=s3cr3t&sslpassword=k3y&sslmode=require"
        assert "s3cr3t" not in str(Database(url))
        assert "k3y" not in str(Database(url))
        assert "sslmode=require" in str(Database(url))

    def test_unreadable_never_show_their_password(self) -> None:
        with pytest.raises(errors.InvalidConfig) as caught:
            Database("postgresql+psycopg//me:s3cr3t@h/db")
        assert "s3cr3t" not in str(caught.value)


class TestSqliteFile:
    def test_is_made_for_its_owner_only_with_its_directory(self, tmp_path: Path) -> None:
        path = tmp_path / "a b" / "ä" / "workflows.db"
        store = SqlStore(f"sqlite:///{path}")
        store.migrate()
        claimed(store)
        files = sorted(path.parent.iterdir())
        assert path in files
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
        store.close()

    def test_is_durable_and_lets_readers_in(self, sqlite_url: str) -> None:
        database = Database(sqlite_url)

        def setting(name: str) -> Any:
            return database.read(lambda c: c.exec_driver_sql(f"PRAGMA {name}").scalar())

        assert setting("journal_mode") == "wal"
        assert setting("synchronous") == 2  # FULL
        assert setting("foreign_keys") == 1
        database.close()

    def test_readers_do_not_wait_for_a_writer(self, sqlite_url: str, tmp_path: Path) -> None:
        store = SqlStore(sqlite_url, busy_seconds=0.2)
        store.migrate()
        claimed(store)
        other = sqlite3.connect(tmp_path / "workflows.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        other.execute("UPDATE workflow SET name = 'changed'")
        assert store.workflow("w") == root()
        other.execute("ROLLBACK")
        other.close()
        store.close()

    def test_kept_locked_is_told_and_nothing_written(self, sqlite_url: str, tmp_path: Path) -> None:
        store = SqlStore(sqlite_url, busy_seconds=0.2)
        store.migrate()
        lease = claimed(store)
        other = sqlite3.connect(tmp_path / "workflows.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(errors.StoreUnavailable, match="locked") as caught:
            store.write(lease, [call(1)])
        assert "another process" in caught.value.hint
        other.execute("ROLLBACK")
        other.close()
        store.write(lease, [call(2)])
        assert store.calls("w") == (call(2),)
        store.close()

    def test_threads_write_one_after_another(self, sqlite_url: str) -> None:
        # Less patience than all writes take: threads of one process must not use it up.
        store = SqlStore(sqlite_url, busy_seconds=0.5)
        store.migrate()
        for n in range(8):
            claimed(store, root_id=f"w{n}")
        failures: list[BaseException] = []

        def work(n: int) -> None:
            lease = Lease(f"w{n}", "server", 1)
            try:
                for number in range(20):
                    store.write(lease, [call(number, root_id=f"w{n}")])
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        assert [len(store.calls(f"w{n}")) for n in range(8)] == [20] * 8
        store.close()

    def test_full_disk_is_told_and_leaves_all_or_nothing(self, sqlite_url: str) -> None:
        store = SqlStore(sqlite_url)
        store.migrate()
        lease = claimed(store)
        store.write(lease, [call(1)])
        engine = store._database._engine
        engine.dispose()

        @event.listens_for(engine, "connect")
        def small_disk(connection: sqlite3.Connection, _: object) -> None:
            [[pages]] = connection.execute("PRAGMA page_count")
            connection.execute(f"PRAGMA max_page_count = {pages + 2}")

        with pytest.raises(errors.StoreUnavailable, match="full") as caught:
            store.write(lease, [call(n) for n in range(1, 5_000)])
        assert "disk space" in caught.value.hint
        assert store.calls("w") == (call(1),)
        store.close()

    def test_of_another_kind_is_told_and_left_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "notes.txt"
        path.write_text("my notes\n" * 1000)
        store = SqlStore(f"sqlite:///{path}")
        with pytest.raises(errors.StoreUnavailable, match="not a database") as caught:
            store.migrate()
        assert "another file" in caught.value.hint
        assert path.read_text() == "my notes\n" * 1000
        store.close()

    def test_in_a_place_that_cannot_be_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        for path in (tmp_path / "file" / "x.db", tmp_path):
            store = SqlStore(f"sqlite:///{path}")
            with pytest.raises(errors.StoreUnavailable, match="unable to open") as caught:
                store.migrate()
            assert "directory" in caught.value.hint
            store.close()

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
    def test_that_may_not_be_written_is_told(self, sqlite_url: str, tmp_path: Path) -> None:
        store = SqlStore(sqlite_url)
        store.migrate()
        store.close()
        (tmp_path / "workflows.db").chmod(0o400)
        with pytest.raises(errors.StoreUnavailable, match="readonly"):
            store.create(root())
        store.close()


class TestValues:
    def test_that_no_database_keeps_are_invalid_and_nothing_is_written(
        self, store: SqlStore
    ) -> None:
        lease = claimed(store)
        with pytest.raises(errors.Invalid):
            store.write(lease, [call(1), call(2, attempts=2**63)])
        assert not store.calls("w")

    def test_with_nul_and_lone_surrogates_are_kept_visibly(self, store: SqlStore) -> None:
        lease = claimed(store)
        store.write(lease, [replace(call(1), failure_message="bad \x00 byte \udcff, ü")])
        assert store.calls("w")[0].failure_message == "bad \\x00 byte \\udcff, ü"
        assert store.journal(lease).calls == store.calls("w")


@pytest.fixture
def pg(postgres_url: str) -> Iterator[SqlStore]:
    store = SqlStore(postgres_url)
    store.migrate()
    yield store
    store.close()


def _sessions(server: PostgresServer, store: SqlStore) -> int:
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}'"
    [[count]] = server.execute(query.format(store._database.url.database))
    assert isinstance(count, int)
    return count


def _end_sessions(server: PostgresServer, store: SqlStore) -> None:
    name = store._database.url.database
    query = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{}'"
    server.execute(query.format(name))


class TestPostgresql:
    def test_that_does_not_answer_is_told(self, tmp_path: Path) -> None:
        store = SqlStore(f"postgresql+psycopg://u@/d?host={tmp_path}&connect_timeout=2")
        with pytest.raises(errors.StoreUnavailable) as caught:
            store.migrate()
        assert "reached" in caught.value.hint
        store.close()

    def test_without_the_database_is_told(self, postgres_server: PostgresServer) -> None:
        store = SqlStore(postgres_server.url("nowhere"))
        with pytest.raises(errors.StoreUnavailable, match="nowhere") as caught:
            store.migrate()
        assert "name" in caught.value.hint
        store.close()

    def test_without_the_user_is_told(self, postgres_server: PostgresServer) -> None:
        store = SqlStore(postgres_server.url("postgres", user="nobody_known"))
        with pytest.raises(errors.StoreUnavailable, match="nobody_known") as caught:
            store.migrate()
        assert "user" in caught.value.hint
        store.close()

    def test_row_kept_locked_is_told(self, postgres_url: str, pg: SqlStore) -> None:
        lease = claimed(pg)
        impatient = SqlStore(f"{postgres_url}&options={quote('-c lock_timeout=200')}")
        with pg._database._engine.begin() as connection:
            connection.execute(sa.text("SELECT 1 FROM lease FOR UPDATE"))
            with pytest.raises(errors.StoreUnavailable, match="lock timeout") as caught:
                impatient.write(lease, [call(1)])
        assert "another transaction" in caught.value.hint
        assert not pg.calls("w")
        impatient.close()

    def test_sessions_are_bounded_in_time(self, pg: SqlStore) -> None:
        def setting(name: str) -> Any:
            return pg._database.read(lambda c: c.exec_driver_sql(f"SHOW {name}").scalar())

        assert setting("idle_in_transaction_session_timeout") == "1min"
        assert setting("lock_timeout") == "30s"
        assert setting("application_name") == "orchestrator"

    def test_idle_connections_are_closed_and_opened_again(
        self, postgres_url: str, postgres_server: PostgresServer
    ) -> None:
        store = SqlStore(postgres_url, idle_seconds=0.2)
        store.migrate()
        lease = claimed(store)
        until(lambda: _sessions(postgres_server, store) == 0)
        store.write(lease, [call(1)])
        assert store.calls("w") == (call(1),)
        until(lambda: _sessions(postgres_server, store) == 0)
        store.close()

    def test_connection_in_use_is_not_closed_as_idle(self, postgres_url: str) -> None:
        database = Database(postgres_url, idle_seconds=0.05)

        def slow(connection: sa.Connection) -> object:
            connection.exec_driver_sql("SELECT pg_sleep(0.5)")
            return connection.exec_driver_sql("SELECT 7").scalar()

        assert database.read(slow) == 7
        database.close()

    def test_closed_store_leaves_no_session(
        self, pg: SqlStore, postgres_server: PostgresServer
    ) -> None:
        pg.matching("")
        pg.close()
        until(lambda: _sessions(postgres_server, pg) == 0)

    def test_leases_run_by_the_databases_clock(
        self, pg: SqlStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pg.create(root())
        monkeypatch.setattr(time, "time", lambda: 0.0)  # this machine's clock is far behind
        [lease] = pg.claim("first", 60, 1)
        assert pg.holder("w") == "first"
        assert not pg.claim("second", 60, 1)
        assert not pg.renew([lease], 0.3)
        monkeypatch.undo()
        until(lambda: pg.holder("w") is None)
        assert pg.claim("second", 60, 1) == (Lease("w", "second", 2),)


class TestLostConnections:
    """Every use of the store goes on after the server ended its sessions, doing nothing twice."""

    def test_between_two_uses(self, pg: SqlStore, postgres_server: PostgresServer) -> None:
        lease = claimed(pg)
        for use in (
            lambda: pg.write(lease, [call(1), HAPPENED]),
            lambda: pg.renew([lease], 60),
            lambda: pg.journal(lease),
            lambda: pg.workflow("w"),
            lambda: pg.put_command("w", "abort"),
            lambda: pg.take_commands(lease),
            lambda: pg.migrate(),
        ):
            _end_sessions(postgres_server, pg)
            use()
        assert pg.events("w") == ((1, HAPPENED),)

    def test_in_the_middle_of_a_write(self, pg: SqlStore, postgres_server: PostgresServer) -> None:
        lease = claimed(pg)
        cut = _Cut(pg, postgres_server)
        cut.before("INSERT INTO event")
        pg.write(lease, [call(1), HAPPENED])
        assert cut.times == 1
        assert pg.calls("w") == (call(1),)
        assert pg.events("w") == ((1, HAPPENED),)

    def test_again_and_again_is_told_and_nothing_written(
        self, pg: SqlStore, postgres_server: PostgresServer
    ) -> None:
        lease = claimed(pg)
        cut = _Cut(pg, postgres_server, times=2)
        cut.before("INSERT INTO event")
        with pytest.raises(errors.StoreUnavailable) as caught:
            pg.write(lease, [call(1), HAPPENED])
        assert "may or may not" in caught.value.hint
        assert cut.times == 2
        assert not pg.calls("w")
        assert not pg.events("w")

    def test_before_the_answer_to_commit(
        self, pg: SqlStore, postgres_server: PostgresServer
    ) -> None:
        cut = _Cut(pg, postgres_server)

        def lose_answer(use: Callable[[], Any]) -> Any:
            before = cut.times
            cut.after_commit()
            answer = use()
            assert cut.times == before + 1
            return answer

        lose_answer(lambda: pg.put_bundle("d", {"": "x"}))
        lose_answer(lambda: pg.create(root()))
        assert lose_answer(lambda: pg.claim("s", 60, 1)) == (Lease("w", "s", 1),)
        lease = lose_answer(lambda: pg.steal("t", 60, "w", "s"))
        assert lease == Lease("w", "t", 2)
        lose_answer(lambda: pg.write(lease, [call(1), HAPPENED]))
        assert pg.events("w") == ((1, HAPPENED),)
        number = lose_answer(lambda: pg.put_command("w", "abort"))
        assert lose_answer(lambda: pg.take_commands(lease)) == ((number, "abort", "{}"),)
        assert not pg.take_commands(lease)
        assert not lose_answer(lambda: pg.renew([lease], 60))
        lose_answer(lambda: pg.release(lease))
        assert pg.holder("w") is None

    def test_of_a_create_does_not_hide_that_the_id_was_taken(
        self, pg: SqlStore, postgres_server: PostgresServer
    ) -> None:
        pg.create(root())
        cut = _Cut(pg, postgres_server)
        cut.before("INSERT INTO workflow")
        with pytest.raises(errors.NotAllowed, match="exists already"):
            pg.create(replace(root(), inputs='{"other": 1}'))
        assert cut.times == 1

    def test_lease_that_was_lost_meanwhile(
        self, pg: SqlStore, postgres_server: PostgresServer
    ) -> None:
        lease = claimed(pg)
        thief = SqlStore(pg._database.url.render_as_string())
        cut = _Cut(pg, postgres_server)
        cut.before("INSERT INTO event", then=lambda: thief.steal("thief", 60, "w", "server"))
        with pytest.raises(errors.LeaseLost):
            pg.write(lease, [call(1), HAPPENED])
        assert not thief.calls("w")
        thief.close()

    def test_restarted_server(self, pg: SqlStore, postgres_server: PostgresServer) -> None:
        lease = claimed(pg)
        postgres_server.stop()
        with pytest.raises(errors.StoreUnavailable):
            pg.write(lease, [call(1)])
        postgres_server.start()
        pg.write(lease, [call(2)])
        assert pg.calls("w") == (call(2),)


class _Cut:
    """Ends a store's sessions at a chosen moment of its next transaction."""

    def __init__(self, store: SqlStore, server: PostgresServer, times: int = 1) -> None:
        self._store, self._server, self._limit = store, server, times
        self._engine = store._database._engine
        self.times = 0

    def before(self, statement: str, then: Callable[[], object] = lambda: None) -> None:
        def cut(_c: Any, _cursor: Any, text: str, *_: Any) -> None:
            if text.startswith(statement) and self.times < self._limit:
                self.times += 1
                _end_sessions(self._server, self._store)
                then()

        event.listen(self._engine, "before_cursor_execute", cut)

    def after_commit(self) -> None:
        dialect = self._engine.dialect
        commit = dialect.do_commit

        def commit_and_cut(connection: Any) -> None:
            commit(connection)
            dialect.do_commit = commit  # type: ignore[method-assign]
            self.times += 1
            _end_sessions(self._server, self._store)
            connection.execute("SELECT 1")  # what a client meets that waits for the answer

        dialect.do_commit = commit_and_cut  # type: ignore[assignment,method-assign]
