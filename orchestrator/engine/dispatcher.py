"""Ready attempts -> submissions: those that differ only in their script become one array."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from orchestrator.model.job import JobSpec, Shape, Submission, SubmissionHandle

_LONGEST_NAME = 128  # AWS Batch's limit


@dataclass(frozen=True, slots=True)
class ReadyAttempt:
    """An attempt that waits for nothing but a place to run."""

    shape: Shape
    spec: JobSpec


def group(
    ready: Iterable[ReadyAttempt],
    *,
    workflow_name: str,
    backend: str,
    max_array_size: int,
    now: float,
    share: str,
    labels: Iterable[tuple[str, str]] = (),
) -> Iterator[Submission]:
    """Submissions for attempts of one root workflow, in the order they became ready.

    One call's shards share an array; different calls do not, so that a job's name tells what it is.
    `labels` are the workflow's own.
    """
    groups: dict[tuple[str, Shape], list[ReadyAttempt]] = {}
    for attempt in ready:
        groups.setdefault((attempt.spec.attempt.call_name, attempt.shape), []).append(attempt)
    for (call_name, shape), members in groups.items():
        for start in range(0, len(members), max_array_size):
            part = members[start : start + max_array_size]
            submission_id = uuid.uuid4().hex
            first = part[0].spec.attempt
            yield Submission(
                handle=SubmissionHandle(
                    id=submission_id,
                    name=job_name(workflow_name, call_name, submission_id),
                    backend=backend,
                    queue=shape.queue,
                    created_at=now,
                    attempts=tuple(member.spec.attempt for member in part),
                ),
                shape=shape,
                jobs=tuple(member.spec for member in part),
                labels=(
                    ("cromwell-workflow-name", workflow_name),
                    ("cromwell-workflow-id", first.root_workflow_id),
                    *labels,
                ),
                share=share,
            )


def job_name(workflow_name: str, call_name: str, submission_id: str) -> str:
    """`<workflow>-<call>-<id>` in the characters AWS Batch allows, the id always whole."""
    text = re.sub(r"[^A-Za-z0-9_-]", "_", f"{workflow_name}-{call_name}")
    if not text[0].isalnum():
        text = f"w{text}"
    return f"{text[: _LONGEST_NAME - 1 - len(submission_id)]}-{submission_id}"
