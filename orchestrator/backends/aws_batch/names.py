"""Names and tags in the characters that AWS Batch allows."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterable

from orchestrator.backends.aws_batch.job_definitions import ENVIRONMENT_TAG
from orchestrator.model.job import Submission, SubmissionHandle

LONGEST_NAME = 128
_BUCKETS = 100
MOST_TAGS = 45  # AWS allows 50 on a job with those of its definition
SUBMISSION_TAG = "orchestrator:submission"
ROOT_WORKFLOW_TAG = "orchestrator:workflow"


def job_name(handle: SubmissionHandle) -> str:
    """The handle's name, ending with the submission's id, whatever is cut away before it."""
    text = re.sub(r"[^A-Za-z0-9_-]", "_", handle.name.removesuffix(handle.id)).strip("-")
    text = re.sub(r"^[^A-Za-z0-9]+", "", text)[: LONGEST_NAME - 1 - len(handle.id)]
    return f"{text}-{handle.id}" if text else handle.id


class Shares:
    """Share identifiers, in letters and digits; far fewer than the 500 that a queue bears.

    A group's name as it is, where it can be, so that the weights in the settings of the stacks name
    it; but only of the first hundred groups, for a group may be anything. Other groups are spread
    over a hundred, workflows of no group over another hundred. May be used from several threads.
    """

    def __init__(self) -> None:
        self._named: set[str] = set()
        self._lock = threading.Lock()

    def of(self, submission: Submission) -> str:
        """Where the submission's share of a queue's room is counted."""
        group, root_id = submission.share, submission.handle.attempts[0].root_workflow_id
        if group in ("", root_id):
            return f"wf{_bucket(root_id)}"
        if re.fullmatch(r"[A-Za-z0-9]{1,255}", group):
            with self._lock:
                if len(self._named) < _BUCKETS:
                    self._named.add(group)
                if group in self._named:
                    return group
        return f"group{_bucket(group)}"


def _bucket(text: str) -> int:
    return int(hashlib.sha256(text.encode()).hexdigest(), 16) % _BUCKETS


def tags(submission: Submission, environment: str) -> dict[str, str]:
    """Labels as tags; ours win, and are kept when there are too many."""
    handle = submission.handle
    first = handle.attempts[0]
    ours = {
        SUBMISSION_TAG: handle.id,
        ROOT_WORKFLOW_TAG: first.root_workflow_id,
        ENVIRONMENT_TAG: environment,
        "orchestrator:call": first.call_name,
    }
    if len(handle.attempts) == 1:  # an array's tags are those of all its children
        ours["orchestrator:attempt"] = str(first.attempt)
        if first.shards:
            ours["orchestrator:shard"] = ".".join(map(str, first.shards))
    labels = dict(_clean((*submission.shape.tags, *submission.labels)))
    kept = {key: value for key, value in labels.items() if key not in ours}
    return dict(list(kept.items())[: MOST_TAGS - len(ours)]) | dict(_clean(ours.items()))


def _clean(labels: Iterable[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    for key, value in labels:
        name = _allowed(key)[:128]
        # AWS keeps what begins with aws: to itself, in any case.
        if name and not name.lower().startswith("aws:"):
            yield name, _allowed(value)[:256]


def _allowed(text: str) -> str:
    """Letters, digits, blanks and _.:/=+-@ (AWS Batch: Tag restrictions)."""
    return "".join(c if c.isalnum() or c in " _.:/=+-@" else "_" for c in text).strip()
