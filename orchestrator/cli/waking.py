"""Tells a server on this machine that there is something to do.

A server that has been idle for long asks the database seldom, so that it may pause
(`orchestrator.idle-poll-seconds`). One that is told asks at once.
"""

from __future__ import annotations

import contextlib
import http.client
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.config.settings import Settings

_SECONDS = 2.0
_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where it listens, not we
_ASKS_OFTEN_SECONDS = 10


def wake(settings: Settings) -> None:
    """Knock where the configuration says that the server listens. Nobody there is no error: it is
    somewhere else, and comes to look by itself."""
    if settings.orchestrator.idle_poll_seconds <= _ASKS_OFTEN_SECONDS:
        return
    interface = settings.webservice.interface
    connection = http.client.HTTPConnection(
        _ANY_ADDRESS.get(interface, interface), settings.webservice.port, timeout=_SECONDS
    )
    with contextlib.suppress(OSError, http.client.HTTPException):
        connection.request("POST", "/wake")
        connection.getresponse().read()
    connection.close()
