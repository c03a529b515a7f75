"""Settles a finished job: its manifest where there is one, else a failure from what Batch says."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any

from botocore.awsrequest import AWSRequest
from botocore.exceptions import ClientError, HTTPClientError
from botocore.httpsession import URLLib3Session
from botocore.utils import get_environ_proxies

from orchestrator import errors
from orchestrator.backends.aws_batch import reasons, refusals
from orchestrator.backends.aws_batch.bundles import split
from orchestrator.backends.wrapper import manifest as wrapper_manifest
from orchestrator.model.attempt import AttemptRef
from orchestrator.model.failures import Failure, FailureCode
from orchestrator.model.job import InputFile, WorkDir
from orchestrator.model.manifest import Manifest

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client


class Manifests:
    """Reads manifests from where `work_dir` says."""

    def __init__(self, s3: S3Client, work_dir: Callable[[AttemptRef], WorkDir]) -> None:
        self._s3 = s3
        self._work_dir = work_dir

    @cached_property
    def _http(self) -> URLLib3Session:
        """The SDK's own HTTP, set up as the client's is."""
        config: Any = self._s3.meta.config
        session: Any = URLLib3Session  # its types say less than its documentation
        made: URLLib3Session = session(
            verify=os.environ.get("AWS_CA_BUNDLE") or True,
            proxies=get_environ_proxies(self._s3.meta.endpoint_url),
            timeout=(config.connect_timeout, config.read_timeout),
            max_pool_connections=config.max_pool_connections,
        )
        return made

    def read(
        self,
        submission_id: str,
        attempt: AttemptRef,
        inputs: Callable[[], Iterable[InputFile]],
    ) -> Manifest | Failure | None:
        """The attempt's manifest, a failure if it is refused, None if there is none of this
        submission. Raises TryLater and its like when S3 does not answer."""
        where = self._work_dir(attempt)
        data = self._get(where.manifest)
        if data is None:
            return None
        try:
            found = wrapper_manifest.parse(data, kept_below=[where.uri], inputs=inputs)
        except wrapper_manifest.ManifestRejected as error:
            return Failure(FailureCode.DELOCALIZATION_FAILED, f"{where.manifest}: {error}")
        return found if found.belongs_to(submission_id, attempt.token) else None

    def _get(self, uri: str) -> bytes | None:
        """Of everything that a call costs, this used to cost the most: so the SDK only signs.

        What is not a plain answer goes the SDK's whole way, with its retries and errors.
        """
        bucket, key = split(uri)
        url = self._s3.generate_presigned_url("get_object", {"Bucket": bucket, "Key": key})
        try:
            answer = self._http.send(AWSRequest("GET", url).prepare())
        except HTTPClientError:
            return self._get_by_sdk(uri, bucket, key)
        size = answer.headers.get("Content-Length")
        if answer.status_code != 200 or size is None or int(size) > wrapper_manifest.LIMIT_BYTES:
            answer.raw.close()
            return self._get_by_sdk(uri, bucket, key)
        content: bytes = answer.content
        return content if len(content) == int(size) else self._get_by_sdk(uri, bucket, key)

    def _get_by_sdk(self, uri: str, bucket: str, key: str) -> bytes | None:
        try:
            with refusals.translated(f"reading {uri}"):
                answer = self._s3.get_object(Bucket=bucket, Key=key)
                with contextlib.closing(answer["Body"]) as body:
                    return body.read(wrapper_manifest.LIMIT_BYTES + 1)
        except errors.NotFound as error:
            cause = error.__cause__
            if isinstance(cause, ClientError) and "NoSuchBucket" in str(cause):
                raise
            return None


def judged(manifest: Manifest, ended: reasons.Ended) -> Manifest:
    """The manifest, with Batch's reason where the wrapper only knows that it was told to stop."""
    stopped = manifest.failure is not None and manifest.failure.code is FailureCode.ABORTED
    killed = manifest.failure is None and manifest.return_code == 137
    if not (stopped or killed):
        return manifest
    if killed:
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
