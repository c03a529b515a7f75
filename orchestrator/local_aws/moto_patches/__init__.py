"""Where moto's own answers are not AWS's: one module a service, put in place when it is loaded.

A patched name that is gone is an error at once (`replace`), not a behaviour that changes silently.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class MotoChanged(RuntimeError):
    """moto no longer has what is patched here."""


def replace(owner: type, name: str, make: Callable[[Any], Any]) -> None:
    """Put `make(original)` in place of an attribute of a class. Raises MotoChanged.

    What is patched already is left alone: a process patches moto once.
    """
    original = owner.__dict__.get(name)
    if original is None:
        raise MotoChanged(f"moto's {owner.__module__}.{owner.__qualname__} has no {name} any more")
    if getattr(original, "patched_by_local_aws", False):
        return
    patched = make(original)
    if isinstance(patched, property):
        patched.fget.patched_by_local_aws = True  # type: ignore[attr-defined]
    else:
        patched.patched_by_local_aws = True
    setattr(owner, name, patched)
