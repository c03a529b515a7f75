"""A finished job -> None (it succeeded so far), or the failure.

The manifest is the truth; the backend's own records speak only where there is none.
"""

from __future__ import annotations

from orchestrator.backends.base import Change
from orchestrator.model.failures import Failure, FailureCode
from orchestrator.model.runtime import RuntimeAttributes


def judge(change: Change, attributes: RuntimeAttributes) -> Failure | None:
    """In Cromwell's order: could it run at all, failOnStderr, the return code."""
    manifest = change.manifest
    if manifest is None:
        return change.failure or Failure(
            FailureCode.LOST, "the job is gone and left no manifest; its host probably died"
        )
    if manifest.failure is not None:
        return manifest.failure
    if manifest.return_code is None:
        return Failure(FailureCode.LOST, "the command never ran to its end")
    if attributes.fail_on_stderr and manifest.stderr.size > 0:
        return Failure(
            FailureCode.STDERR_NOT_EMPTY,
            _with_stderr("stderr is not empty and failOnStderr is set", manifest.stderr_tail),
        )
    if not attributes.accepts(manifest.return_code):
        return Failure(
            FailureCode.WRONG_RETURN_CODE,
            _with_stderr(
                f"the command ended with return code {manifest.return_code}", manifest.stderr_tail
            ),
        )
    return None


def _with_stderr(message: str, tail: str) -> str:
    tail = tail.rstrip()
    if not tail:
        return f"{message}; stderr is empty"
    return f"{message}; the end of stderr:\n" + "\n".join(f"  {line}" for line in tail.split("\n"))
