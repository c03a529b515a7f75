"""Follows a workflow in this process to its end: progress on stderr, outputs on stdout."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import typer
from rich.console import Console, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from orchestrator import errors
from orchestrator.assembly import Assembly
from orchestrator.engine.coordinator import Engine
from orchestrator.engine.run import Progress
from orchestrator.engine.tenure import Tenure
from orchestrator.model.records import WorkflowRecord
from orchestrator.model.states import CallState, WorkflowState
from orchestrator.store.base import Lease

_ASK_AGAIN_SECONDS = 2.0


def follow(
    assembly: Assembly,
    lease: Lease,
    *,
    as_json: bool,
    copy_to: Path | None,
    quiet: bool,
    resume_with: str,
) -> None:
    """Run the leased workflow to its end, print what came of it, and exit accordingly.

    SIGINT and SIGTERM abort the workflow; a second one leaves at once (jobs run on, and
    `resume_with` takes the workflow up again).
    """
    # What is loaded by now lives as long as the process, and what the engine makes mostly until its
    # workflow ends: looking for cycles in it over and over took a tenth of the time.
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    claimed_at = Tenure.now()
    engine = assembly.engine()
    interrupted = threading.Event()
    engine.start()
    try:
        with _aborting_on_signals(assembly, engine, lease.root_id, interrupted, resume_with):
            engine.adopt(lease, claimed_at)
            record = _wait(engine, lease.root_id, quiet)
    finally:
        engine.stop()
    if interrupted.is_set() and record.state is WorkflowState.ABORTED:
        _report(assembly, record, as_json, copy_to, quiet)
        raise typer.Exit(130)
    report(assembly, record, as_json=as_json, copy_to=copy_to, quiet=quiet)


def report(
    assembly: Assembly, record: WorkflowRecord, *, as_json: bool, copy_to: Path | None, quiet: bool
) -> None:
    """Print what came of a workflow that is over, and exit accordingly."""
    _report(assembly, record, as_json, copy_to, quiet)
    if record.state is not WorkflowState.SUCCEEDED:
        raise typer.Exit(1)


def _wait(engine: Engine, root_id: str, quiet: bool) -> WorkflowRecord:
    watcher = _Quiet() if quiet else _Live() if sys.stderr.isatty() else _Lines()
    with watcher:
        while True:
            record = engine.wait(root_id, timeout=2.0 if quiet else 0.2)
            progress = engine.progress(root_id)
            if progress is not None:
                watcher.show(progress)
            if record is not None:
                return record


def _report(
    assembly: Assembly, record: WorkflowRecord, as_json: bool, copy_to: Path | None, quiet: bool
) -> None:
    outputs = json.loads(record.outputs) if record.outputs else {}
    failures = [failure["message"] for failure in json.loads(record.failures or "[]")]
    if record.state is WorkflowState.SUCCEEDED and copy_to is not None:
        outputs_here = assembly.copy_outputs(record, copy_to)
        if not quiet:
            typer.echo(f"outputs copied to {outputs_here}", err=True)
    if as_json:
        document: dict[str, Any] = {
            "id": record.id,
            "workflow": record.name,
            "status": record.state,
            "outputs": outputs,
            "failures": failures,
        }
        print(json.dumps(document, indent=2))
    elif record.state is WorkflowState.SUCCEEDED:
        print(json.dumps(outputs, indent=2))
    if record.state is not WorkflowState.SUCCEEDED:
        typer.echo(f"\nworkflow {record.name} {record.id}: {record.state}", err=True)
        for failure in failures:
            typer.echo(f"error[{errors.WorkflowFailed.code}]: {failure}", err=True)


@contextlib.contextmanager
def _aborting_on_signals(
    assembly: Assembly,
    engine: Engine,
    root_id: str,
    interrupted: threading.Event,
    resume_with: str,
) -> Iterator[None]:
    def handle(number: int, frame: FrameType | None) -> None:
        if interrupted.is_set():
            os.write(2, f"\nleft; its jobs run on. Take it up again: {resume_with}\n".encode())
            os._exit(130)
        interrupted.set()
        os.write(2, b"\naborting: jobs are being ended; once more leaves at once\n")
        threading.Thread(target=ask, daemon=True).start()

    def ask() -> None:
        while True:
            try:
                assembly.store.put_command(root_id, "abort")
                break
            except errors.OrchestratorError as error:
                os.write(2, f"not aborted yet: {error.message}\n".encode())
                time.sleep(_ASK_AGAIN_SECONDS)
        engine.poke()

    before = {s: signal.signal(s, handle) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Quiet:
    """Shows nothing."""

    def __enter__(self) -> _Quiet:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, progress: Progress) -> None:
        """Take note of a snapshot."""


class _Lines(_Quiet):
    """One line whenever a count changed, at most one a second: for logs and CI."""

    def __init__(self) -> None:
        self._last: Mapping[str, str] = {}
        self._next = 0.0
        self._pending: Progress | None = None

    def __exit__(self, *_: object) -> None:
        if self._pending is not None:
            self._print(self._pending)

    def show(self, progress: Progress) -> None:
        """Print what changed since the last line."""
        self._pending = progress
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + 1.0
            self._print(progress)

    def _print(self, progress: Progress) -> None:
        now = {name: _counts(counts) for name, counts in progress.calls.items()}
        for name, text in now.items():
            if self._last.get(name) != text:
                stamp = time.strftime("%H:%M:%S")
                typer.echo(f"{stamp} {progress.workflow_name}.{name}: {text}", err=True)
        self._last = now


class _Live(_Quiet):
    """One table, one row a call however many shards it has."""

    def __init__(self) -> None:
        self._live = Live(console=Console(stderr=True), refresh_per_second=5, transient=False)
        self._began = time.monotonic()

    def __enter__(self) -> _Live:
        self._live.__enter__()
        return self

    def __exit__(self, *arguments: Any) -> None:
        self._live.__exit__(*arguments)

    def show(self, progress: Progress) -> None:
        """Draw the snapshot."""
        self._live.update(self._draw(progress))

    def _draw(self, progress: Progress) -> RenderableType:
        seconds = int(time.monotonic() - self._began)
        state = "Failing" if progress.failing else str(progress.state)
        table = Table(
            title=f"{progress.workflow_name} {progress.workflow_id[:8]}  {state}  {seconds} s",
            title_justify="left",
            box=None,
            pad_edge=False,
        )
        table.add_column("call")
        table.add_column("", width=20)
        table.add_column("done", justify="right")
        table.add_column("", justify="left")
        for name, counts in progress.calls.items():
            total = sum(counts.values()) or 1
            done = counts.get(CallState.DONE, 0)
            table.add_row(name, _bar(counts, total), f"{done}/{total}", _rest(counts))
        return table


def _bar(counts: Mapping[CallState, int], total: int, width: int = 20) -> Text:
    bar = Text()
    for state, style in (
        (CallState.DONE, "green"),
        (CallState.FAILED, "red"),
        (CallState.RUNNING, "yellow"),
    ):
        bar.append("█" * round(width * counts.get(state, 0) / total), style=style)
    return bar


def _counts(counts: Mapping[CallState, int]) -> str:
    done = f"{counts.get(CallState.DONE, 0)}/{sum(counts.values())} done"
    return ", ".join(filter(None, (done, _rest(counts))))


def _rest(counts: Mapping[CallState, int]) -> str:
    words = (
        (CallState.RUNNING, "running"),
        (CallState.WAITING, "waiting"),
        (CallState.FAILED, "failed"),
        (CallState.ABORTED, "aborted"),
    )
    return ", ".join(f"{counts[state]} {word}" for state, word in words if counts.get(state))
