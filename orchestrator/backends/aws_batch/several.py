"""Several deployed environments behind one port: jobs go to the one that has their queue.

An environment is of one region, and so are its queues, hosts and roles. A task names a queue by its
ARN, which tells the region; everything of its job then happens there. What jobs leave lies below
one root, wherever they run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from orchestrator import errors
from orchestrator.backends.aws_batch.backend import AwsBatchBackend
from orchestrator.backends.base import Change, Explanation, Log
from orchestrator.deployment import Deployment
from orchestrator.model.attempt import AttemptRef
from orchestrator.model.failures import Failure, FailureCode
from orchestrator.model.job import Shape, Submission, SubmissionHandle, WorkDir


class SeveralEnvironments:
    """The port, over one backend for each environment. The first has the default queue."""

    def __init__(self, parts: Sequence[tuple[Deployment, AwsBatchBackend]]) -> None:
        """Raises InvalidConfig where an attempt would not work at one path on all hosts."""
        first, self._home = parts[0]
        self.name = self._home.name
        self.max_array_size = self._home.max_array_size
        self.backends = tuple(backend for _, backend in parts)
        self._by_queue: dict[str, AwsBatchBackend] = {}
        for contract, backend in parts:
            if contract.scratch_path != first.scratch_path:
                raise errors.InvalidConfig(
                    f"hosts of environment {contract.environment!r} have their disk at "
                    f"{contract.scratch_path}, those of {first.environment!r} at "
                    f"{first.scratch_path}: one backend cannot have both",
                    hint="the same worker.scratch_path in the settings of both environments, or "
                    "a provider for each",
                )
            self._by_queue.update((queue.arn, backend) for queue in contract.queues)

    def work_dir(self, attempt: AttemptRef) -> WorkDir:
        """The same wherever the attempt runs."""
        return self._home.work_dir(attempt)

    def fits(self, shape: Shape) -> Failure | None:
        """By the contract of the queue's environment."""
        if shape.queue and shape.queue not in self._by_queue:
            return Failure(
                FailureCode.SUBMIT_REFUSED,
                f"queueArn {shape.queue} is no queue of these environments; there are: "
                f"{', '.join(self._by_queue)}",
            )
        return self._of(shape.queue).fits(shape)

    def lasting(self, shape: Shape) -> Shape | None:
        """In the same environment."""
        return self._of(shape.queue).lasting(shape)

    def submit(self, submission: Submission) -> str:
        """To the environment of the queue."""
        return self._of(submission.shape.queue).submit(submission)

    def find(self, handle: SubmissionHandle) -> str | None:
        """Where it was submitted to."""
        return self._of(handle.queue).find(handle)

    def revoke(self, handle: SubmissionHandle) -> None:
        """Where it was submitted to."""
        self._of(handle.queue).revoke(handle)

    def changes(self, wait_seconds: float) -> Sequence[Change]:
        """Of all; each waits for its part of the time, when none has anything at once."""
        found = [change for backend in self.backends for change in backend.changes(0)]
        for backend in self.backends:
            if found:
                break
            found += backend.changes(wait_seconds / len(self.backends))
        return found

    def cancel(self, jobs: Iterable[tuple[SubmissionHandle, Sequence[int]]]) -> None:
        """Every environment is asked, also when one refuses."""
        wanted: dict[int, list[tuple[SubmissionHandle, Sequence[int]]]] = {}
        for handle, indices in jobs:
            wanted.setdefault(id(self._of(handle.queue)), []).append((handle, indices))
        first: errors.OrchestratorError | None = None
        for backend in self.backends:
            try:
                if id(backend) in wanted:
                    backend.cancel(wanted[id(backend)])
            except errors.OrchestratorError as error:
                first = first or error
        if first is not None:
            raise first

    def logs(self, handle: SubmissionHandle, index: int) -> Log:
        """Where it was submitted to."""
        return self._of(handle.queue).logs(handle, index)

    def explain(self, handle: SubmissionHandle, index: int) -> Explanation:
        """Where it was submitted to."""
        return self._of(handle.queue).explain(handle, index)

    def close(self) -> None:
        """All."""
        for backend in self.backends:
            backend.close()

    def _of(self, queue: str) -> AwsBatchBackend:
        return self._by_queue.get(queue, self._home)
