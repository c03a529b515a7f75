"""Calls and attempts as users name them: `align`, `align:3`, `flow.align`, `sub:1.align:0:2`."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from orchestrator import errors
from orchestrator.model import states
from orchestrator.model.attempt import AttemptRef
from orchestrator.model.job import SubmissionHandle
from orchestrator.model.records import (
    AttemptRecord,
    CallRecord,
    SubmissionRecord,
    WorkflowRecord,
)
from orchestrator.store.base import Store

_PART = re.compile(r"([A-Za-z][A-Za-z0-9_]*)((?::[0-9]+)*)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Found:
    """One shard of a call. `above` names the calls of sub-workflows that it lies in: `sub[1].`"""

    workflow: WorkflowRecord
    call: CallRecord
    above: str = ""

    @property
    def name(self) -> str:
        """Its name, without its shards."""
        return f"{self.above}{self.call.name}"

    @property
    def label(self) -> str:
        """Its name and its shards."""
        return self.name + "".join(f"[{shard}]" for shard in self.call.shards)

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from all others."""
        return self.workflow.id, self.call.id


@dataclass(frozen=True, slots=True)
class _Part:
    name: str
    shards: tuple[int, ...] | None  # None: all

    def of(self, call: CallRecord) -> bool:
        return call.name == self.name and self.shards in (None, call.shards)


def find(
    store: Store, root: WorkflowRecord, text: str, planned: Callable[[], Collection[str]]
) -> Sequence[Found]:
    """The shards of a call that have come up so far, by shard.

    `planned` gives the dotted names of all calls to tasks in the workflow's source. Raises NotFound
    for a call that is not among them, Invalid, and TryLater for one that has not come up yet.
    """
    parts = _parse(text)
    level = [Found(root, call) for call in store.calls(root.id)]
    if parts[0].name == root.name and parts[1:] and not any(parts[0].of(f.call) for f in level):
        del parts[0]  # messages name the workflow too
    for depth, part in enumerate(parts):
        if depth > 0:
            level = _below(store, level)
        wanted = [found for found in level if part.of(found.call)]
        if not wanted:
            raise _nothing(root, text, parts, level, planned())
        level = wanted
    if all(found.call.sub_workflow_id for found in level):
        raise errors.Invalid(
            f"{text} is a workflow of its own: name a call in it",
            hint=_known(_below(store, level)),
        )
    return sorted(level, key=lambda found: (found.above, found.call.shards))


def _nothing(
    root: WorkflowRecord,
    text: str,
    parts: Sequence[_Part],
    level: Sequence[Found],
    planned: Collection[str],
) -> errors.OrchestratorError:
    dotted = ".".join(part.name for part in parts)
    if dotted in planned and not states.is_terminal(root.state):
        return errors.TryLater(
            f"{text} of workflow {root.id} has not come up yet: what it needs is not there",
            hint=f"orchestrator status {root.id} tells how far it is",
        )
    others = [found for found in level if any(found.call.name == part.name for part in parts)]
    hint = _known(level)
    if others:
        labels = [found.label for found in others[:10]] + ["..."] * (len(others) > 10)
        hint = f"there are: {', '.join(labels)}"
    return errors.NotFound(f"workflow {root.id} has no call {text}", hint=hint)


def every(store: Store, root: WorkflowRecord) -> Iterator[Found]:
    """All calls that have come up so far, those of sub-workflows after those of the workflow."""
    level = [Found(root, call) for call in store.calls(root.id)]
    while level:
        yield from level
        level = _below(store, level)


def attempts(
    store: Store, workflows: Iterable[str]
) -> Mapping[tuple[str, str], list[AttemptRecord]]:
    """The attempts of all calls of these workflows, by `Found.key`, the first one first."""
    by_call: dict[tuple[str, str], list[AttemptRecord]] = {}
    for workflow_id in dict.fromkeys(workflows):
        for attempt in store.attempts(workflow_id):
            by_call.setdefault((workflow_id, attempt.call_id), []).append(attempt)
    return by_call


def handle(found: Found, attempt: AttemptRecord, submission: SubmissionRecord) -> SubmissionHandle:
    """By what its backend finds the attempt's job, for questions about this one job.

    Of the submission's other attempts only their number is known here: all are called like this.
    """
    ref = AttemptRef(
        found.workflow.root_id,
        found.workflow.id,
        found.workflow.directory,
        found.call.id,
        found.call.name,
        found.call.shards,
        attempt.attempt,
    )
    return SubmissionHandle(
        submission.id,
        submission.name,
        submission.backend,
        submission.queue,
        submission.created_at,
        (ref,) * submission.size,
        submission.job_id,
    )


def _parse(text: str) -> list[_Part]:
    parts = []
    for word in text.split("."):
        match = _PART.fullmatch(word)
        if match is None:
            name = re.match(r"[A-Za-z]\w*", word, re.ASCII)
            example = name[0] if name else "align"
            raise errors.Invalid(
                f"{text!r} does not name a call",
                hint=f"as in {example}, {example}:3 for shard 3, or sub:0.{example}",
            )
        shards = tuple(int(number) for number in match[2].split(":")[1:])
        parts.append(_Part(match[1], shards or None))
    return parts


def _below(store: Store, level: Iterable[Found]) -> list[Found]:
    """The calls of the sub-workflows that these calls are."""
    return [
        Found(store.workflow(found.call.sub_workflow_id), call, f"{found.label}.")
        for found in level
        if found.call.sub_workflow_id
        for call in store.calls(found.call.sub_workflow_id)
    ]


def _known(level: Sequence[Found]) -> str:
    names = {
        re.sub(r"\[[0-9]+\]", "", f.name) + (".CALL" if f.call.sub_workflow_id else "")
        for f in level
    }
    shown = sorted(names)[:20] + (["..."] if len(names) > 20 else [])
    return f"there are: {', '.join(shown)}" if shown else "there are none yet"
