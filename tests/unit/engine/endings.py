"""A workflow on real files whose jobs are done, and what the pool does at its end, done here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from orchestrator.backends.fake import FakeBackend, manifest
from orchestrator.engine import actions, events
from orchestrator.engine.actions import Effect
from orchestrator.engine.finishing import Finishing
from orchestrator.filesystems.base import Filesystems
from orchestrator.filesystems.local import LocalFilesystem
from orchestrator.model import states
from orchestrator.model.job import Submission

from .stepping import ROOT, Stepped

Files = Callable[[Submission, int], Mapping[str, str]]


class Crash(Exception):
    """The process is gone."""


class Ending:
    """`root` is the execution root; jobs leave the files that `leave` says."""

    def __init__(
        self,
        folder: Path,
        source: str | Mapping[str, str],
        options: Mapping[str, Any],
        leave: Files,
        values: Mapping[str, Any] | None = None,
    ) -> None:
        self.root = folder / "root"
        self.home = self.root / "w" / ROOT
        self._leave = leave
        self.world = Stepped(source, values, options, root=str(self.root))
        self.world.backend = FakeBackend(lambda s, i: None, root=str(self.root))
        self.world.open()
        self.filesystems = Filesystems(LocalFilesystem())
        self.done: list[Effect] = []  # actions of the end that were performed
        self.crash_on: type[Any] | tuple[()] = ()  # once such an action is performed
        self._taken: dict[str, Submission] = {}
        self._steps_until_crash = 10**9

    def run(self, crash_after: int | None = None) -> bool:
        """Go on to the end. False: it crashed before, after so many steps."""
        self._steps_until_crash = 10**9 if crash_after is None else crash_after
        try:
            for _ in range(200):
                effects = self.world.turn()
                self._step()
                if states.is_terminal(self.world.state()):
                    return True
                for submission in self.world.submitted(effects):
                    self.work(submission)
                for effect in effects:
                    self._perform(effect)
                wake = self.world.run.wake_at()
                self.world.now = max(self.world.now, wake or 0.0)
        except Crash:
            self.world.open()
            return False
        raise AssertionError("it did not end")

    def work(self, submission: Submission) -> None:
        """Its jobs leave their files and end."""
        self._taken[submission.handle.id] = submission
        for index, spec in enumerate(submission.jobs):
            left = self._leave(submission, index)
            for name, text in left.items():
                path = Path(spec.work_dir.uri) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            for log in (spec.work_dir.stdout, spec.work_dir.stderr):
                Path(log).parent.mkdir(parents=True, exist_ok=True)
                Path(log).write_text(f"{spec.attempt}")
            files = {name: text.encode() for name, text in left.items()}
            end = manifest(submission.handle.id, spec, files=files)
            self.world.finish(submission, index, end)

    def _perform(self, effect: Effect) -> None:
        finishing = Finishing(self.world.store, self.filesystems)
        finalizer = self.world.run.finalizer
        match effect:
            case actions.PlanEnd():
                event = finishing.plan(ROOT, effect)
            case actions.CopyFile():
                event = finishing.copy(ROOT, effect)
            case actions.DeleteFiles():
                event = finishing.delete(ROOT, effect)
            case actions.WriteLog():
                event = finishing.write_log(ROOT, effect)
            case actions.Find(handle):
                taken = self._taken.get(handle.id)
                self.world.run.submissions.found(handle.id, f"job-{handle.id}" if taken else None)
                if taken:
                    self.work(taken)
                return
            case actions.Revoke(handle):
                self.world.run.submissions.revoked(handle.id)
                return
            case _:
                return
        self.done.append(effect)
        if isinstance(effect, self.crash_on):
            self.crash_on = ()
            raise Crash
        self._step()  # done, and nobody knows
        match event:
            case events.EndPlanned(_, number, plan, reason):
                finalizer.planned(number, plan, reason)
            case events.FileCopied(_, number, target, missing, error):
                finalizer.copied(number, target, missing, error)
            case events.FilesDeleted(_, number, error):
                finalizer.deleted(number, error)
            case events.LogWritten(_, number, error):
                finalizer.logged(number, error)
        self._step()  # known, and not committed

    def _step(self) -> None:
        if self._steps_until_crash == 0:
            raise Crash
        self._steps_until_crash -= 1


def tree(folder: Path) -> set[str]:
    """Relative paths of all files."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
