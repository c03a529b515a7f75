"""How the shards of one call stand, and why those that are not over stand there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from orchestrator import errors
from orchestrator.cli import calls
from orchestrator.cli.logs_sources import Sources
from orchestrator.model import states

if TYPE_CHECKING:
    from orchestrator.assembly import Assembly
    from orchestrator.model.records import AttemptRecord

MOST_EXPLAINED = 10  # shards: each costs its backend some calls
_MOST_LINES = 20


def iso_time(seconds: float | None) -> str | None:
    """As Cromwell writes times; None for none."""
    if not seconds:
        return None
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def rows(made: Assembly, root_id: str, found: Sequence[calls.Found]) -> list[dict[str, Any]]:
    """One for each shard. `explanation` only where its job is not over, and of the first ones."""
    sources = Sources(made.store, made.backends, made.filesystems, root_id)
    tried = calls.attempts(made.store, (one.workflow.id for one in found))
    made_rows: list[dict[str, Any]] = []
    explained = 0
    for one in found:
        attempts = tried.get(one.key, [])
        last = attempts[-1] if attempts else None
        explanation = None
        lives = last is not None and not states.is_terminal(last.state)
        if last is not None and lives and explained < MOST_EXPLAINED:
            explained += 1
            explanation = _explanation(sources, one, last)
        made_rows.append(
            {
                "call": one.label,
                "shards": list(one.call.shards),
                "status": one.call.state,
                "attempt": last.attempt if last else None,
                "attempt_status": last.state if last else None,
                "job": last.job_id if last else None,
                "since": iso_time(last.started_at if last else None),
                "failure": _failure(one, last),
                "explanation": explanation,
            }
        )
    return made_rows


def lines(found: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The same for people: what is not over first, the same reason told once."""
    if len(found) > 1:
        counts = Counter(str(row["status"]) for row in found)
        yield ", ".join(f"{count} {state}" for state, count in counts.items())
    order = sorted(found, key=lambda row: (row["explanation"] is None, row["failure"] is None))
    said: set[tuple[str, str, str]] = set()
    for row in order[:_MOST_LINES]:
        attempt = f"  attempt {row['attempt']}" if row["attempt"] else ""
        job = f"  job {row['job']}" if row["job"] else ""
        yield f"{row['call']}  {row['status']}{attempt}{job}"
        if row["failure"]:
            yield f"  {row['failure']}"
        why = row["explanation"]
        if why is None or (key := (why["state"], why["cause"], why["next_step"])) in said:
            continue
        said.add(key)
        yield f"  {why['state']}: {why['cause']}"
        if why["next_step"]:
            yield f"  next: {why['next_step']}"
    if len(order) > _MOST_LINES:
        yield f"... and {len(order) - _MOST_LINES} more; CALL:SHARD shows one, --json all"


def _explanation(sources: Sources, one: calls.Found, record: AttemptRecord) -> dict[str, str]:
    try:
        found = sources.explain(one, record)
    except errors.OrchestratorError as error:
        return {"state": "Unknown", "cause": error.message, "next_step": error.hint}
    if found is None:
        return {
            "state": str(record.state),
            "cause": "it is being submitted: its backend has not answered with a job yet",
            "next_step": "wait a little; when nothing happens, see whether a server runs",
        }
    return {"state": str(found.state), "cause": found.cause, "next_step": found.next_step}


def _failure(one: calls.Found, record: AttemptRecord | None) -> str | None:
    """Why the call failed, or its last attempt."""
    if one.call.failure_code:
        return f"{one.call.failure_code}: {one.call.failure_message}"
    if record is not None and record.failure_code:
        return f"{record.failure_code}: {record.failure_message}"
    return None
