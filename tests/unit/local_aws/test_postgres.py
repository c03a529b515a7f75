"""The PostgreSQL behind Aurora clusters: as root below a closed directory and as anybody else."""

from __future__ import annotations

import os
import signal
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from orchestrator.local_aws import postgres, process
from orchestrator.local_aws.pids import KnownProcess

PASSWORD = 'it\'s a \\ "pass" %s'


@pytest.fixture
def closed(tmp_path: Path) -> Path:
    """A directory that only its owner may enter, as mktemp makes it."""
    directory = tmp_path / "closed"
    directory.mkdir(mode=0o700)
    return directory


@pytest.fixture
def servers(closed: Path) -> Iterator[postgres.Servers]:
    made = postgres.Servers(closed / "postgres")
    yield made
    made.close()


def connect(
    server: postgres.Server, password: str, database: str = "orchestrator"
) -> psycopg.Connection:
    return psycopg.connect(
        host=server.host, port=server.port, user="master", password=password, dbname=database
    )


def test_a_database_of_the_master_user(servers: postgres.Servers, closed: Path) -> None:
    server = servers.start("one", user="master", password=PASSWORD, database="orchestrator")
    with connect(server, PASSWORD) as connection:
        owner = connection.execute(
            "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()"
        ).fetchone()
        connection.execute("CREATE TABLE t (a int)")
    assert owner == ("master",)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        connect(server, "wrong")
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


def test_nobody_becomes_the_administrator_with_the_master_password(
    servers: postgres.Servers,
) -> None:
    server = servers.start("one", user="master", password=PASSWORD, database=None)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(host=server.host, port=server.port, user="rdsadmin", password=PASSWORD)
    with pytest.raises(postgres.PostgresError, match="rdsadmin"):
        servers.start("two", user="rdsadmin", password=PASSWORD, database=None)


def test_no_password_is_on_the_disk_or_a_command_line(
    servers: postgres.Servers, closed: Path
) -> None:
    secret = "a-password-to-look-for"
    server = servers.start("one", user="master", password=secret, database="orchestrator")
    servers.change_password("one", user="master", password=f"{secret}-2")
    connect(server, f"{secret}-2").close()
    needles = (secret.encode(), server.admin_password.encode())
    files = [path for path in closed.rglob("*") if path.is_file()]
    assert len(files) > 100
    assert not [f for f in files if any(needle in f.read_bytes() for needle in needles)]
    command = Path(f"/proc/{server.process.pid}/cmdline").read_bytes()
    assert not any(needle in command for needle in needles)


def test_two_clusters_at_once_and_what_is_removed_is_gone(
    servers: postgres.Servers, closed: Path
) -> None:
    one, two = (
        servers.start(name, user="master", password=PASSWORD, database="orchestrator")
        for name in ("one", "two")
    )
    assert one.port != two.port
    servers.remove("one")
    servers.remove("one")
    assert not one.process.alive()
    assert [path.name for path in (closed / "postgres").iterdir()] == ["two"]
    connect(two, PASSWORD).close()


def test_a_new_cluster_of_an_old_name_is_empty(servers: postgres.Servers) -> None:
    first = servers.start("one", user="master", password=PASSWORD, database="orchestrator")
    with connect(first, PASSWORD) as connection:
        connection.execute("CREATE TABLE t (a int)")
    second = servers.start("one", user="master", password="other", database="orchestrator")
    assert not first.process.alive()
    with connect(second, "other") as connection:
        assert connection.execute("SELECT to_regclass('t')").fetchone() == (None,)


def test_root_runs_it_as_somebody_else(servers: postgres.Servers) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    server = servers.start("one", user="master", password=PASSWORD, database=None)
    assert Path(f"/proc/{server.process.pid}").stat().st_uid != 0


def test_a_cluster_that_cannot_start_leaves_nothing(
    servers: postgres.Servers, closed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(postgres._SETTINGS, "shared_buffers", "'much'")
    with pytest.raises(postgres.PostgresError, match="shared_buffers"):
        servers.start("one", user="master", password=PASSWORD, database=None)
    assert list((closed / "postgres").iterdir()) == []


def test_orphans_are_ended_and_strangers_are_not(servers: postgres.Servers, closed: Path) -> None:
    server = servers.start("one", user="master", password=PASSWORD, database=None)
    pid_file = closed / "postgres" / "one" / "data" / "postmaster.pid"
    original = pid_file.read_text()
    pid_file.write_text(original.replace(str(server.process.pid), str(os.getpid()), 1))
    postgres.end_orphans(closed / "postgres")
    assert server.process.alive()
    pid_file.write_text(original)
    postgres.end_orphans(closed / "postgres")
    assert not server.process.alive()


@pytest.fixture
def state(closed: Path) -> Iterator[Path]:
    directory = closed / "state"
    yield directory
    process.stop(directory, destroy=True)


def make_cluster(aws: process.LocalAws, name: str) -> KnownProcess:
    """A cluster of that AWS; the PostgreSQL behind it."""
    import boto3

    boto3.client(
        "rds",
        endpoint_url=aws.endpoint,
        region_name="us-east-1",
        aws_access_key_id="a",
        aws_secret_access_key="b",
    ).create_db_cluster(
        DBClusterIdentifier=name,
        Engine="aurora-postgresql",
        MasterUsername="master",
        ManageMasterUserPassword=True,
    )
    (pid_file,) = aws.state_dir.glob("postgres/*/data/postmaster.pid")
    known = KnownProcess.of(int(pid_file.read_text().split()[0]))
    assert known is not None
    return known


def test_a_killed_aws_leaves_a_database_that_the_next_start_ends(state: Path) -> None:
    aws = process.start(state, jobs="process")
    orphan = make_cluster(aws, "orphan")
    os.kill(aws.pid, signal.SIGKILL)
    assert aws.process.wait(10)
    assert orphan.alive()
    process.start(state, jobs="process")
    assert not orphan.alive()
    assert not list(state.glob("postgres/*"))


def test_a_stopped_aws_takes_its_databases_along(state: Path) -> None:
    database = make_cluster(process.start(state, jobs="process"), "taken")
    assert process.stop(state, destroy=True)
    assert not database.alive()
    assert not state.exists()


def test_a_database_that_died_comes_back_with_its_data(
    servers: postgres.Servers, caplog: pytest.LogCaptureFixture
) -> None:
    server = servers.start("one", user="master", password=PASSWORD, database="orchestrator")
    with connect(server, PASSWORD) as connection:
        connection.execute("CREATE TABLE t AS SELECT 7 AS a")
    server.process.send(signal.SIGKILL)
    assert server.process.wait(30)
    deadline = time.monotonic() + 60
    while True:
        try:
            with connect(server, PASSWORD) as connection:
                assert connection.execute("SELECT a FROM t").fetchone() == (7,)
            break
        except psycopg.OperationalError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    servers.change_password("one", user="master", password="other")
    connect(server, "other").close()
    assert "starting it" in caplog.text


def test_a_database_that_never_stays_up_is_given_up_and_an_error_says_so(
    servers: postgres.Servers, closed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = servers.start("one", user="master", password=PASSWORD, database=None)
    monkeypatch.setattr(postgres, "_START_SECONDS", 1.0)
    (closed / "postgres" / "one" / "data" / "global" / "pg_control").unlink()
    server.process.send(signal.SIGKILL)
    assert server.process.wait(30)
    with pytest.raises(postgres.PostgresError, match="OperationalError"):
        servers.change_password("one", user="master", password="other")
