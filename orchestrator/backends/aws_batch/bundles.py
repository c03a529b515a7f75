"""Bundles: what the wrappers of a submission are told, in packs of at most 100 attempts.

`<scratch_root>/submissions/<submission id>/bundle-<k>.tar.gz` holds the wrapper and, for each
attempt of indices 100k to 100k+99, the files of its private directory under `<index>/`. A job that
cannot fetch its bundle runs nothing, nor does one that finds it empty. So a submission is revoked
by empty objects in the places of its bundles. A bundle is put only where nothing lies: a server
that was stopped while it submitted, and goes on after others have revoked that, brings nothing
back.
"""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from orchestrator import errors
from orchestrator.backends import wrapper
from orchestrator.backends.aws_batch import refusals
from orchestrator.backends.wrapper import plan
from orchestrator.model.job import InputFile, Submission

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

PER_BUNDLE = 100
_DELETE_BATCH = 1000  # DeleteObjects takes no more (Amazon S3 API reference)


class Bundles:
    """The bundles below one scratch root."""

    def __init__(self, s3: S3Client, scratch_root: str, upload_flags: tuple[str, ...] = ()) -> None:
        """`upload_flags`: of the s5cmd that jobs write objects with."""
        self._s3 = s3
        self._upload_flags = upload_flags
        self._root = f"{scratch_root.rstrip('/')}/submissions"

    def prefix(self, submission_id: str) -> str:
        """The URI below which a submission's bundles lie."""
        return f"{self._root}/{submission_id}"

    def uri(self, submission_id: str, number: int) -> str:
        """One bundle."""
        return f"{self.prefix(submission_id)}/bundle-{number}.tar.gz"

    def pack(self, submission: Submission) -> Iterator[tuple[str, bytes]]:
        """URI and content of each bundle. Raises InvalidInputs for what cannot be carried."""
        submission_id = submission.handle.id
        for start in range(0, len(submission.jobs), PER_BUNDLE):
            uri = self.uri(submission_id, start // PER_BUNDLE)
            setting = plan.Setting(
                plan.Keep.UPLOAD,
                shell=submission.shape.shell,
                bundle_uri=uri,
                upload_flags=self._upload_flags,
            )
            part = submission.jobs[start : start + PER_BUNDLE]
            yield (
                uri,
                _archive(
                    (str(start + offset), plan.render(job, submission_id, setting))
                    for offset, job in enumerate(part)
                ),
            )

    def put(self, uri: str, content: bytes) -> None:
        """Raises NotAllowed where it is revoked, and TryLater: nothing is submitted yet."""
        bucket, key = split(uri)
        with refusals.translated(f"writing {uri}"):
            try:
                self._s3.put_object(Bucket=bucket, Key=key, Body=content, IfNoneMatch="*")
            except ClientError as error:
                match error.response.get("ResponseMetadata", {}).get("HTTPStatusCode"):
                    case 409:  # ConditionalRequestConflict: somebody else writes there just now
                        raise errors.TryLater(f"writing {uri}: {error}") from error
                    case 412:
                        pass
                    case _:
                        raise
            else:
                return
            # The SDK repeats a request whose answer was lost: then it is our own that lies there.
            if self._s3.get_object(Bucket=bucket, Key=key)["Body"].read() != content:
                raise errors.NotAllowed(f"{uri} was revoked; nothing was started")

    def revoke(self, submission_id: str, size: int) -> None:
        """Nothing of a submission of so many attempts ever begins any more. Idempotent."""
        for number in range((size + PER_BUNDLE - 1) // PER_BUNDLE):
            uri = self.uri(submission_id, number)
            bucket, key = split(uri)
            with refusals.translated(f"writing {uri}"):
                self._s3.put_object(Bucket=bucket, Key=key, Body=b"")

    def delete(self, submission_id: str, size: int) -> None:
        """Delete all bundles of a submission of so many attempts. Idempotent."""
        numbers = range((size + PER_BUNDLE - 1) // PER_BUNDLE)
        keys = [split(self.uri(submission_id, number)) for number in numbers]
        for start in range(0, len(keys), _DELETE_BATCH):
            part = keys[start : start + _DELETE_BATCH]
            with refusals.translated(f"deleting {self.prefix(submission_id)}"):
                answer = self._s3.delete_objects(
                    Bucket=part[0][0],
                    Delete={"Objects": [{"Key": key} for _, key in part], "Quiet": True},
                )
            for failed in answer.get("Errors", []):
                raise errors.TryLater(
                    f"{failed.get('Key')} was not deleted: {failed.get('Message')}"
                )

    def inputs(self, submission_id: str, index: int) -> list[InputFile]:
        """The inputs of an attempt, from its bundle: for a process that did not submit it."""
        uri = self.uri(submission_id, index // PER_BUNDLE)
        bucket, key = split(uri)
        with refusals.translated(f"reading {uri}"):
            data = self._s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        if not data:
            raise errors.NotFound(f"{uri} was revoked")
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
            try:
                member = archive.extractfile(f"{index}/known")
            except KeyError:
                return []
            lines = member.read().decode().splitlines() if member else []
        return [InputFile(line[2:], "", directory=line.startswith("d")) for line in lines]


def split(uri: str) -> tuple[str, str]:
    """Bucket and key of `s3://bucket/key`."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def _archive(directories: Iterable[tuple[str, dict[str, bytes]]]) -> bytes:
    packed = io.BytesIO()
    with (
        # No time in it: the same submission packs to the same bytes.
        gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=3, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        _add(archive, "wrapper.sh", wrapper.wrapper_script())
        for directory, files in directories:
            # busybox's tar finds a directory only if it has a member of its own.
            top = tarfile.TarInfo(directory)
            top.type, top.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(top)
            for name, content in files.items():
                _add(archive, f"{directory}/{name}", content)
    return packed.getvalue()


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), 0o644
    archive.addfile(member, io.BytesIO(content))
