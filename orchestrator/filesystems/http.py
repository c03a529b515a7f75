"""`http://` and `https://`, read only, on the standard library (which honours proxy variables).

A URI here comes from a workflow's author, while this process may run on a host with rights of its
own: link-local addresses, where clouds hand out credentials, are never talked to, wherever a name
or a redirect leads; with `public_only` neither is any address that the internet does not route.
Queries are not shown in errors: a presigned URL's is a secret.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import shutil
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from orchestrator import errors
from orchestrator.filesystems.atomic import replacing
from orchestrator.filesystems.base import Source, Stat

_CHUNK = 1024 * 1024
_COUNTED_AT_MOST = 256 * _CHUNK  # what `stat` reads through where no header tells the size
LARGEST_BYTES = 500 * 1024**3
_PASSING = {408, 423, 425, 429}


class HttpFilesystem:
    """Files of web servers."""

    schemes: tuple[str, ...] = ("http", "https")

    def __init__(
        self,
        *,
        timeout_seconds: float = 30.0,
        user_agent: str = "orchestrator",
        permit: Callable[[str], None] = lambda url: None,
        public_only: bool = False,
        largest_bytes: int = LARGEST_BYTES,
    ) -> None:
        """`timeout_seconds` bounds each wait for the server, not a whole transfer. `permit` raises
        for a URL that must not be asked for, redirects included. `largest_bytes` is the most that
        is taken from one URL as a stream."""
        self._timeout = timeout_seconds
        self._largest = largest_bytes
        self._permit = permit
        self._opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.ProxyHandler(),
            _Http(public_only),
            _Https(public_only, ssl.create_default_context()),
            urllib.request.HTTPErrorProcessor(),
            urllib.request.HTTPDefaultErrorHandler(),
            _Redirects(permit),
        ):  # neither file: nor ftp: nor data:, whatever a redirect asks for
            self._opener.add_handler(handler)
        self._opener.addheaders = [("User-Agent", user_agent), ("Accept-Encoding", "identity")]

    def stat(self, uri: str) -> Stat:
        """HEAD; where a server refuses it (presigned URLs do) or tells no size, GET."""
        with contextlib.suppress(_HeadUseless), self._open(uri, "HEAD") as answer:
            size = _length(answer)
            if size is None:
                raise _HeadUseless
            return Stat(uri, size, _identity(answer, size))
        with self._open(uri, "GET") as answer:
            size = _length(answer)
            if size is None:
                size = 0
                for chunk in _chunks(uri, answer):
                    size += len(chunk)
                    if size > _COUNTED_AT_MOST:
                        raise errors.Invalid(
                            f"the server does not tell how large {shown(uri)} is",
                            hint="copy it to a file system that does",
                        )
            return Stat(uri, size, _identity(answer, size))

    def read(self, uri: str, limit_bytes: int) -> bytes:
        """The whole content, at most `limit_bytes`."""
        content = bytearray()
        with self._open(uri, "GET") as answer:
            for chunk in _chunks(uri, answer):
                content += chunk
                if len(content) > limit_bytes:
                    raise errors.Invalid(
                        f"{shown(uri)} is larger than {limit_bytes:,} bytes, too large to read"
                    )
        return bytes(content)

    def write(self, uri: str, content: bytes) -> None:
        """Refused."""
        raise errors.NotAllowed(f"{shown(uri)} cannot be written: HTTP is read only here")

    def write_stream(self, uri: str, source: Source) -> None:
        """Refused."""
        self.write(uri, b"")

    @contextlib.contextmanager
    def open(self, uri: str) -> Iterator[Body]:
        """The content, read as it comes. Raises Invalid where it is larger than all that is taken
        from the web."""
        with self._open(uri, "GET") as answer:
            yield Body(uri, answer, self._largest)

    def list(self, uri: str) -> Iterator[Stat]:
        """Refused: HTTP has no directories."""
        raise errors.NotAllowed(
            f"{shown(uri)} cannot be listed: HTTP has no directories",
            hint="name the files one by one",
        )

    def download(self, uri: str, path: str) -> None:
        """Stream to a file beside `path`, renamed when whole."""
        with self.open(uri) as body:
            try:
                with replacing(Path(path)) as file:
                    shutil.copyfileobj(body, file, 1024 * 1024)
            except OSError as error:
                raise errors.TryLater(
                    f"{shown(uri)} could not be written to {path}: {error}"
                ) from error

    def upload(self, path: str, uri: str) -> None:
        """Refused: HTTP is read only here."""
        self.write(uri, b"")

    def delete(self, uris: Iterable[str]) -> None:
        """Refused."""
        for uri in uris:
            raise errors.NotAllowed(f"{shown(uri)} cannot be deleted: HTTP is read only here")

    @contextlib.contextmanager
    def _open(self, uri: str, method: str) -> Iterator[http.client.HTTPResponse]:
        with _errors(uri, method):
            parts = urlsplit(uri)
            if parts.username is not None or not parts.hostname:
                raise errors.InvalidInputs(
                    f"{shown(uri)} cannot be used as a URL",
                    hint="https://<host>/<path>, without user and password",
                )
            self._permit(uri)
            request = urllib.request.Request(uri, method=method)  # noqa: S310  http(s) handlers only
            answer: Any = self._opener.open(request, timeout=self._timeout)
        with contextlib.closing(answer):
            yield answer


class Body:
    """The content of an answer, whole or an error. `identity` is what the server calls this
    content, None where it has no name for it."""

    def __init__(self, uri: str, answer: http.client.HTTPResponse, largest: int) -> None:
        size = _length(answer)
        self.identity = _identity(answer, size)
        self._uri, self._largest = uri, largest
        self._seen = 0
        self._rest = b""
        self._parts = _chunks(uri, answer)
        self._count(size or 0)

    def read(self, size: int = -1, /) -> bytes:
        """As a file's."""
        parts, length = [self._rest], len(self._rest)
        while size < 0 or length < size:
            part = next(self._parts, b"")
            if not part:
                break
            self._seen += len(part)
            self._count(self._seen)
            parts.append(part)
            length += len(part)
        whole = b"".join(parts)
        cut = length if size < 0 else size
        self._rest = whole[cut:]
        return whole[:cut]

    def _count(self, size: int) -> None:
        if size > self._largest:
            raise errors.Invalid(
                f"{shown(self._uri)} is larger than {self._largest:,} bytes, the most that is "
                "taken from a web server",
                hint="copy it to S3, or raise engine.filesystems.http.largest-file",
            )


