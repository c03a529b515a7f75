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
    if (owner, name) not in _replaced:
        setattr(owner, name, make(original))
        _replaced.add((owner, name))


def add(owner: type, name: str, new: Any) -> None:
    """Give a class what it lacks. Raises MotoChanged when moto has it by now.

    What is added already is left alone.
    """
    if (owner, name) in _replaced:
        return
    if hasattr(owner, name):
        raise MotoChanged(f"moto's {owner.__module__}.{owner.__qualname__} has {name} itself now")
    setattr(owner, name, new)
    _replaced.add((owner, name))


_replaced: set[tuple[type, str]] = set()
