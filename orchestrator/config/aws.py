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
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConfigParseError,
    CredentialRetrievalError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    SSOTokenLoadError,
    TokenRetrievalError,
)

from orchestrator import errors
from orchestrator.config.auths import AssumeRole, Auth, CustomKeys
from orchestrator.config.providers import AwsBatchProvider, LocalProvider
from orchestrator.config.settings import Settings

_ROLE_SESSION = "orchestrator"

# A wrong key is said at once; an AWS that does not answer within some seconds, too.
_PATIENCE: dict[str, Any] = {"connect_timeout": 10, "read_timeout": 20}

# Codes of STS: its "Common errors", and those of AssumeRole.
_DENIED = frozenset({"AccessDenied", "AccessDeniedException"})
_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})
_WRONG_KEYS = frozenset({"InvalidClientTokenId", "SignatureDoesNotMatch", "InvalidAccessKeyId"})
_RENEW = "they have expired: log in again (`aws sso login`), or give new ones"


class Sessions:
    """Credentials by the name of an auth, each made once. Safe to use from several threads."""

    def __init__(self, settings: Settings) -> None:
        """Region: `aws.region`, else the deployment's, else that of the default backend's queue,
        else what the SDK finds."""
        contract = settings.orchestrator.deployment
        self._aws, self._s3 = settings.aws, settings.s3
        self._region = (
            settings.aws.region
            or (contract.region if contract else None)
            or _region_of_queue(settings.provider)
        )
        self._used = _used(settings)
        self._sessions: dict[str | None, boto3.Session] = {}
        self._lock = threading.RLock()  # neither sessions nor their making are thread-safe

    @property
    def region(self) -> str | None:
        """The region of clients that ask for none; None: what the SDK finds."""
        return self._region

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
        endpoint = self._aws.endpoint_url
        if service == "s3":
            endpoint = self._s3.endpoint_url or endpoint
            options["s3"] = self._s3.options(elsewhere=endpoint is not None)
        with self._lock:
            try:
                make: Any = self.session(auth).client
                client = make(
                    service,
                    region_name=region or self._region,
                    endpoint_url=endpoint,
                    config=botocore.config.Config(**{**options, **config}),
                )
                return self._s3.prepare(client) if service == "s3" else client
            except NoRegionError:
                raise errors.InvalidConfig(
                    "no AWS region is given", hint='aws.region = "<region>", or AWS_REGION'
                ) from None

    def verify(self) -> None:
        """Ask STS, once for each auth that the settings use, who it is.

        Raises EnvironmentProblem with every auth that does not work, and what to do.
        """
        found = [finding for name in self._used if (finding := self._refused(name)) is not None]
        if found:
            raise errors.EnvironmentProblem(
                "AWS cannot be used with "
                + ("this auth" if len(found) == 1 else f"{len(found)} of the auths"),
                findings=found,
            )

    def _refused(self, name: str) -> errors.Finding | None:
        try:
            self.client("sts", name, **_PATIENCE).get_caller_identity()
        except (BotoCoreError, ClientError, errors.OrchestratorError) as error:
            return self._finding(self._aws.auth(name), error)
        return None

    def _finding(self, auth: Auth, error: Exception) -> errors.Finding:
        """What is wrong with an auth: its scheme, its principal, what AWS says, what to do."""
        head = f"aws.auths: {auth.name!r} (scheme {auth.scheme}, {self._principal(auth)})"
        if isinstance(error, errors.OrchestratorError):
            return errors.Finding(f"{head}: {error.message}", hint=error.hint)
        if isinstance(error, ClientError):
            code = error.response.get("Error", {}).get("Code", "")
            if error.operation_name == "AssumeRole" and code in _DENIED:
                return errors.Finding(f"{head}: {error}", hint=self._trust(auth))
            if code in _EXPIRED:
                return errors.Finding(f"{head}: {error}", hint=_RENEW)
            return errors.Finding(
                f"{head}: {error}",
                hint="the keys are not, or no longer, valid"
                if code in _WRONG_KEYS
                else "`aws sts get-caller-identity` with the same credentials says the same",
            )
        hint = "is AWS, or aws.endpoint-url, reachable from this machine?"
        if isinstance(error, NoCredentialsError | PartialCredentialsError):
            hint = (
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or a machine or "
                "container with a role"
            )
        elif isinstance(error, ProfileNotFound | ConfigParseError):
            hint = "AWS_PROFILE names a profile of ~/.aws/config"
        elif isinstance(error, SSOError | SSOTokenLoadError | TokenRetrievalError):
            hint = _RENEW
        elif isinstance(error, CredentialRetrievalError):
            hint = "the program or role that hands out credentials does not"
        return errors.Finding(f"{head}: {error}", hint=hint)

    def _principal(self, auth: Auth) -> str:
        if isinstance(auth, AssumeRole):
            return f"{auth.role_arn} by {auth.base_auth!r}"
        if isinstance(auth, CustomKeys):
            return f"access key {auth.access_key}"
        try:
            credentials = self.session(auth.name).get_credentials()
            if credentials is None:
                return "no credentials"
            return f"access key {credentials.access_key} of {credentials.method}"
        except (BotoCoreError, ClientError):
            return "no credentials"

    def _trust(self, auth: Auth) -> str:
        if not isinstance(auth, AssumeRole):
            return "the role's trust policy must allow it"
        base = self._aws.auth(auth.base_auth)
        try:
            who = self.client("sts", base.name, **_PATIENCE).get_caller_identity()["Arn"]
        except (BotoCoreError, ClientError, errors.OrchestratorError):
            who = f"{self._principal(base)}"
        condition = (
            " under its external id" if auth.external_id else ", and no external id is given"
        )
        return (
            f"the trust policy of {auth.role_arn} must allow sts:AssumeRole to {who}{condition}, "
            "and that principal's own policy must allow it too"
        )

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


def _region_of_queue(provider: AwsBatchProvider | LocalProvider) -> str | None:
    """The region in the ARN of the queue that jobs go to."""
    arn = str(provider.config.default_runtime_attributes.get("queueArn", ""))
    parts = arn.split(":")
    return parts[3] or None if len(parts) > 5 and parts[0] == "arn" else None


def _used(settings: Settings) -> list[str]:
    """The names of the auths that something uses, each once."""
    names = [settings.engine.filesystems.s3.auth]
    for provider in settings.backend.providers.values():
        if isinstance(provider, AwsBatchProvider):
            names += [provider.config.filesystems.s3.auth, provider.config.dockerhub.auth]
    return list(dict.fromkeys(name for name in names if name is not None))
