"""`orchestrator status`: how workflows stand."""

from __future__ import annotations

import json
from collections import Counter
from typing import Annotated, Any

import typer

from orchestrator.cli import calls, options, status_of_call
from orchestrator.cli.status_of_call import iso_time
from orchestrator.model.records import WorkflowRecord
from orchestrator.model.states import WorkflowState
from orchestrator.store.base import Store


def status(
    workflow_id: Annotated[
        str, typer.Argument(help="Its id, or the beginning of it; without, all.")
    ] = "",
    call: Annotated[
        str,
        typer.Argument(help="A call of it, as `orchestrator logs` takes it: why it is not over."),
    ] = "",
    config: options.Config = None,
    environment: options.Environment = None,
    as_json: options.Json = False,
) -> None:
    """List workflows, newest first; with an id, one workflow with its calls; with a call, its
    shards, and what its backend says of those that are not over.

    With --json, also where the time of each attempt went (queue, pull, localize, command,
    delocalize) and how much memory and disk it took at most.
    """
    from orchestrator import assembly

    made = assembly.assemble(options.load(config, environment))
    try:
        if not workflow_id:
            rows = [_summary(record) for record in made.store.matching("")]
            if as_json:
                print(json.dumps(rows, indent=2))
            for row in [] if as_json else rows:
                print(f"{row['id']}  {_shown(row):<10} {row['submission']}  {row['workflow']}")
            return
        record = made.find(workflow_id)
        if call:
            found = calls.find(
                made.store,
                record,
                call,
                lambda: assembly.load_bundle(made.store.bundle(record.bundle)).task_calls,
            )
            shards = status_of_call.rows(made, record.id, found)
            if as_json:
                print(json.dumps({"id": record.id, "call": call, "shards": shards}, indent=2))
                return
            for line in status_of_call.lines(shards):
                print(line)
            return
        counts: dict[str, Counter[str]] = {}
        for one in made.store.calls(record.id):
            counts.setdefault(one.name, Counter())[one.state] += 1
        row = _summary(record) | {"calls": counts}
        if as_json:
            row["attempts"] = _attempts(made.store, record)
            print(json.dumps(row, indent=2))
            return
        print(f"{row['id']}  {_shown(row)}  {row['submission']}  {row['workflow']}")
        for name, states in counts.items():
            print(f"  {name}: " + ", ".join(f"{count} {state}" for state, count in states.items()))
        for failure in row["failures"]:
            print(f"  {failure}")
    finally:
        made.close()


def _summary(record: Any) -> dict[str, Any]:
    return {
        "id": record.id,
        "workflow": record.name,
        "status": record.state,
        # It can only fail any more, though parts of it still run.
        "failing": record.state is WorkflowState.RUNNING and bool(record.failures),
        "submission": iso_time(record.submitted_at),
        "start": iso_time(record.started_at),
        "end": iso_time(record.ended_at),
        "outputs": json.loads(record.outputs) if record.outputs else {},
        "failures": [failure["message"] for failure in json.loads(record.failures or "[]")],
    }


def _attempts(store: Store, root: WorkflowRecord) -> list[dict[str, Any]]:
    """Every attempt so far, those of sub-workflows too: where its time went, its peaks."""
    found = list(calls.every(store, root))
    tried = calls.attempts(store, (one.workflow.id for one in found))
    return [
        {
            "call": one.label,
            "attempt": attempt.attempt,
            "status": attempt.state,
            "job": attempt.job_id,
            "return_code": attempt.return_code,
            "failure": attempt.failure_code,
            "start": iso_time(attempt.started_at),
            "end": iso_time(attempt.ended_at),
            "seconds": {
                name: round(ended - started, 3)
                for name, started, ended in json.loads(attempt.phases)
            },
            "peak_memory_bytes": attempt.peak_memory_bytes,
            "peak_disk_bytes": attempt.peak_disk_bytes,
        }
        for one in found
        for attempt in tried.get(one.key, ())
    ]


def _shown(row: dict[str, Any]) -> str:
    return "Failing" if row["failing"] else str(row["status"])
