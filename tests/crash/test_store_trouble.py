"""The database is away, locked, full, or cuts connections while calls run: nothing is lost, nothing
is done twice."""

from __future__ import annotations

import contextlib
import random
import resource
import shutil
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.crash.engines import Setup, World, eventually
from tests.crash.workflows import WAITING, WIDE
from tests.postgres import PostgresServer


def goes_well(world: World, root_id: str, n: int) -> None:
    assert world.outputs(root_id) == {"w.o": [i + 1 for i in range(n)]}
    assert world.ran() == {f"{name} {i}": 1 for name in ("first", "second") for i in range(n)}
    assert world.nothing_is_open(root_id)
    kinds = [event.kind for _, event in world.store.events(root_id)]
    assert kinds.count("Finished") == 1


def test_a_full_disk(world: World) -> None:
    """What cannot be committed waits until there is room, and nothing is begun meanwhile."""
    root_id = world.submit(WIDE, n=20)
    engine = world.engine(root_id)
    eventually(lambda: world.lines())
    files = [world.folder / name for name in ("store.db", "store.db-wal")]
    largest = min(path.stat().st_size for path in files if path.exists())
    resource.prlimit(engine.pid, resource.RLIMIT_FSIZE, (largest, resource.RLIM_INFINITY))
    eventually(lambda: "not committed" in engine.said)
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    resource.prlimit(engine.pid, resource.RLIMIT_FSIZE, unlimited)
    engine.succeeded()
    goes_well(world, root_id, 20)


@pytest.mark.slow
def test_a_file_that_somebody_keeps_locked(world: World) -> None:
    root_id = world.submit(WIDE, n=20)
    engine = world.engine(root_id, busy_seconds=0.5)
    eventually(lambda: world.lines())
    with contextlib.closing(sqlite3.connect(world.folder / "store.db", timeout=60)) as other:
        other.execute("BEGIN IMMEDIATE")
        eventually(lambda: "not committed" in engine.said)
        other.execute("ROLLBACK")
    engine.succeeded()
    goes_well(world, root_id, 20)


@pytest.fixture
def server(postgres_server: PostgresServer) -> Iterator[PostgresServer]:
    """A PostgreSQL of this test's own, to be stopped and started."""
    base = Path(tempfile.mkdtemp(prefix="pg-"))
    own = PostgresServer(base, postgres_server._binaries)
    own.start()
    try:
        yield own
    finally:
        own.stop()
        shutil.rmtree(base, ignore_errors=True)


@pytest.fixture
def on_server(server: PostgresServer, tmp_path: Path) -> Iterator[World]:
    url = server.url(server.create_database())
    world = World(tmp_path, Setup(url, str(tmp_path / "root")), tmp_path / "ledger")
    yield world
    world.close()


@pytest.mark.slow
@pytest.mark.parametrize("lease", [60.0, 2.0], ids=["shorter-than-a-lease", "longer-than-a-lease"])
def test_a_server_that_goes_away_and_comes_back(
    on_server: World, server: PostgresServer, lease: float
) -> None:
    """Two engines, one with work. It keeps that, or the other gets it; nothing runs twice."""
    world, go = on_server, on_server.folder / "go"
    root_id = world.submit(WAITING, go=str(go), n=5)
    for _ in range(2):
        world.engine(capacity=1, lease_seconds=lease)
    eventually(lambda: len(world.lines()) == 5)
    server.stop()
    go.touch()
    time.sleep(4.0)  # not to wait for something: that is how long it is away
    server.start()
    eventually(lambda: world.workflow(root_id).ended_at)
    assert world.outputs(root_id) == {"w.o": [0, 1, 2, 3, 4]}
    assert world.ran() == {f"wait {i}": 1 for i in range(5)}, world.said


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_connections_that_are_cut_again_and_again(
    on_server: World, server: PostgresServer, seed: int
) -> None:
    """Before, within and after COMMIT, as it comes."""
    world, over = on_server, threading.Event()
    root_id = world.submit(WIDE, n=40)
    chance = random.Random(seed)
    cut = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'orchestrator'"
    )

    def cuts() -> None:
        while not over.wait(chance.uniform(0.05, 0.6)):
            with contextlib.suppress(psycopg.Error):
                server.execute(cut)

    engine = world.engine(root_id)
    thread = threading.Thread(target=cuts)
    thread.start()
    try:
        engine.succeeded()
    finally:
        over.set()
        thread.join()
    goes_well(world, root_id, 40)
