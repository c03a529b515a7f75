"""`s3://bucket/key` through a client of boto3. Keys are taken as they are: no percent-decoding."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore import exceptions as botocore

from orchestrator import errors
from orchestrator.filesystems.base import Source, Stat

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

_DELETE_BATCH = 1000  # DeleteObjects takes no more (Amazon S3 API reference)

# 10,000 parts at most (Amazon S3 API reference): 640 GiB; up to 4 parts are in memory at once.
_STREAMING = TransferConfig(
    multipart_threshold=64 * 1024**2, multipart_chunksize=64 * 1024**2, max_concurrency=2
)

# Parts are copied inside of S3: large ones cost this machine nothing.
_COPYING = TransferConfig(
    multipart_threshold=1024**3, multipart_chunksize=256 * 1024**2, max_concurrency=8
)

_ABSENT = {"404", "NoSuchKey", "NoSuchBucket", "NotFound", "NoSuchVersion"}
_PASSING = {
    "SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "Throttling",
    "ThrottlingException", "RequestTimeTooSkewed", "OperationAborted", "PreconditionFailed", "412",
    "ConditionalRequestConflict", "BandwidthLimitExceeded", "RequestLimitExceeded",
}  # fmt: skip


class S3Filesystem:
    """Objects of Amazon S3. The client carries credentials, region, endpoint and retries."""

    schemes: tuple[str, ...] = ("s3",)

    def __init__(self, client: S3Client) -> None:
        """`client` may be shared: boto3's clients are safe to use from several threads."""
        self._s3 = client

    def stat(self, uri: str) -> Stat:
        """One HeadObject. The ETag is the identity."""
        bucket, key = _object(uri)
        with _errors(uri):
            head = self._s3.head_object(Bucket=bucket, Key=key)
        return Stat(uri, head["ContentLength"], _etag(head))

    def read(self, uri: str, limit_bytes: int) -> bytes:
        """One GetObject; a larger object is refused before its content is fetched."""
        bucket, key = _object(uri)
        with _errors(uri):
            answer = self._s3.get_object(Bucket=bucket, Key=key)
            with contextlib.closing(answer["Body"]) as body:
                content = b"" if answer["ContentLength"] > limit_bytes else body.read()
        if answer["ContentLength"] > limit_bytes:
            raise errors.Invalid(
                f"{uri} has {answer['ContentLength']:,} bytes; at most {limit_bytes:,} can be read"
            )
        return content

    def write(self, uri: str, content: bytes) -> None:
        """One PutObject: S3 itself makes it atomic."""
        bucket, key = _object(uri)
        with _errors(uri):
            self._s3.put_object(Bucket=bucket, Key=key, Body=content)

    def write_stream(self, uri: str, source: Source) -> None:
        """In parts, a few at a time; nothing is there before all is."""
        bucket, key = _object(uri)
        with _errors(uri):
            self._s3.upload_fileobj(cast("IO[bytes]", source), bucket, key, Config=_STREAMING)

    def list(self, uri: str) -> Iterator[Stat]:
        """Page by page, in S3's order (bytes of the key). Directory markers (`x/`) are no objects.

        `s3://bucket/reads` never lists `s3://bucket/reads2/...`.
        """
        bucket, key = _parts(uri)
        prefix = f"{key.rstrip('/')}/" if key else ""
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        iterator = iter(pages)
        while True:
            with _errors(uri):
                page = next(iterator, None)
            if page is None:
                return
            for entry in page.get("Contents", ()):
                if not entry["Key"].endswith("/"):
                    yield Stat(f"s3://{bucket}/{entry['Key']}", entry["Size"], _etag(entry))

    def download(self, uri: str, path: str) -> None:
        """Parallel ranges into a file beside `path`, renamed when whole (s3transfer)."""
        bucket, key = _object(uri)
        with _errors(uri):
            try:
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                self._s3.download_file(bucket, key, path)
            except OSError as error:
                raise errors.TryLater(f"{uri} could not be written to {path}: {error}") from error

    def upload(self, path: str, uri: str) -> None:
        """In parallel parts where it is large (s3transfer); nothing is there before all is."""
        bucket, key = _object(uri)
        with _errors(uri):
            try:
                self._s3.upload_file(path, bucket, key)
            except OSError as error:
                raise errors.NotFound(f"{path} cannot be read: {error.strerror}") from error

    def copy(self, source: str, target: str) -> None:
        """From object to object, by S3 itself: one CopyObject, in parallel parts where it is large
        (CopyObject takes at most 5 GiB)."""
        from_bucket, from_key = _object(source)
        bucket, key = _object(target)
        with _errors(f"{source} -> {target}"):
            self._s3.copy({"Bucket": from_bucket, "Key": from_key}, bucket, key, Config=_COPYING)

    def delete(self, uris: Iterable[str]) -> None:
        """Batches of 1,000 a bucket. Raises after every batch was tried."""
        keys: dict[str, list[str]] = {}
        for uri in uris:
            bucket, key = _object(uri)
            keys.setdefault(bucket, []).append(key)
        first: errors.OrchestratorError | None = None
        for bucket, names in keys.items():
            for batch in _batched(names):
                try:
                    self._delete(bucket, batch)
                except errors.OrchestratorError as error:
                    first = first or error
        if first:
            raise first

    def _delete(self, bucket: str, keys: Sequence[str]) -> None:
        uri = f"s3://{bucket}/{keys[0]}"
        with _errors(uri):
            answer = self._s3.delete_objects(
                Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True}
            )
        refused = [e for e in answer.get("Errors", ()) if e.get("Code") not in _ABSENT]
        if refused:
            one = refused[0]
            more = f" and {len(refused) - 1} more" if len(refused) > 1 else ""
            raise _translated(
                f"s3://{bucket}/{one.get('Key')}{more}", one.get("Code", ""), one.get("Message", "")
            )


