"""What is on disk of a submission: written whole before anything starts, read after a restart.

    <root>/<workflow>/<root id>/.submissions/<submission id>/
        submission.json   shape, size, and by what containers are run
        jobs.jsonl        a job a line: where it works, its inputs, the files the wrapper is given
        revoked           nothing of this may begin any more
        <index>/          a job's private directory, made when it starts: the wrapper's files,
                          `begun` (the claim), `lock` (held while it lives), `log`, `reason` (why it
                          was told to stop), `verdict` (what the container engine says of its end)

It goes when a user deletes the workflow's directory, and not before.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import json
import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from orchestrator import errors
from orchestrator.backends.wrapper import manifest as manifests
from orchestrator.model.job import InputFile, JobSpec, Shape, Submission, SubmissionHandle
from orchestrator.model.manifest import Manifest

# A path at which there cannot be anything, whoever asks and whenever.
IMPOSSIBLE = frozenset({errno.ENAMETOOLONG, errno.ENOTDIR, errno.ELOOP})

# What stays of a private directory when its job has ended.
_KEPT = frozenset({"begun", "lock", "log", "reason", "verdict"})


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it is on disk."""

    token: str
    attempt_dir: Path
    manifest: Path
    stdout: Path
    inputs: tuple[InputFile, ...]
    files: Mapping[str, bytes]


class Record:
    """One submission on disk."""

    def __init__(self, directory: Path) -> None:
        """Raises FileNotFoundError where there is none, ValueError where it cannot be read."""
        self.directory = directory
        data = json.loads((directory / "submission.json").read_text())
        self.id: str = data["id"]
        self.size: int = data["size"]
        self.engine: str = data["engine"]
        self.shape = Shape(**data["shape"])
        self._offsets = _line_offsets(directory / "jobs.jsonl")
        if len(self._offsets) != self.size:
            raise ValueError(f"{directory} holds {len(self._offsets)} jobs, not {self.size}")

    @property
    def revoked(self) -> bool:
        """Whether nothing of it may begin any more."""
        return (self.directory / "revoked").exists()

    def job_id(self, index: int) -> str:
        """`<submission>` or, in an array, `<submission>:<index>`."""
        return self.id if self.size == 1 else f"{self.id}:{index}"

    def private(self, index: int) -> Path:
        """The job's private directory."""
        return self.directory / str(index)

    def begun(self, index: int) -> bool:
        """Whether a wrapper has claimed the job, or somebody for good."""
        return (self.private(index) / "begun").is_dir()

    def job(self, index: int) -> Job:
        """What was written of the job."""
        with (self.directory / "jobs.jsonl").open("rb") as file:
            file.seek(self._offsets[index])
            data = json.loads(file.readline())
        return Job(
            token=data["token"],
            attempt_dir=Path(data["attempt_dir"]),
            manifest=Path(data["manifest"]),
            stdout=Path(data["stdout"]),
            inputs=tuple(InputFile(uri, "", directory) for uri, directory in data["inputs"]),
            files={name: base64.b64decode(text) for name, text in data["files"].items()},
        )

    def lay_out(self, index: int) -> Job:
        """Make the directories and files a wrapper needs, for a job that has not begun."""
        job = self.job(index)
        private = self.private(index)
        private.mkdir(mode=0o700, exist_ok=True)
        for name, content in job.files.items():
            (private / name).write_bytes(content)
        job.attempt_dir.mkdir(parents=True, exist_ok=True)
        job.manifest.unlink(missing_ok=True)  # an earlier submission's, that was revoked
        return job

    def claim(self, index: int) -> bool:
        """Take the wrapper's claim, so that the job never begins; False when it has begun."""
        private = self.private(index)
        private.mkdir(mode=0o700, exist_ok=True)
        try:
            (private / "begun").mkdir()
        except FileExistsError:
            return False
        return True

    def reason(self, index: int) -> str:
        """Why the job was told to stop: `cancelled`, `timeout` or nothing."""
        try:
            return (self.private(index) / "reason").read_text()
        except FileNotFoundError:
            return ""

    def set_reason(self, index: int, reason: str) -> None:
        """Kept before the signal is sent; the first reason stays."""
        with contextlib.suppress(FileExistsError), (self.private(index) / "reason").open("x") as f:
            f.write(reason)

    def manifest(self, index: int) -> Manifest | None:
        """The job's manifest; None where there is none, or one that cannot be its own."""
        job = self.job(index)
        try:
            with job.manifest.open("rb") as file:
                data = file.read(manifests.LIMIT_BYTES + 1)
            manifest = manifests.parse(
                data, kept_below=[str(job.attempt_dir)], inputs=lambda: job.inputs
            )
        except (OSError, manifests.ManifestRejected):
            return None
        return manifest if manifest.belongs_to(self.id, job.token) else None

    def log_tail(self, index: int, limit_bytes: int = 4096) -> str:
        """The end of the job's log."""
        try:
            with (self.private(index) / "log").open("rb") as file:
                file.seek(0, os.SEEK_END)
                file.seek(max(0, file.tell() - limit_bytes))
                return file.read().decode(errors="replace")
        except OSError:
            return ""

    def tidy(self, index: int) -> None:
        """Remove what only a running wrapper needs."""
        with contextlib.suppress(OSError):
            for path in self.private(index).iterdir():
                if path.name not in _KEPT:
                    path.unlink()


