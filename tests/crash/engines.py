"""Engines in processes of their own, to be killed and stopped, over one store and one backend.

They are forked from a process that has everything loaded (multiprocessing's fork server), each the
leader of a session of its own. What they say goes to a file.
"""

from __future__ import annotations

import ctypes
import json
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from orchestrator import errors
from orchestrator.model import states
from orchestrator.model.records import AttemptRecord, CallRecord, WorkflowRecord
from orchestrator.model.states import WorkflowState
from orchestrator.store.sql import SqlStore
from tests import submitting
from tests.submitting import Source

_PATIENCE = 120.0  # seconds, for whatever has to come to pass on a busy machine

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["tests.crash.engine_process"])


@dataclass(frozen=True)
class Setup:
    """What an engine works on. Without `cloud` its jobs are processes of this machine."""

    url: str
    root: str
    owner: str | None = None
    lease_seconds: float = 60.0
    capacity: int = 0
    busy_seconds: float = 30.0
    settings: Mapping[str, Any] = field(default_factory=dict)  # of the backend
    cloud: Any = None  # what `aws_batch` is made from, see `engine_process`


class EngineProcess:
    """One engine."""

    def __init__(
        self, setup: Setup, log: Path, root_id: str | None = None, fault: str | None = None
    ) -> None:
        """With `root_id` it runs that workflow, as `orchestrator resume` does, and ends with it;
        without, it serves until it is told to stop."""
        self.log = log
        self.process = _processes.Process(target=_run, args=(setup, str(log), root_id, fault))
        self.process.start()
        assert self.process.pid is not None
        self.pid: int = self.process.pid

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL, to it alone."""
        self.process.kill()
        self.process.join(_PATIENCE)

    def kill_all(self) -> None:
        """SIGKILL to its whole group: whatever it keeps in its own session goes with it."""
        os.killpg(self.pid, signal.SIGKILL)
        self.process.join(_PATIENCE)

    def end(self) -> int:
        """Its exit code, once it has ended: -N for signal N."""
        self.process.join(_PATIENCE)
        code = self.process.exitcode
        assert code is not None, f"it does not end:\n{self.said}"
        return code

    def was_killed(self) -> None:
        """It comes to its end at its fault point."""
        assert self.end() == -signal.SIGKILL, f"it was not killed:\n{self.said}"

    def succeeded(self) -> None:
        """It runs its workflow to a good end."""
        code = self.end()
        assert code == 0, f"exit code {code}:\n{self.said}"

    def is_stopped(self) -> bool:
        stat = Path(f"/proc/{self.pid}/stat").read_text()
        return stat.rpartition(")")[2].split()[0] == "T"

    @property
    def said(self) -> str:
        return self.log.read_text()[-8000:] if self.log.exists() else ""


def _run(setup: Setup, log: str, root_id: str | None, fault: str | None) -> None:
    os.setsid()
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: not beyond the tests
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    try:
        from tests.crash import engine_process

        code = engine_process.run(setup, root_id, fault)
    except BaseException:
        traceback.print_exc()
        code = 70
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


class World:
    """A store, workflows in it, a ledger that their commands append to, and engines."""

    def __init__(self, folder: Path, setup: Setup, ledger: Path) -> None:
        self.folder = folder
        self.setup = setup
        self.ledger = ledger
        self.store = SqlStore(setup.url)
        self.store.migrate()
        self.engines: list[EngineProcess] = []

    def submit(self, source: Source, /, **values: Any) -> str:
        """A new workflow; its id."""
        return submitting.submit(self.store, source, {"ledger": str(self.ledger), **values})

    def engine(self, root_id: str | None = None, fault: Any = None, **setup: Any) -> EngineProcess:
        """A new engine; `fault` as the variable of `faultpoints` has it."""
        engine = EngineProcess(
            replace(self.setup, **setup),
            self.folder / f"engine-{len(self.engines)}.log",
            root_id,
            None if fault is None else str(fault),
        )
        self.engines.append(engine)
        return engine

    def workflow(self, root_id: str) -> WorkflowRecord:
        return self.store.workflow(root_id)

    def outputs(self, root_id: str) -> Any:
        """Of a workflow that has succeeded."""
        record = self.store.workflow(root_id)
        assert record.state is WorkflowState.SUCCEEDED, (record.state, record.failures, self.said)
        return json.loads(record.outputs or "null")

    def calls(self, root_id: str) -> list[CallRecord]:
        return list(self.store.calls(root_id))

    def attempts(self, root_id: str) -> list[AttemptRecord]:
        return list(self.store.attempts(root_id))

    def nothing_is_open(self, root_id: str) -> bool:
        """Whether all its calls and attempts are over."""
        found = [call.state for call in self.calls(root_id)]
        tried = [attempt.state for attempt in self.attempts(root_id)]
        return all(states.is_terminal(state) for state in (*found, *tried))

    def is_held_by(self, root_id: str, engine: EngineProcess) -> bool:
        """Whether this engine, under its own name, has the workflow's lease."""
        return f"/{engine.pid}/" in (self.store.holder(root_id) or "")

    def lines(self) -> list[str]:
        """What the commands wrote: `<what> <directory of the attempt>`."""
        return self.ledger.read_text().splitlines() if self.ledger.exists() else []

    def ran(self) -> Counter[str]:
        """What has run, and how often."""
        return Counter(line.rpartition(" ")[0] for line in self.lines())

    @property
    def said(self) -> str:
        return "\n".join(f"--- {engine.log.name}\n{engine.said}" for engine in self.engines)

    def close(self) -> None:
        for engine in self.engines:
            if engine.process.is_alive():
                engine.kill()
            engine.process.join()
            engine.process.close()
        self.store.close()


def eventually(condition: Callable[[], Any], seconds: float = _PATIENCE) -> Any:
    """The condition's first true value; fails when the time is up."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            value = condition()
        except errors.StoreUnavailable:
            value = None
        if value:
            return value
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)