def _batched(names: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(names), _DELETE_BATCH):
        yield names[start : start + _DELETE_BATCH]


def _parts(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket:
        raise errors.InvalidInputs(f"{uri!r} is no S3 URI", hint="s3://<bucket>/<key>")
    return bucket, key


def _object(uri: str) -> tuple[str, str]:
    bucket, key = _parts(uri)
    if not key or key.endswith("/"):
        raise errors.NotFound(f"{uri} names a bucket or a directory, not an object")
    return bucket, key


def _etag(answer: Any) -> str | None:
    etag = answer.get("ETag")
    return etag.strip('"') if etag else None


@contextlib.contextmanager
def _errors(uri: str) -> Iterator[None]:
    try:
        yield
    except botocore.ClientError as error:
        detail = error.response.get("Error", {})
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        code = detail.get("Code") or str(status)
        if status >= 500 and code not in _ABSENT:
            raise errors.TryLater(f"{uri}: S3 answers {code}: {detail.get('Message')}") from error
        raise _translated(uri, code, detail.get("Message", "")) from error
    except (
        botocore.NoCredentialsError,
        botocore.PartialCredentialsError,
        botocore.CredentialRetrievalError,
        botocore.TokenRetrievalError,
        botocore.ProfileNotFound,
    ) as error:
        raise errors.NotAllowed(
            f"{uri}: {error}", hint="give AWS credentials (AWS_PROFILE, aws.auths in the config)"
        ) from error
    except botocore.ParamValidationError as error:
        raise errors.InvalidInputs(f"{uri!r} is no S3 URI: {error}") from error
    # Connection refused, reset, timed out; a body that broke off; s3transfer out of retries.
    except (botocore.BotoCoreError, Boto3Error) as error:
        raise errors.TryLater(f"{uri}: {error}") from error


def _translated(uri: str, code: str, message: str) -> errors.OrchestratorError:
    if code in _ABSENT:
        what = "bucket of" if code == "NoSuchBucket" else "object"
        return errors.NotFound(f"there is no {what} {uri}")
    if code in _PASSING:
        return errors.TryLater(f"{uri}: S3 answers {code}: {message}")
    if code == "InvalidObjectState":
        return errors.NotAllowed(
            f"{uri} is archived (Glacier) and cannot be read", hint="restore the object first"
        )
    if code in ("403", "AccessDenied", "Forbidden"):
        # HeadObject has no body, and S3 answers 403 instead of 404 without s3:ListBucket.
        return errors.NotAllowed(
            f"S3 refuses access to {uri}",
            hint="s3:GetObject (PutObject, DeleteObject) on it, s3:ListBucket on its bucket; "
            "without the latter a missing object is refused as well",
        )
    return errors.NotAllowed(f"{uri}: S3 answers {code}: {message}")
