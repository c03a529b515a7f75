"""GET of small objects, for a fraction of what the SDK takes.

Reading its manifest used to cost the most of all that a call costs. So a request is signed and sent
here, by the SDK's own parts; whatever is not a plain answer goes the SDK's whole way, with its
retries, redirects and errors.
"""

from __future__ import annotations

import contextlib
import os
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.httpsession import URLLib3Session
from botocore.utils import get_environ_proxies

from orchestrator import errors
from orchestrator.backends.aws_batch import refusals
from orchestrator.backends.aws_batch.bundles import split

if TYPE_CHECKING:
    from orchestrator.backends.aws_batch.clients import Clients


class SmallObjects:
    """Reads objects of S3 that fit into memory. Safe to use from several threads."""

    def __init__(self, clients: Clients) -> None:
        """Makes no call."""
        self._clients = clients
        self._buckets: dict[str, str] = {}

    def get(self, uri: str, limit: int) -> bytes | None:
        """The object's content, its first `limit` + 1 bytes if it is larger; None: no such object.

        Raises TryLater and its like when S3 does not answer, NotFound when there is no such bucket.
        """
        try:
            status, content = self._get_plainly(uri, limit)
        except (HTTPClientError, BotoCoreError):
            return self._get_by_sdk(uri, limit)
        if status == 404 and b"<Code>NoSuchKey</Code>" in content:
            return None
        return content if status == 200 else self._get_by_sdk(uri, limit)

    def _get_plainly(self, uri: str, limit: int) -> tuple[int, bytes]:
        """Status and content; status 0 where that is not whole, or larger than `limit`."""
        bucket, key = split(uri)
        request = AWSRequest("GET", f"{self._bucket(bucket)}/{quote(key, safe='/~')}")
        credentials = self._clients.credentials()
        if credentials is None:
            return 0, b""
        # Version 4, in headers: version 2, the SDK's choice for URLs, reads no object that is
        # encrypted by KMS.
        S3SigV4Auth(credentials, "s3", self._clients.s3.meta.region_name).add_auth(request)
        answer = self._http.send(request.prepare())
        size = answer.headers.get("Content-Length", "")
        if not size.isdigit() or int(size) > limit:
            answer.raw.close()
            return 0, b""
        content: bytes = answer.content
        return (answer.status_code if len(content) == int(size) else 0), content

    def _get_by_sdk(self, uri: str, limit: int) -> bytes | None:
        bucket, key = split(uri)
        try:
            with refusals.translated(f"reading {uri}"):
                answer = self._clients.s3.get_object(Bucket=bucket, Key=key)
                with contextlib.closing(answer["Body"]) as body:
                    return body.read(limit + 1)
        except errors.NotFound as error:
            cause = error.__cause__
            if isinstance(cause, ClientError) and "NoSuchBucket" in str(cause):
                raise
            return None

    def _bucket(self, name: str) -> str:
        """Where the SDK finds a bucket: host or path, as its settings and the name ask for."""
        known = self._buckets.get(name)
        if known is None:
            url = self._clients.s3.generate_presigned_url(
                "get_object", {"Bucket": name, "Key": "k"}
            )
            known = self._buckets[name] = url.partition("?")[0].removesuffix("/k")
        return known

    @cached_property
    def _http(self) -> URLLib3Session:
        """The SDK's own HTTP, set up as the client's is."""
        config: Any = self._clients.s3.meta.config
        session: Any = URLLib3Session  # its types say less than its documentation
        made: URLLib3Session = session(
            verify=os.environ.get("AWS_CA_BUNDLE") or True,
            proxies=get_environ_proxies(self._clients.s3.meta.endpoint_url),
            timeout=(config.connect_timeout, config.read_timeout),
            max_pool_connections=config.max_pool_connections,
        )
        return made
