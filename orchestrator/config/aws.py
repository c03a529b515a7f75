"""Sessions and clients of boto3 from `aws.auths`: the only place that makes them."""

from __future__ import annotations

import functools
import threading
from typing import Any

import boto3
import botocore.config
import botocore.session
from botocore.credentials import (
    AssumeRoleCredentialFetcher,
    CredentialProvider,
    DeferredRefreshableCredentials,
)
from botocore.exceptions import NoRegionError

from orchestrator import errors
from orchestrator.config.auths import AssumeRole, CustomKeys
from orchestrator.config.settings import Settings

_ROLE_SESSION = "orchestrator"


class Sessions:
    """Credentials by the name of an auth, each made once. Safe to use from several threads."""

    def __init__(self, settings: Settings) -> None:
        """Region: `aws.region`, else the deployment's, else what the SDK finds."""
        contract = settings.orchestrator.deployment
        self._aws = settings.aws
        self._region = settings.aws.region or (contract.region if contract else None)
        self._sessions: dict[str | None, boto3.Session] = {}
        self._lock = threading.RLock()  # neither sessions nor their making are thread-safe

    def session(self, auth: str | None = None) -> boto3.Session:
        """The session of an auth; None: the SDK's own chain. Raises InvalidConfig."""
        with self._lock:
            if auth not in self._sessions:
                self._sessions[auth] = self._make(auth)
            return self._sessions[auth]

    def client(
        self, service: str, auth: str | None = None, *, region: str | None = None, **config: Any
    ) -> Any:
        """A client of a service; `config` are options of `botocore.config.Config`.

        The SDK retries by its standard mode, unless `retries` says otherwise: SubmitJob needs
        `retries={"total_max_attempts": 1}`. Raises InvalidConfig.
        """
        options: dict[str, Any] = {
            "retries": {"mode": "standard"},
            "user_agent_extra": "wdl-batch-orchestrator",
        }
        if service == "s3" and self._aws.endpoint_url:
            # A bucket's name before the host is only resolved by AWS's own DNS.
            options["s3"] = {"addressing_style": "path"}
        with self._lock:
            try:
                make: Any = self.session(auth).client
                return make(
                    service,
                    region_name=region or self._region,
                    endpoint_url=self._aws.endpoint_url,
                    config=botocore.config.Config(**{**options, **config}),
                )
            except NoRegionError:
                raise errors.InvalidConfig(
                    "no AWS region is given", hint='aws.region = "<region>", or AWS_REGION'
                ) from None

    def _make(self, name: str | None) -> boto3.Session:
        auth = None if name is None else self._aws.auth(name)
        if isinstance(auth, CustomKeys):
            token = auth.session_token
            return boto3.Session(
                aws_access_key_id=auth.access_key,
                aws_secret_access_key=auth.secret_key.get_secret_value(),
                aws_session_token=token.get_secret_value() if token else None,
                region_name=self._region,
            )
        if isinstance(auth, AssumeRole):
            session = botocore.session.get_session()
            resolver: Any = session.get_component("credential_provider")
            provider = _Assumed(auth, self.session(auth.base_auth), self._sts(auth.base_auth))
            resolver.providers.insert(0, provider)
            return boto3.Session(botocore_session=session, region_name=self._region)
        return boto3.Session(region_name=self._region)

    def _sts(self, auth: str) -> Any:
        """Makes clients of STS with the credentials it is handed."""
        options: dict[str, Any] = {"endpoint_url": self._aws.endpoint_url}
        base = self.session(auth)
        # STS answers in every region; the old global endpoint is the one without a region.
        options["region_name"] = self._region or base.region_name or "us-east-1"
        return functools.partial(base._session.create_client, **options)


class _Assumed(CredentialProvider):
    """An assumed role, asked for when first needed and again before it expires."""

    METHOD = "orchestrator-assume-role"
    CANONICAL_NAME = "OrchestratorAssumeRole"

    def __init__(self, auth: AssumeRole, base: boto3.Session, sts: Any) -> None:
        super().__init__()
        self._auth, self._base, self._sts = auth, base, sts

    def load(self) -> Any:
        """Credentials that refresh themselves. Raises NotAllowed without base credentials."""
        source = self._base.get_credentials()
        if source is None:
            raise errors.NotAllowed(
                f"there are no AWS credentials to assume {self._auth.role_arn} with",
                hint=f"the base-auth of {self._auth.name!r} is {self._auth.base_auth!r}",
            )
        arguments = {"RoleSessionName": _ROLE_SESSION, "DurationSeconds": 3600}
        if self._auth.external_id:
            arguments["ExternalId"] = self._auth.external_id
        fetcher = AssumeRoleCredentialFetcher(
            client_creator=self._sts,
            source_credentials=source,
            role_arn=self._auth.role_arn,
            extra_args=arguments,
        )
        return DeferredRefreshableCredentials(
            method=self.METHOD, refresh_using=fetcher.fetch_credentials
        )
