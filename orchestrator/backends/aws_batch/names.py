"""Names and tags in the characters that AWS Batch allows."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from orchestrator.model.job import Submission, SubmissionHandle

LONGEST_NAME = 128
MOST_TAGS = 45  # AWS allows 50 on a job with those of its definition
SUBMISSION_TAG = "orchestrator:submission"
ROOT_WORKFLOW_TAG = "orchestrator:workflow"


def job_name(handle: SubmissionHandle) -> str:
    """The handle's name, ending with the submission's id, whatever is cut away before it."""
    text = re.sub(r"[^A-Za-z0-9_-]", "_", handle.name.removesuffix(handle.id)).strip("-")
    text = re.sub(r"^[^A-Za-z0-9]+", "", text)[: LONGEST_NAME - 1 - len(handle.id)]
    return f"{text}-{handle.id}" if text else handle.id


def share(submission: Submission) -> str:
    """The share identifier, in letters and digits.

    A group's name as it is, where it can be, so that the weights in the settings of the stacks name
    it. Workflows of no group are spread over 256: a queue takes 500 at most.
    """
    group, root_id = submission.share, submission.handle.attempts[0].root_workflow_id
    if group in ("", root_id):
        return f"wf{_bucket(root_id)}"
    return group if re.fullmatch(r"[A-Za-z0-9]{1,255}", group) else f"group{_bucket(group)}"


def _bucket(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:2]


def tags(submission: Submission) -> dict[str, str]:
    """Labels as tags; ours win, and are kept when there are too many."""
    handle = submission.handle
    ours = {
        SUBMISSION_TAG: handle.id,
        ROOT_WORKFLOW_TAG: handle.attempts[0].root_workflow_id,
    }
    labels = dict(_clean((*submission.shape.tags, *submission.labels)))
    kept = {key: value for key, value in labels.items() if key not in ours}
    return dict(list(kept.items())[: MOST_TAGS - len(ours)]) | ours


def _clean(labels: Iterable[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    for key, value in labels:
        name = _allowed(key)[:128]
        # AWS keeps what begins with aws: to itself, in any case.
        if name and not name.lower().startswith("aws:"):
            yield name, _allowed(value)[:256]


def _allowed(text: str) -> str:
    """Letters, digits, blanks and _.:/=+-@ (AWS Batch: Tag restrictions)."""
    return "".join(c if c.isalnum() or c in " _.:/=+-@" else "_" for c in text).strip()
