"""Several processes and threads on one database, and what a killed one leaves behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator import errors
from orchestrator.model.records import Record
from orchestrator.model.states import WorkflowState
from orchestrator.store.base import Lease
from orchestrator.store.sql import SqlStore
from tests.unit.store.conftest import call, claimed, root

CLAIM = """
import json, sys
from orchestrator.store.sql import SqlStore
store = SqlStore(sys.argv[1])
store.matching("")
print("ready", flush=True)
sys.stdin.readline()
taken = []
while leases := store.claim(sys.argv[2], 600, 3):
    taken += [(lease.root_id, lease.epoch) for lease in leases]
store.close()
print(json.dumps(taken))
"""

TAKE_COMMANDS = """
import json, sys
from orchestrator.store.base import Lease
from orchestrator.store.sql import SqlStore
store = SqlStore(sys.argv[1])
store.matching("")
print("ready", flush=True)
sys.stdin.readline()
taken = []
while commands := store.take_commands(Lease("w", "server", 1)):
    taken += [number for number, _, _ in commands]
store.close()
print(json.dumps(taken))
"""

# Writes generation after generation of the same rows, each in one call; in the third it is killed.
WRITE = """
import os, signal, sys
from sqlalchemy import event
from orchestrator.model.records import EventRecord
from orchestrator.store.base import Lease
from orchestrator.store.sql import SqlStore
from tests.unit.store.conftest import call

store, point = SqlStore(sys.argv[1]), sys.argv[2]
engine = store._database._engine
generation = 0

def die(at):
    if at.startswith(point) and generation == 3:
        os.kill(os.getpid(), signal.SIGKILL)

event.listen(engine, "before_cursor_execute", lambda c, cu, text, *more: die(text))
event.listen(engine, "commit", lambda connection: die("before COMMIT"))
commit = engine.dialect.do_commit
def commit_and_die(connection):
    commit(connection)
    die("after COMMIT")
engine.dialect.do_commit = commit_and_die

while True:
    generation += 1
    store.write(
        Lease("w", "server", 1),
        [*(call(n, attempts=generation) for n in range(300)),
         EventRecord("w", "w", float(generation), "generation")],
    )
"""


@contextmanager
def python(script: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A Python process that does not outlive the block."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        cwd=Path(__file__).parents[3],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def started_together(script: str, *arguments: tuple[str, ...]) -> list[list[Any]]:
    """What several processes print as JSON that begin at the same moment."""
    with python(script, *arguments[0]) as first, python(script, *arguments[1]) as second:
        for process in (first, second):
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in (first, second):
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        return [json.loads(p.communicate(timeout=120)[0]) for p in (first, second)]


def test_processes_never_claim_the_same_workflow(store: SqlStore, url: str) -> None:
    for n in range(60):
        store.create(root(f"w{n:02}"))
    first, second = started_together(CLAIM, (url, "first"), (url, "second"))
    assert sorted([*first, *second]) == [[f"w{n:02}", 1] for n in range(60)]
    for owner, taken in (("first", first), ("second", second)):
        assert all(store.holder(root_id) == owner for root_id, _ in taken)


def test_threads_never_claim_the_same_workflow(store: SqlStore) -> None:
    for n in range(40):
        store.create(root(f"w{n:02}"))
    taken: list[Lease] = []
    barrier = threading.Barrier(4)

    def work(owner: str) -> None:
        barrier.wait()
        while leases := store.claim(owner, 600, 2):
            taken.extend(leases)

    threads = [threading.Thread(target=work, args=(f"t{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(lease.root_id for lease in taken) == [f"w{n:02}" for n in range(40)]
    assert {lease.epoch for lease in taken} == {1}


def test_commands_are_taken_by_one_of_two(store: SqlStore, url: str) -> None:
    claimed(store)
    numbers = [store.put_command("w", "abort") for _ in range(200)]
    first, second = started_together(TAKE_COMMANDS, (url,), (url,))
    assert sorted([*first, *second]) == numbers


def test_old_holder_of_a_stolen_lease_cannot_write(store: SqlStore, url: str) -> None:
    old = claimed(store, "old")
    thief = SqlStore(url)
    new = thief.steal("thief", 60, "w", "old")
    assert new is not None
    with pytest.raises(errors.LeaseLost):
        store.write(old, [call(1)])
    thief.write(new, [call(2)])
    assert store.renew([old], 60) == (old,)
    store.release(old)
    assert store.holder("w") == "thief"
    assert store.calls("w") == (call(2),)
    thief.close()


def _steal_during_write(
    store: SqlStore, url: str, records: list[Record], monkeypatch: pytest.MonkeyPatch
) -> Lease | None:
    """What a thief gets that comes when a write is done but not committed."""
    lease = claimed(store, "old")
    thief = SqlStore(url)
    stolen: list[Lease | None] = []
    thread = threading.Thread(target=lambda: stolen.append(thief.steal("new", 60, "w", "old")))
    write = store._database.write

    def held_open(work: Callable[[sa.Connection, bool], None]) -> None:
        def and_wait(connection: sa.Connection, again: bool) -> None:
            work(connection, again)
            thread.start()
            thread.join(timeout=0.3)
            assert stolen == []

        write(and_wait)

    with monkeypatch.context() as patch:
        patch.setattr(store._database, "write", held_open)
        store.write(lease, records)
    thread.join(timeout=30)
    thief.close()
    return stolen[0]


def test_thief_waits_for_a_write_and_sees_all_of_it(
    store: SqlStore, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    records: list[Record] = [call(n) for n in range(50)]
    lease = _steal_during_write(store, url, records, monkeypatch)
    assert lease == Lease("w", "new", 2)
    assert len(store.journal(lease).calls) == 50


def test_thief_does_not_get_what_a_write_just_finished(
    store: SqlStore, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished: list[Record] = [root(state=WorkflowState.SUCCEEDED)]
    assert _steal_during_write(store, url, finished, monkeypatch) is None


@pytest.mark.parametrize(
    ("point", "generation"),
    [
        ("INSERT INTO call", 2),
        ("INSERT INTO event", 2),
        ("UPDATE lease", 2),
        ("before COMMIT", 2),
        ("after COMMIT", 3),
    ],
)
def test_killed_in_a_write_leaves_all_or_nothing(
    store: SqlStore, url: str, point: str, generation: int
) -> None:
    lease = claimed(store)
    with python(WRITE, url, point) as writer:
        assert writer.wait(timeout=60) == -signal.SIGKILL
    store.write(lease, [])  # the dead one's locks are gone
    assert store.journal(lease).calls == tuple(
        sorted((call(n, attempts=generation) for n in range(300)), key=lambda c: c.id)
    )
    assert [number for number, _ in store.events("w")] == list(range(1, generation + 1))


def test_many_processes_open_a_new_file_at_once(sqlite_url: str) -> None:
    """Creating the file, switching it to WAL and migrating are all raced for."""
    script = (
        "import sys; from orchestrator.store.sql import SqlStore\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "s = SqlStore(sys.argv[1]); s.migrate(); print(len(s.matching(''))); s.close()"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, sqlite_url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert (process.returncode, out) == (0, "0\n"), err
