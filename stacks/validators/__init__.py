"""Rules between settings: pure functions from settings to findings, all reported at once.

    finding      Level, Finding, and the shape of a rule
    one module a section; each lists its rules in RULES

A rule names the keys that it is about; one whose keys are wrong by themselves is not heard.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from stacks.validators import (
    accounts,
    compute,
    database,
    monitoring,
    network,
    registries,
    storage,
)
from stacks.validators.finding import Finding, Level

if TYPE_CHECKING:
    from stacks.settings.schema import Settings

__all__ = ["Finding", "Level", "findings"]


def findings(settings: Settings) -> Iterator[Finding]:
    """All that the rules have to say."""
    for module in (accounts, network, storage, database, compute, registries, monitoring):
        for rule in module.RULES:
            yield from rule(settings)
