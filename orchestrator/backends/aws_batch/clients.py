"""One boto3 client a service and process; all are safe to use from several threads."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from botocore.credentials import ReadOnlyCredentials
    from types_boto3_batch import BatchClient
    from types_boto3_logs import CloudWatchLogsClient
    from types_boto3_s3 import S3Client
    from types_boto3_secretsmanager import SecretsManagerClient


class Clients:
    """Made on first use: a session loads a megabyte of service models."""

    def __init__(
        self,
        region: str,
        *,
        session: boto3.Session | None = None,
        secrets_session: boto3.Session | None = None,
        s3: Callable[..., S3Client] | None = None,
        endpoint_url: str | None = None,
        connections: int = 32,
    ) -> None:
        """`endpoint_url` None: AWS, or what AWS_ENDPOINT_URL says. `secrets_session`: where other
        credentials keep the login of a registry. `s3` makes the client of S3, given options of
        `botocore.config.Config`."""
        self._session = session or boto3.Session(region_name=region)
        self._secrets_session = secrets_session or self._session
        self._region = region
        self._make_s3 = s3 or self._plain_s3
        self._endpoint_url = endpoint_url
        self._connections = connections
        self._lock = threading.Lock()

    @cached_property
    def batch(self) -> BatchClient:
        """Everything of AWS Batch but SubmitJob."""
        client: BatchClient = self._client("batch")
        return client

    @cached_property
    def submitting(self) -> BatchClient:
        """For SubmitJob alone: it has no idempotency token, so the SDK must never repeat it."""
        client: BatchClient = self._client("batch", Config(retries={"total_max_attempts": 1}))
        return client

    @cached_property
    def s3(self) -> S3Client:
        """Bundles, manifests, the wrapper."""
        return self._make_s3(
            **self._patience(),
            # TLS and ETags serve here; checksums of small objects only cost time.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )

    def _plain_s3(self, **options: Any) -> S3Client:
        own = self._endpoint_url or os.environ.get("AWS_ENDPOINT_URL")
        client: S3Client = self._client(
            "s3", Config(s3={"addressing_style": "path"} if own else {}, **options)
        )
        return client

    def credentials(self) -> ReadOnlyCredentials | None:
        """What requests to S3 are signed with, renewed where that is due. None: there are none."""
        found: Any = self._credentials
        frozen: ReadOnlyCredentials | None = found and found.get_frozen_credentials()
        return frozen

    @cached_property
    def _credentials(self) -> Any:
        with self._lock:
            return self._session.get_credentials()

    @cached_property
    def logs(self) -> CloudWatchLogsClient:
        """CloudWatch Logs."""
        client: CloudWatchLogsClient = self._client("logs")
        return client

    @cached_property
    def sqs(self) -> Any:
        """Amazon SQS: Batch's events."""
        return self._client("sqs")

    @cached_property
    def secrets(self) -> SecretsManagerClient:
        """Secrets Manager."""
        session = self._secrets_session
        client: SecretsManagerClient = self._client("secretsmanager", session=session)
        return client

    def _client(
        self, service: str, config: Config | None = None, session: boto3.Session | None = None
    ) -> Any:
        common = Config(**self._patience())
        make: Any = (session or self._session).client
        with self._lock:  # sessions are not safe to use from several threads, clients are
            return make(
                service,
                region_name=self._region,
                endpoint_url=self._endpoint_url,
                config=common.merge(config) if config else common,
            )

    def _patience(self) -> dict[str, Any]:
        return {
            "connect_timeout": 10,
            "read_timeout": 60,
            "max_pool_connections": self._connections,
            "retries": {"mode": "standard", "total_max_attempts": 5},
        }
