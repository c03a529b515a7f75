"""One database: connections, transactions and their retry, the errors of drivers in plain words.

All that differs between SQLite and PostgreSQL beyond the text of a statement is here.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
import structlog
from sqlalchemy import event, exc, pool

from orchestrator import errors

_log = structlog.get_logger(__name__)

T = TypeVar("T")

SQLITE, POSTGRESQL = "sqlite", "postgresql"
_DRIVERS = {
    "sqlite": "sqlite+pysqlite",
    "sqlite+pysqlite": "sqlite+pysqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}

_SECRETS = ("password", "sslpassword")  # libpq takes them from a URL's query too

# libpq: a database that paused wakes in up to 30 s; a dead network is noticed within a minute.
_CONNECT_ARGS = {
    "application_name": "orchestrator",
    "client_encoding": "utf8",
    "connect_timeout": "60",
    "keepalives_idle": "20",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
# A process that is stopped within a transaction must not keep a lease's row locked for ever, nor
# must the server keep the session of a host that is gone.
_SESSION = {
    "statement_timeout": "120s",
    "lock_timeout": "30s",
    "idle_in_transaction_session_timeout": "60s",
    "tcp_keepalives_idle": "20",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
}
_RETRIED_STATES = {"40001", "40P01"}  # serialization failure, deadlock: rolled back, ask again


class Database:
    """A pool of connections to one database."""

    def __init__(
        self,
        url: str,
        *,
        password: Callable[[], str] | None = None,
        idle_seconds: float = 60.0,
        busy_seconds: float = 30.0,
        wake_seconds: float = 120.0,
    ) -> None:
        """`url`: `sqlite:///path` or `postgresql+psycopg://user:password@host/name?sslmode=...`.

        `password` is asked for each new connection to PostgreSQL: it may be a token that expires.
        Connections to PostgreSQL that nobody used for `idle_seconds` are closed, so that a database
        may pause; one that wakes is waited for, `wake_seconds` long.
        SQLite waits `busy_seconds` for another process's write. Connects to nothing yet;
        raises InvalidConfig for a URL it cannot use.
        """
        self.url = _parse(url)
        self.name = self.url.get_backend_name()
        secrets = (self.url.password, *(self.url.query.get(name) for name in _SECRETS))
        self._secrets = [str(secret) for secret in secrets if secret]
        self._password = password
        self._busy_seconds = busy_seconds
        self._wake_seconds = wake_seconds
        self._engine = self._create_engine()
        self._idle = _IdleCloser(self._engine, idle_seconds if self.name == POSTGRESQL else 0)
        # SQLite's own wait for a lock is a sleep that grows: threads here queue up instead.
        self._writing: contextlib.AbstractContextManager[Any] = (
            threading.RLock() if self.name == SQLITE else contextlib.nullcontext()
        )

    def __str__(self) -> str:
        hidden = {name: "***" for name in _SECRETS if name in self.url.query}
        return self.url.update_query_dict(hidden).render_as_string(hide_password=True)

    def now(self) -> Any:
        """Seconds since the epoch by the clock that all users of this database share."""
        if self.name == POSTGRESQL:
            return sa.cast(sa.extract("epoch", sa.func.statement_timestamp()), sa.Double)
        return time.time()

    def read(self, work: Callable[[sa.Connection], T]) -> T:
        """Run in one transaction that sees one state of the database throughout."""
        options = (
            {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
            if self.name == POSTGRESQL
            else {}
        )

        def once(_: bool) -> T:
            with self._idle.busy(), self._engine.connect() as connection:
                if options:
                    connection = connection.execution_options(**options)
                with connection.begin():
                    return work(connection)

        return self._try_twice(once, writing=False)

    def write(self, work: Callable[[sa.Connection, bool], T]) -> T:
        """Run in one transaction, all or nothing.

        Where the connection breaks it is run once more, with True as second argument: the first may
        have been committed all the same, so `work` must be written to find out.
        """

        def once(again: bool) -> T:
            with self._writing, self._idle.busy(), self._engine.connect() as connection:
                if self.name == SQLITE:
                    connection = connection.execution_options(begin="BEGIN IMMEDIATE")
                with connection.begin():
                    return work(connection, again)

        return self._try_twice(once, writing=True)

    def close(self) -> None:
        """Close all connections; the next use opens new ones."""
        self._idle.close()

    def _try_twice(self, once: Callable[[bool], T], *, writing: bool) -> T:
        again = False
        while True:
            try:
                return once(again)
            except (exc.SQLAlchemyError, self._engine.dialect.loaded_dbapi.Error) as error:
                if not again and _is_passing(error):
                    _log.warning("the database is asked again", reason=self._words(error))
                    again = True
                    continue
                raise self._explained(error, again, writing) from None
            except OverflowError:  # of the driver: more than 64 bits
                raise errors.Invalid("a number is too large for the database") from None

    def _explained(self, error: Exception, again: bool, writing: bool) -> errors.OrchestratorError:
        words = self._words(error)
        if isinstance(error, exc.DataError) or _state(error) == "54000":
            return errors.Invalid(f"{self} cannot keep a value: {words}")
        if isinstance(error, exc.IntegrityError):
            return errors.NotAllowed(f"{self} refused a row: {words}")
        hint = _hint(error, words, self.name)
        if again and writing:
            hint += "; what was being written may or may not be saved: read it before going on"
        return errors.StoreUnavailable(f"{self}: {words}", hint=hint)

    def _words(self, error: Exception) -> str:
        original = getattr(error, "orig", None) or error
        text = " ".join(str(original).split()) or type(original).__name__
        for secret in self._secrets:  # no driver is known to repeat one; none gets the chance to
            text = text.replace(secret, "***")
        return text

    def _create_engine(self) -> sa.Engine:
        if self.name == SQLITE:
            return self._create_sqlite()
        options = " ".join(f"-c {name}={value}" for name, value in _SESSION.items())
        given = " ".join(self.url.normalized_query.get("options", ()))
        arguments = {n: v for n, v in _CONNECT_ARGS.items() if n not in self.url.query}
        arguments["options"] = f"{options} {given}".strip()  # the URL has the last word
        engine = sa.create_engine(
            self.url.difference_update_query(["options"]),
            connect_args=arguments,
            hide_parameters=True,
            pool_size=4,
            max_overflow=12,
            pool_timeout=60,
            pool_use_lifo=True,
        )
        event.listen(engine, "do_connect", self._connect)
        return engine

    def _connect(self, dialect: Any, _: Any, arguments: Any, parameters: dict[str, Any]) -> Any:
        """A new connection, once the server takes one."""
        deadline = time.monotonic() + self._wake_seconds
        while True:
            if self._password is not None:
                parameters["password"] = self._password()
            try:
                return dialect.connect(*arguments, **parameters)
            except dialect.loaded_dbapi.OperationalError as error:
                if not _is_waking(error) or time.monotonic() > deadline:
                    raise
                _log.info("the database wakes up")
                time.sleep(0.5)

    def _create_sqlite(self) -> sa.Engine:
        engine = sa.create_engine(
            self.url,
            connect_args={"timeout": self._busy_seconds, "check_same_thread": False},
            hide_parameters=True,
            poolclass=pool.QueuePool,
            pool_size=8,
            max_overflow=56,
            pool_use_lifo=True,
        )
        path = Path(str(self.url.database))

        @event.listens_for(engine, "do_connect")
        def _create_file(*_: Any) -> None:
            # Inputs and outputs are nobody else's business; SQLite gives the mode of the file to
            # those it puts beside it.
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch(mode=0o600)
            except OSError as error:
                raise sqlite3.OperationalError(f"unable to open database file: {error}") from None

        @event.listens_for(engine, "connect")
        def _prepare(connection: sqlite3.Connection, _: object) -> None:
            connection.isolation_level = None  # transactions begin where `_begin` says
            _set_wal(connection, time.monotonic() + self._busy_seconds)
            connection.execute("PRAGMA synchronous = FULL")  # an intent must survive power loss
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA journal_size_limit = 67108864")
            connection.execute("PRAGMA cache_size = -16384")

        @event.listens_for(engine, "begin")
        def _begin(connection: sa.Connection) -> None:
            connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))

        return engine


def _parse(url: str) -> sa.URL:
    hint = "use sqlite:///path/to/file or postgresql+psycopg://user@host/name"
    try:
        parsed = sa.make_url(url)
        driver = _DRIVERS[parsed.drivername]
    except (exc.ArgumentError, ValueError):
        raise errors.InvalidConfig("the URL of the database cannot be read", hint=hint) from None
    except KeyError:
        raise errors.InvalidConfig(
            f"no database {parsed.drivername!r} is known", hint=hint
        ) from None
    if driver.startswith(SQLITE) and (parsed.database or ":memory:") == ":memory:":
        raise errors.InvalidConfig("a database in memory forgets everything", hint=hint)
    return parsed.set(drivername=driver)


def _set_wal(connection: sqlite3.Connection, deadline: float) -> None:
    """Readers and one writer at once. SQLite does not wait for a lock while it changes this."""
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "lock" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _state(error: Exception) -> str:
    return getattr(getattr(error, "orig", None) or error, "sqlstate", None) or ""


def _is_waking(error: Exception) -> bool:
    """Whether a server that starts refused a connection (57P03, of which libpq tells the words)."""
    return "database system is starting up" in str(error)


def _is_passing(error: Exception) -> bool:
    if isinstance(error, exc.DBAPIError) and error.connection_invalidated:
        return True
    # SQLite: several processes open the WAL at the same instant.
    return _state(error) in _RETRIED_STATES or "locking protocol" in str(error)


def _hint(error: Exception, words: str, name: str) -> str:
    text = words.lower()
    state = _state(error)
    if "no such table" in text or "no such column" in text or state in ("42P01", "42703"):
        return "the tables are missing or old: bring the schema up to date"
    if "full" in text or state == "53100":
        return "free some disk space there, then try again; nothing was written"
    if name == SQLITE:
        if "locked" in text or "busy" in text:
            return "another process keeps the file locked: end it, or try again"
        if "unable to open" in text or "readonly" in text or "permission" in text:
            return "check that the file and its directory can be written by this user"
        if "not a database" in text or "malformed" in text:
            return "the file is damaged or of another kind: restore it, or name another file"
        return "check the file, its disk and its permissions"
    if isinstance(error, exc.TimeoutError) or state == "53300":
        return "all connections are in use: try again, or allow the database more of them"
    if state == "55P03" or state == "57014":
        return "another transaction holds the row for too long: try again"
    # A refused connection has no SQLSTATE, only words (of English, the server's default).
    if "password" in text or "authentication" in text or ("role" in text and "exist" in text):
        return "check user and password"
    if "database" in text and "does not exist" in text:
        return "create the database, or correct its name"
    return "check that the database runs and can be reached from here, then try again"


class _IdleCloser:
    """Closes pooled connections when nobody has used one for a while."""

    def __init__(self, engine: sa.Engine, seconds: float) -> None:
        self._engine = engine
        self._seconds = seconds
        self._lock = threading.Lock()
        self._in_use = 0
        self._last_use = 0.0
        self._timer: threading.Timer | None = None

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        with self._lock:
            self._in_use += 1
        try:
            yield
        finally:
            with self._lock:
                self._in_use -= 1
                self._last_use = time.monotonic()
                if self._seconds and self._timer is None:
                    self._watch(self._seconds)

    def close(self) -> None:
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._engine.dispose()

    def _watch(self, seconds: float) -> None:
        self._timer = threading.Timer(seconds, self._look)
        self._timer.daemon = True
        self._timer.name = "idle-connections"
        self._timer.start()

    def _look(self) -> None:
        with self._lock:
            if self._timer is None:
                return  # closed meanwhile
            self._timer = None
            left = self._last_use + self._seconds - time.monotonic()
            if self._in_use or left > 0:
                self._watch(max(left, self._seconds / 10))
            else:
                self._engine.dispose()


def new_token() -> str:
    """Marks what one transaction did, so that its retry can tell."""
    return uuid.uuid4().hex