class _HeadUseless(Exception):
    """The answer to HEAD tells nothing; GET may."""


class _Refused(Exception):
    """The name leads to an address that is not talked to."""


class _Connection(http.client.HTTPConnection):
    public_only = False

    def connect(self) -> None:
        super().connect()
        _check_peer(self)


class _SecureConnection(http.client.HTTPSConnection):
    public_only = False

    def connect(self) -> None:
        super().connect()
        _check_peer(self)


class _PublicConnection(_Connection):
    public_only = True


class _PublicSecureConnection(_SecureConnection):
    public_only = True


class _Http(urllib.request.HTTPHandler):
    def __init__(self, public_only: bool) -> None:
        super().__init__()
        self._kind = _PublicConnection if public_only else _Connection

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._kind, req)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, public_only: bool, context: ssl.SSLContext) -> None:
        super().__init__(context=context)
        self._kind = _PublicSecureConnection if public_only else _SecureConnection

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._kind, req, context=self._context)  # type: ignore[attr-defined]


class _Redirects(urllib.request.HTTPRedirectHandler):
    max_redirections = 5

    def __init__(self, permit: Callable[[str], None]) -> None:
        self._permit = permit

    def redirect_request(self, *arguments: Any) -> urllib.request.Request | None:
        self._permit(arguments[-1])
        return super().redirect_request(*arguments)


