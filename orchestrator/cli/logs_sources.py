"""Where an attempt's output is read from: its backend while it runs, its storage afterwards."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from orchestrator import errors
from orchestrator.backends.base import Backend, Explanation, Log
from orchestrator.cli import calls
from orchestrator.filesystems.base import Filesystems
from orchestrator.model.records import AttemptRecord, SubmissionRecord
from orchestrator.store.base import Store

STREAMS = ("stdout", "stderr")


class Sources:
    """Of the calls of one root workflow."""

    def __init__(
        self,
        store: Store,
        backends: Mapping[str, Backend],
        filesystems: Filesystems,
        root_id: str,
    ) -> None:
        self._store = store
        self._backends = backends
        self._filesystems = filesystems
        self._root_id = root_id
        self._submissions: dict[str, SubmissionRecord] = {}

    def live(self, found: calls.Found, record: AttemptRecord) -> Log | None:
        """The log of the attempt's job; None while its backend has not answered with a job."""
        known = self._job(record)
        if known is None:
            return None
        backend, submission = known
        return backend.logs(calls.handle(found, record, submission), record.array_index)

    def explain(self, found: calls.Found, record: AttemptRecord) -> Explanation | None:
        """Why the attempt's job stands where it stands; None while there is no job."""
        known = self._job(record)
        if known is None:
            return None
        backend, submission = known
        return backend.explain(calls.handle(found, record, submission), record.array_index)

    @contextlib.contextmanager
    def kept(self, record: AttemptRecord, stream: str) -> Iterator[BinaryIO | None]:
        """One of `STREAMS` as it was kept when the attempt ended; None where it was not."""
        uri = record.stdout if stream == "stdout" else record.stderr
        if uri is None:
            yield None
            return
        with tempfile.TemporaryDirectory(prefix="orchestrator-logs-") as directory:
            copy = Path(directory) / stream
            try:
                self._filesystems.of(uri).download(uri, str(copy))
            except errors.NotFound:
                yield None
                return
            with copy.open("rb") as file:
                yield file

    def _job(self, record: AttemptRecord) -> tuple[Backend, SubmissionRecord] | None:
        submission = self._submissions.get(record.submission_id or "")
        if submission is None or submission.job_id is None:
            self._submissions = {s.id: s for s in self._store.submissions(self._root_id)}
            submission = self._submissions.get(record.submission_id or "")
        if submission is None or submission.job_id is None:
            return None
        backend = self._backends.get(submission.backend)
        if backend is None:
            raise errors.NotFound(
                f"job {submission.job_id} runs on backend {submission.backend}, which this "
                "configuration does not have",
                hint="use the configuration that the workflow was submitted with",
            )
        return backend, submission
