"""Connections as RDS wants them: a new token each, and only to a server that proves who it is."""

from __future__ import annotations

import datetime
import ipaddress
import itertools
import os
import shutil
import socket
import ssl
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from orchestrator import errors
from orchestrator.config import database_login, databases
from orchestrator.store.database import Database
from tests.postgres import PostgresServer, find_binaries, postgres_server, postgres_url

__all__ = ["postgres_server", "postgres_url"]


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def _certificate(folder: Path, host: str) -> None:
    """A root, and a certificate of it for `host`: ca.pem, server.pem, server.key."""
    now = datetime.datetime.now(datetime.UTC)
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())

    def sign(subject: str, public: Any, *, ca: bool) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(subject))
            .issuer_name(_name("root of a test"))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if not ca:
            name = x509.IPAddress(ipaddress.ip_address(host))
            builder = builder.add_extension(x509.SubjectAlternativeName([name]), critical=False)
        return builder.sign(root_key, hashes.SHA256())

    root = sign("root of a test", root_key.public_key(), ca=True)
    server = sign("database", key.public_key(), ca=False)
    (folder / "ca.pem").write_bytes(root.public_bytes(Encoding.PEM))
    (folder / "server.pem").write_bytes(server.public_bytes(Encoding.PEM))
    (folder / "server.key").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )


@dataclass
class Tls:
    server: PostgresServer
    port: int
    ca: Path


@pytest.fixture(scope="module")
def tls() -> Iterator[Tls]:
    """A server on 127.0.0.1 that takes nothing but TLS, and from `orchestrator` a password."""
    binaries = find_binaries()
    if binaries is None or "pixeltable" in str(binaries):
        pytest.skip("no PostgreSQL with TLS: Debian's package postgresql has it")
    base = Path(tempfile.mkdtemp(prefix="pg-"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    certificates = base / "tls"
    certificates.mkdir()
    _certificate(certificates, "127.0.0.1")
    (base / "hba").write_text("local all all trust\nhostssl all orchestrator all scram-sha-256\n")
    server = PostgresServer(
        base,
        binaries,
        {
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            "ssl": "on",
            "ssl_cert_file": str(certificates / "server.pem"),
            "ssl_key_file": str(certificates / "server.key"),
            "hba_file": str(base / "hba"),
        },
    )
    try:
        if server._user:
            for path in (certificates, *certificates.iterdir(), base / "hba"):
                os.chown(path, server._user.pw_uid, server._user.pw_gid)
        (certificates / "server.key").chmod(0o600)
        server.start()
        yield Tls(server, port, certificates / "ca.pem")
    finally:
        server.stop()
        shutil.rmtree(base, ignore_errors=True)


def _url(tls: Tls, host: str = "127.0.0.1", ca: Path | None = None) -> str:
    root = quote(str(ca or tls.ca))
    return (
        f"postgresql+psycopg://orchestrator@{host}:{tls.port}/postgres"
        f"?sslmode=verify-full&sslrootcert={root}"
    )


def _passwords(tls: Tls) -> tuple[Callable[[], str], list[str]]:
    """A password that is good for one connection."""
    given: list[str] = []
    numbers = itertools.count()

    def make() -> str:
        given.append(f"token-{next(numbers)}")
        tls.server.execute(f"ALTER ROLE orchestrator PASSWORD '{given[-1]}'")
        return given[-1]

    return make, given


@pytest.fixture
def login(tls: Tls) -> Iterator[None]:
    tls.server.execute("CREATE ROLE orchestrator LOGIN")
    yield
    tls.server.execute("DROP ROLE orchestrator")


@pytest.mark.usefixtures("login")
def test_each_new_connection_gets_a_new_token_and_a_used_one_is_kept(tls: Tls) -> None:
    make, given = _passwords(tls)
    database = Database(_url(tls), password=make)
    used = sa.text("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
    assert database.read(lambda c: c.execute(used).scalar_one()) is True
    database.read(lambda c: c.execute(used).scalar_one())
    assert len(given) == 1
    database.close()
    database.read(lambda c: c.execute(used).scalar_one())
    assert given == ["token-0", "token-1"]
    database.close()


@pytest.mark.usefixtures("login")
def test_a_server_that_does_not_prove_who_it_is_gets_no_token(tls: Tls, tmp_path: Path) -> None:
    make, _ = _passwords(tls)
    bundle = Path(str(resources.files("orchestrator.config") / "rds-ca.pem"))
    for url in (_url(tls, ca=bundle), _url(tls, host="localhost")):
        database = Database(url, password=make)
        with pytest.raises(errors.StoreUnavailable, match="certificate"):
            database.read(lambda c: c.execute(sa.text("SELECT 1")))
        database.close()


def test_a_server_that_starts_is_waited_for(postgres_url: str) -> None:
    database = Database(postgres_url, password=lambda: "unused")
    real = database._engine.dialect.connect
    refusals = iter(["FATAL:  the database system is starting up"] * 2)

    def connect(*arguments: Any, **parameters: Any) -> Any:
        for text in refusals:
            raise database._engine.dialect.loaded_dbapi.OperationalError(text)
        return real(*arguments, **parameters)

    database._engine.dialect.connect = connect  # type: ignore[method-assign]
    assert database.read(lambda c: c.execute(sa.text("SELECT 1")).scalar_one()) == 1
    database.close()


def test_a_token_is_signed_for_host_port_and_user_and_nothing_else_is_a_password() -> None:
    made: list[dict[str, Any]] = []

    class Rds:
        def generate_db_auth_token(self, **what: Any) -> str:
            made.append(what)
            return "signed"

    class Sessions:
        def client(self, service: str, auth: str | None) -> Rds:
            assert (service, auth) == ("rds", "default")
            return Rds()

    database = databases.Postgres(host="db", port=5433, name="n", user="me", iam=True)
    sessions: Any = Sessions()
    assert database_login.token(database, sessions, "default")() == "signed"
    assert made == [{"DBHostname": "db", "Port": 5433, "DBUsername": "me"}]
    found = database_login.parameters(database)
    assert found["sslmode"] == "verify-full"
    assert Path(found["sslrootcert"]).is_file()
    weaker = database.model_copy(update={"parameters": {"sslmode": "disable"}})
    assert database_login.parameters(weaker)["sslmode"] == "verify-full"
    plain = databases.Postgres(host="db", name="n", user="me", parameters={"sslmode": "prefer"})
    assert database_login.parameters(plain) == {"sslmode": "prefer"}


def test_the_roots_of_rds_are_authentic_in_form_and_valid_for_long() -> None:
    text = (resources.files("orchestrator.config") / "rds-ca.pem").read_text()
    roots = x509.load_pem_x509_certificates(text.encode())
    now = datetime.datetime.now(datetime.UTC)
    names = []
    for root in roots:
        root.verify_directly_issued_by(root)
        assert root.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        assert root.not_valid_after_utc > now + datetime.timedelta(days=365)
        names.append(str(root.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value))
    assert len(set(names)) == len(names) > 70
    for region in ("us-east-1", "eu-central-1", "ap-southeast-2"):
        assert any(name.startswith(f"Amazon RDS {region} Root CA") for name in names)
    ssl.create_default_context(cadata=text)