def directory_of(root: Path, handle: SubmissionHandle) -> Path:
    """Where a submission is kept: in the root workflow's directory."""
    top = PurePosixPath(*PurePosixPath(handle.attempts[0].directory).parts[:2])
    return root / top / ".submissions" / handle.id


def create(
    directory: Path,
    submission: Submission,
    engine: str,
    files: Sequence[Mapping[str, bytes]],
) -> Record:
    """Write a submission, all or nothing. Raises NotAllowed when its id is taken or revoked."""
    handle = submission.handle

    def write(new: Path) -> None:
        with (new / "jobs.jsonl").open("wb") as lines:
            for job, its_files in zip(submission.jobs, files, strict=True):
                lines.write(json.dumps(_line(job, its_files)).encode() + b"\n")
            _sync(lines)
        data = {
            "id": handle.id,
            "name": handle.name,
            "size": len(submission.jobs),
            "engine": engine,
            "shape": asdict(submission.shape),
        }
        with (new / "submission.json").open("wb") as file:
            file.write(json.dumps(data, indent=2).encode())
            _sync(file)

    if not _make(directory, write):
        what = "revoked" if (directory / "revoked").exists() else "submitted already"
        raise errors.NotAllowed(f"submission {handle.name} was {what}")
    return Record(directory)


def revoke(directory: Path) -> None:
    """See to it that nothing of this submission begins any more, whether it is there or not."""
    try:
        if _make(directory, lambda new: (new / "revoked").touch()):
            return
    except OSError as error:
        if error.errno in IMPOSSIBLE:
            return
        raise
    (directory / "revoked").touch()
    try:
        record = Record(directory)
    except (FileNotFoundError, ValueError):
        return
    for index in range(record.size):
        record.claim(index)


def _make(directory: Path, write: Any) -> bool:
    """Make a directory with content at once; False when it is there."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    new = directory.with_name(f".new-{directory.name}-{secrets.token_hex(4)}")
    new.mkdir(mode=0o700)
    try:
        write(new)
        new.rename(directory)  # onto a directory that is not empty it fails
    except OSError as error:
        shutil.rmtree(new, ignore_errors=True)
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    return True


def _line(job: JobSpec, files: Mapping[str, bytes]) -> dict[str, Any]:
    return {
        "token": job.attempt.token,
        "attempt_dir": str(Path(job.work_dir.path).parent),
        "manifest": job.work_dir.manifest,
        "stdout": job.work_dir.stdout,
        "inputs": [[item.uri, item.directory] for item in job.inputs],
        "files": {name: base64.b64encode(data).decode() for name, data in files.items()},
    }


def _line_offsets(path: Path) -> list[int]:
    offsets = []
    with path.open("rb") as file:
        at = 0
        for line in file:
            offsets.append(at)
            at += len(line)
    return offsets


def _sync(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())
