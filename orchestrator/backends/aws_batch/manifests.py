"""Settles a finished job: its manifest where there is one, else a failure from what Batch says."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

from orchestrator.backends.aws_batch import reasons
from orchestrator.backends.aws_batch.small_objects import SmallObjects
from orchestrator.backends.wrapper import manifest as wrapper_manifest
from orchestrator.model.attempt import AttemptRef
from orchestrator.model.failures import Failure, FailureCode
from orchestrator.model.job import InputFile, WorkDir
from orchestrator.model.manifest import Manifest


class Manifests:
    """Reads manifests from where `work_dir` says."""

    def __init__(self, objects: SmallObjects, work_dir: Callable[[AttemptRef], WorkDir]) -> None:
        self._objects = objects
        self._work_dir = work_dir

    def read(
        self,
        submission_id: str,
        attempt: AttemptRef,
        inputs: Callable[[], Iterable[InputFile]],
    ) -> Manifest | Failure | None:
        """The attempt's manifest, a failure if it is refused, None if there is none of this
        submission. Raises TryLater and its like when S3 does not answer."""
        where = self._work_dir(attempt)
        data = self._objects.get(where.manifest, wrapper_manifest.LIMIT_BYTES)
        if data is None:
            return None
        try:
            found = wrapper_manifest.parse(data, kept_below=[where.uri], inputs=inputs)
        except wrapper_manifest.ManifestRejected as error:
            return Failure(FailureCode.DELOCALIZATION_FAILED, f"{where.manifest}: {error}")
        return found if found.belongs_to(submission_id, attempt.token) else None


def says_all(manifest: Manifest) -> bool:
    """Whether Batch has nothing to add to it."""
    return not (_was_stopped(manifest) or _was_killed(manifest))


def _was_stopped(manifest: Manifest) -> bool:
    return manifest.failure is not None and manifest.failure.code is FailureCode.ABORTED


def _was_killed(manifest: Manifest) -> bool:
    return manifest.failure is None and manifest.return_code == 137


def judged(manifest: Manifest, ended: reasons.Ended) -> Manifest:
    """The manifest, with Batch's reason where the wrapper only knows that it was told to stop."""
    if says_all(manifest):
        return manifest
    if _was_killed(manifest):
        # The command was killed inside a container that lived on: only memory does that.
        known = reasons.why_stopped(ended)
        if known is None or known.code is not FailureCode.OUT_OF_MEMORY:
            return manifest
        return dataclasses.replace(manifest, failure=known)
    # Our own TerminateJob, and anybody's, comes back as a reason; a host that goes away may not.
    known = reasons.why_stopped(ended) or Failure(
        FailureCode.LOST,
        "the job was told to stop (SIGTERM) and AWS Batch gives no reason; its host probably went "
        "away",
    )
    return dataclasses.replace(manifest, failure=known)