def _check_peer(connection: _Connection | _SecureConnection) -> None:
    # The address really connected to: a check of the name's addresses beforehand could be raced.
    address = ipaddress.ip_address(connection.sock.getpeername()[0].partition("%")[0])
    inner = getattr(address, "ipv4_mapped", None) or address
    refused = inner.is_link_local or inner == ipaddress.ip_address("fd00:ec2::254")
    if connection.public_only and not _is_proxy(connection.host):
        embeds = any(inner in network for network in _EMBEDDING if inner.version == 6)
        refused = refused or embeds or inner.is_multicast or not inner.is_global
    if refused:
        connection.close()
        raise _Refused(str(address))


# IPv6 prefixes that carry an IPv4 address, to which a gateway may deliver.
_EMBEDDING = [
    ipaddress.ip_network(prefix) for prefix in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16")
]


def _is_proxy(host: str) -> bool:
    """A proxy may have a private address; it is the administrator's word, not the author's."""
    return host in {urlsplit(proxy).hostname for proxy in urllib.request.getproxies().values()}


def shown(uri: str) -> str:
    """The URI without what may be secret: user, password, query."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return uri.partition("?")[0]
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "..." if parts.query else "", ""))


def _length(answer: http.client.HTTPResponse) -> int | None:
    text = answer.headers.get("Content-Length", "")
    encoded = answer.headers.get("Content-Encoding", "identity") != "identity"
    return int(text) if text.isascii() and text.isdigit() and not encoded else None


def _identity(answer: http.client.HTTPResponse, size: int | None) -> str | None:
    etag = answer.headers.get("ETag")
    if etag:
        return str(etag).strip('"')
    changed = answer.headers.get("Last-Modified")
    return f"{changed}, {size} bytes" if changed and size is not None else None


def _chunks(uri: str, answer: http.client.HTTPResponse) -> Iterator[bytes]:
    """The body, whole or an error: `read(n)` of http.client passes a short body over in silence."""
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        raise errors.NotAllowed(f"{shown(uri)} is only served compressed on the fly")
    expected = _length(answer)
    seen = 0
    while True:
        with _errors(uri, "GET"):
            chunk = answer.read(_CHUNK)
        if not chunk:
            break
        seen += len(chunk)
        yield chunk
    if expected is not None and seen != expected:
        raise errors.TryLater(f"{shown(uri)} broke off after {seen:,} of {expected:,} bytes")


@contextlib.contextmanager
def _errors(uri: str, method: str) -> Iterator[None]:
    name = shown(uri)
    try:
        yield
    except urllib.error.HTTPError as error:
        with contextlib.closing(error):
            status = error.code
        if status in (404, 410):
            raise errors.NotFound(f"there is no {name} (HTTP {status})") from error
        if status in _PASSING or (status >= 500 and status not in (501, 505)):
            raise errors.TryLater(f"{name}: the server answers HTTP {status}") from error
        if method == "HEAD":
            raise _HeadUseless from error
        raise errors.NotAllowed(f"{name}: the server answers HTTP {status}") from error
    except _Refused as error:
        raise errors.NotAllowed(
            f"{name} leads to the address {error}, which is not talked to"
        ) from error
    except urllib.error.URLError as error:
        reason = error.reason
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise errors.NotAllowed(f"{name}: {reason}") from error
        if isinstance(reason, socket.gaierror) and reason.errno != socket.EAI_AGAIN:
            raise errors.NotFound(f"{name}: there is no such host") from error
        if not isinstance(reason, OSError):
            raise errors.NotAllowed(f"{name}: {reason}") from error
        raise errors.TryLater(f"{name}: {reason}") from error
    except http.client.InvalidURL as error:
        raise errors.InvalidInputs(f"{name} cannot be used as a URL: {error}") from error
    except (http.client.HTTPException, OSError) as error:
        raise errors.TryLater(f"{name}: {error or type(error).__name__}") from error
    except (ValueError, UnicodeError) as error:
        raise errors.InvalidInputs(f"{name} cannot be used as a URL: {error}") from error
