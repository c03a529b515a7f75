"""Rules of monitoring."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from stacks.validators.finding import Finding, Rule, error, warning

if TYPE_CHECKING:
    from stacks.settings.schema import Settings


def somebody_is_told(settings: Settings) -> Iterator[Finding]:
    """An alarm or a budget that nobody hears of is none."""
    monitoring = settings.monitoring
    if monitoring.emails:
        return
    if monitoring.monthly_budget_usd:
        yield error(
            "monitoring.monthly_budget_usd monitoring.emails",
            "a budget needs somebody to tell",
            'emails = ["team@example.org"]',
        )
    if monitoring.alarms and settings.production:
        yield warning(
            "monitoring.emails monitoring.alarms",
            "alarms go to a topic that nobody listens to",
            'emails = ["team@example.org"], or subscribe to the topic',
        )


RULES: tuple[Rule, ...] = (somebody_is_told,)
