"""Rules of the database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from stacks.validators.finding import Finding, Rule, error, warning

if TYPE_CHECKING:
    from stacks.settings.schema import Settings

# The first minor of each major that can pause (Aurora User Guide, "Scaling to zero ACUs").
_PAUSES_SINCE = {13: 15, 14: 12, 15: 7, 16: 3}


def capacity_is_ordered(settings: Settings) -> Iterator[Finding]:
    """The floor is not above the ceiling, and the ceiling can hold the connections."""
    database = settings.database
    if database.min_acu > database.max_acu:
        yield error(
            "database.min_acu database.max_acu",
            f"{database.min_acu:g} must not be above max_acu {database.max_acu:g}",
        )


def only_versions_that_can_pause_have_no_floor(settings: Settings) -> Iterator[Finding]:
    """An older one is refused by RDS when it is created."""
    database = settings.database
    if database.min_acu > 0:
        return
    major, minor = (int(part) for part in database.engine_version.split("."))
    since = _PAUSES_SINCE.get(major, 0)
    if minor < since:
        yield error(
            "database.engine_version database.min_acu",
            f"{database.engine_version} cannot pause, and min_acu is 0",
            f"{major}.{since} or newer, or min_acu = 0.5",
        )


def production_does_not_sleep(settings: Settings) -> Iterator[Finding]:
    """Waking takes 15 s and more, for every first request of a day."""
    if settings.production and settings.database.min_acu < 0.5:
        yield error(
            "database.min_acu production",
            f"{settings.database.min_acu:g} lets the database of a production environment sleep",
            "min_acu = 0.5 or more",
        )


def production_logs_in_by_iam(settings: Settings) -> Iterator[Finding]:
    """The master's password opens everything, and stays valid for days."""
    if settings.database.login != "secret":
        return
    message = "lets the orchestrator in as the master"
    if settings.production:
        yield error("database.login production", message, 'login = "iam"')
    elif settings.host.enabled:
        yield warning("database.login host.enabled", message, 'login = "iam"')


def the_orchestrator_is_not_the_master(settings: Settings) -> Iterator[Finding]:
    """The master owns the database; its name is taken."""
    if settings.database.user == "bootstrap":
        yield error("database.user", "'bootstrap' is the master's name")


RULES: tuple[Rule, ...] = (
    capacity_is_ordered,
    only_versions_that_can_pause_have_no_floor,
    production_does_not_sleep,
    production_logs_in_by_iam,
    the_orchestrator_is_not_the_master,
)
