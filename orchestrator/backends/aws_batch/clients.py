"""One boto3 client a service and process; all are safe to use from several threads."""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from types_boto3_batch import BatchClient
    from types_boto3_logs import CloudWatchLogsClient
    from types_boto3_s3 import S3Client


class Clients:
    """Made on first use: a session loads a megabyte of service models."""

    def __init__(
        self,
        region: str,
        *,
        session: boto3.Session | None = None,
        endpoint_url: str | None = None,
        connections: int = 32,
    ) -> None:
        """`endpoint_url` None: AWS, or what AWS_ENDPOINT_URL says."""
        self._session = session or boto3.Session(region_name=region)
        self._region = region
        self._endpoint_url = endpoint_url
        self._connections = connections

    @cached_property
    def batch(self) -> BatchClient:
        """Everything of AWS Batch but SubmitJob."""
        return self._session.client(
            "batch",
            region_name=self._region,
            endpoint_url=self._endpoint_url,
            config=self._config(),
        )

    @cached_property
    def submitting(self) -> BatchClient:
        """For SubmitJob alone: it has no idempotency token, so the SDK must never repeat it."""
        return self._session.client(
            "batch",
            region_name=self._region,
            endpoint_url=self._endpoint_url,
            config=self._config().merge(Config(retries={"total_max_attempts": 1})),
        )

    @cached_property
    def s3(self) -> S3Client:
        """Bundles, manifests, the wrapper."""
        own = self._endpoint_url or os.environ.get("AWS_ENDPOINT_URL")
        style = {"addressing_style": "path"} if own else {}
        return self._session.client(
            "s3",
            region_name=self._region,
            endpoint_url=self._endpoint_url,
            config=self._config().merge(
                Config(
                    s3=style,  # type: ignore[arg-type]
                    # TLS and ETags serve here; checksums of small objects only cost time.
                    request_checksum_calculation="when_required",
                    response_checksum_validation="when_required",
                )
            ),
        )

    @cached_property
    def logs(self) -> CloudWatchLogsClient:
        """CloudWatch Logs."""
        return self._session.client(
            "logs",
            region_name=self._region,
            endpoint_url=self._endpoint_url,
            config=self._config(),
        )

    def _config(self) -> Config:
        return Config(
            connect_timeout=10,
            read_timeout=60,
            max_pool_connections=self._connections,
            retries={"mode": "standard", "total_max_attempts": 5},
        )
