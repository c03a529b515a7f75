"""The HTTP handler: one connection carries many requests, as with AWS.

werkzeug's closes the connection after each answer, because what a service leaves unread of a
request would be taken for the next one. Here it is read to its end first. Clients keep their
connections, and what they cost is what they cost on AWS, without TLS.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterable
from typing import Any

from moto.moto_server.werkzeug_app import MotoRequestHandler

_log = logging.getLogger("orchestrator.local_aws")
_PIECE = 1 << 20


class Handler(MotoRequestHandler):
    """Answers one request after the other, without Nagle's delay."""

    disable_nagle_algorithm = True
    protocol_version = "HTTP/1.1"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Not one line a request: `calls.py` counts them."""

    def run_wsgi(self) -> None:
        """One request. (werkzeug's name of it; `Expect: 100-continue` has been answered.)"""
        environ = self.make_environ()
        if not environ.get("wsgi.input_terminated"):
            length = environ.get("CONTENT_LENGTH") or "0"
            environ["wsgi.input"] = _Bounded(self.rfile, int(length) if length.isdigit() else 0)
            environ["wsgi.input_terminated"] = True
        unread = environ["wsgi.input"]  # a service may put another stream there
        answer = _Answer(self)
        try:
            body = self.server.app(environ, answer.start)
            try:
                for piece in body:
                    answer.write(piece)
                answer.end()
            finally:
                if hasattr(body, "close"):
                    body.close()
            while unread.read(_PIECE):
                pass
        except (ConnectionError, TimeoutError):
            self.close_connection = True
        except Exception:
            # The gateway answers for the services' defects: what comes here is half an answer.
            _log.exception("%s %s", self.command, self.path)
            self.close_connection = True


class _Answer:
    """What WSGI calls start_response and write."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._head: tuple[str, list[tuple[str, str]]] | None = None
        self._begun = False
        self._chunked = False
        self._left: int | None = None  # of what Content-Length says
        self._bodiless = False

    def start(
        self, status: str, headers: Iterable[tuple[str, str]], _info: object = None
    ) -> Callable[[bytes], None]:
        self._head = status, list(headers)
        return self.write

    def write(self, piece: bytes) -> None:
        if not self._begun:
            self._begin()
        if not piece or self._bodiless:
            return
        if self._left is not None:
            self._left -= len(piece)
        out = self._handler.wfile
        out.write(b"%x\r\n%b\r\n" % (len(piece), piece) if self._chunked else piece)

    def end(self) -> None:
        if not self._begun:
            self._begin()
        if self._chunked:
            self._handler.wfile.write(b"0\r\n\r\n")
        if self._left and not self._bodiless:
            self._handler.close_connection = True  # not as long as it said

    def _begin(self) -> None:
        assert self._head is not None, "a service answered without a status"
        handler, (status, headers) = self._handler, self._head
        number, _, reason = status.partition(" ")
        code = int(number)
        lengths = [int(value) for name, value in headers if name.lower() == "content-length"]
        self._begun = True
        self._bodiless = handler.command == "HEAD" or code < 200 or code in (204, 304)
        self._left = lengths[0] if lengths else None
        handler.send_response(code, reason)
        for name, value in headers:
            handler.send_header(name, value)
        if not lengths and not self._bodiless:
            if handler.request_version >= "HTTP/1.1":
                self._chunked = True
                handler.send_header("Transfer-Encoding", "chunked")
            else:
                handler.close_connection = True
        if handler.close_connection:
            handler.send_header("Connection", "close")
        handler.end_headers()


class _Bounded(io.RawIOBase):
    """A request's body: so many bytes of the connection."""

    def __init__(self, source: io.BufferedIOBase, length: int) -> None:
        self._source = source
        self._left = length

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self.read(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)

    def read(self, size: int | None = -1) -> bytes:
        wanted = self._left if size is None or size < 0 else min(size, self._left)
        piece = self._source.read(wanted) if wanted else b""
        self._left = self._left - len(piece) if len(piece) == wanted else 0
        return piece

    def readall(self) -> bytes:
        return self.read()

    def readline(self, size: int | None = -1) -> bytes:
        wanted = self._left if size is None or size < 0 else min(size, self._left)
        line = self._source.readline(wanted) if wanted else b""
        self._left -= len(line)
        return line
