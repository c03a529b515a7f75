"""A finished job -> None (it succeeded so far), or the failure.

The manifest is the truth; the backend's own records speak only where there is none. So a command
that ends with 137 or 143 by itself has a wrong return code and costs a retry of its user's, and a
host that is taken away costs one of the engine's, whatever code its container ended with.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable

from orchestrator.backends.base import Change
from orchestrator.model.exit_rules import JobEnd
from orchestrator.model.failures import Failure, FailureCode
from orchestrator.model.runtime import RuntimeAttributes

_LARGEST_SIGNAL = 64


def judge(
    change: Change, attributes: RuntimeAttributes, memory_keys: Iterable[str] = ()
) -> Failure | None:
    """In Cromwell's order: could it run at all, failOnStderr, the return code, memory.

    `memory_keys`: words on stderr that tell that a command that failed lacked memory
    (`system.memory-retry-error-keys`); none where memory does not grow.
    """
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
    if attributes.accepts(manifest.return_code):
        return None
    failure = Failure(
        FailureCode.WRONG_RETURN_CODE,
        _with_stderr(
            f"the command ended with return code {manifest.return_code}"
            f"{_signal_of(manifest.return_code)}",
            manifest.stderr_tail,
        ),
    )
    key = next((key for key in memory_keys if key in manifest.stderr_tail), None)
    return failure if key is None else lacked_memory(failure, key)


def further_attempts(
    change: Change | None, failure: Failure, attributes: RuntimeAttributes | None
) -> int:
    """What the task's awsBatchRetryAttempts grant on top of every other budget."""
    if change is None or attributes is None:
        return 0
    manifest = change.manifest
    return attributes.further_attempts(
        JobEnd(
            failure.code,
            manifest.return_code if manifest else change.exit_code,
            change.container_reason,
            change.status_reason,
        )
    )


def lacked_memory(failure: Failure, key: str) -> Failure:
    """The same, told apart by a word on stderr: the next attempt gets more memory."""
    return Failure(
        FailureCode.OUT_OF_MEMORY,
        f"stderr holds {key!r}, one of system.memory-retry-error-keys: {failure.message}",
    )


def _signal_of(code: int) -> str:
    if not 128 < code <= 128 + _LARGEST_SIGNAL:
        return ""
    try:
        name = signal.Signals(code - 128).name
    except ValueError:
        return ""
    return f" (128 + {code - 128}: {name}, sent to the command, not to its host)"


def _with_stderr(message: str, tail: str) -> str:
    tail = tail.rstrip()
    if not tail:
        return f"{message}; stderr is empty"
    return f"{message}; the end of stderr:\n" + "\n".join(f"  {line}" for line in tail.split("\n"))
