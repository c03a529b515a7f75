"""The orchestrator is killed while jobs run and wait; another goes on, nothing runs twice."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from orchestrator.backends.base import JobState
from orchestrator.backends.local import LocalBackend
from orchestrator.model.job import SubmissionHandle
from tests.unit.backends.local.jobs import submit, wait

JOBS = 12


def victim(root: Path, ledger: Path, known: Path) -> None:
    """Submit, say what was submitted, wait for ever."""
    backend = LocalBackend(root, cores=2, memory_mib=1024, containers="none")
    scripts = [f'echo {n} >> "{ledger}"; sleep 0.3; echo {n}' for n in range(JOBS)]
    handle = submit(backend, scripts)
    new = known.with_suffix(".new")
    new.write_bytes(pickle.dumps(handle))
    new.rename(known)
    while True:
        backend.changes(1.0)


@pytest.mark.parametrize("begun", [0, 1, 5])
def test_a_killed_orchestrator_loses_and_repeats_nothing(tmp_path: Path, begun: int) -> None:
    root, ledger, known = tmp_path / "executions", tmp_path / "ledger", tmp_path / "handle"
    code = (
        "from pathlib import Path; from tests.unit.backends.local.test_crash import victim; "
        f"victim(Path({str(root)!r}), Path({str(ledger)!r}), Path({str(known)!r}))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[4])
    try:
        deadline = time.monotonic() + 60
        while not known.exists() or (begun and lines(ledger) < begun):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    handle: SubmissionHandle = pickle.loads(known.read_bytes())

    backend = LocalBackend(root, cores=2, memory_mib=1024, containers="none")
    try:
        assert backend.find(handle) == handle.job_id
        changes = wait(backend, JOBS)
    finally:
        backend.close()
    assert sorted(change.index for change in changes) == list(range(JOBS))
    for change in changes:
        manifest = change.manifest
        assert manifest is not None
        assert manifest.belongs_to(handle.id, handle.attempts[change.index].token)
        assert (manifest.return_code, manifest.failure) == (0, None)
        assert Path(manifest.stdout.uri).read_text() == f"{change.index}\n"
    counts = Counter(ledger.read_text().split())
    assert counts == {str(number): 1 for number in range(JOBS)}


def test_two_orchestrators_that_both_believe_they_own_a_job_run_it_once(tmp_path: Path) -> None:
    """A stolen lease: the claim is the wrapper's, whoever starts it."""
    ledger = tmp_path / "ledger"
    first = LocalBackend(tmp_path / "x", cores=1, memory_mib=64, containers="none")
    second = LocalBackend(tmp_path / "x", cores=1, memory_mib=64, containers="none")
    try:
        handle = submit(first, [f'echo {n} >> "{ledger}"; sleep 0.2' for n in range(6)])
        wait(first, 1, JobState.RUNNING)
        assert second.find(handle) == handle.job_id
        wait(second, 6)
    finally:
        first.close()
        second.close()
    assert Counter(ledger.read_text().split()) == {str(n): 1 for n in range(6)}


def lines(path: Path) -> int:
    return path.read_text().count("\n") if path.exists() else 0
