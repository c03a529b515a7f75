"""Which service a host name means: looked up once a name.

moto lists its own package's directory to find out, twice a request, and asks for the kind of each
of its 175 entries: a third of what a small request cost.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication

from orchestrator.local_aws.moto_patches import replace

_NAMES = 1024  # a host name may hold the name of any bucket


def apply() -> None:
    """Patch moto's dispatcher. Raises MotoChanged."""
    replace(DomainDispatcherApplication, "get_backend_for_host", _remembered)


def _remembered(original: Callable[[Any, str | None], Any]) -> Callable[[Any, str | None], Any]:
    """The answer depends on the name alone."""

    @functools.lru_cache(_NAMES)
    def backend(host: str | None) -> Any:
        return original(patterns, host)

    patterns = DomainDispatcherApplication(_no_services)
    return lambda _dispatcher, host: backend(host)


def _no_services(service: Any) -> Any:
    raise NotImplementedError(f"only names are looked up here, not {service}")
