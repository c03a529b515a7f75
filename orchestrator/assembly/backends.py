"""The backends that a configuration asks for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator import deployment, errors
from orchestrator.backends.base import Backend
from orchestrator.config.aws import Sessions
from orchestrator.config.providers import AwsBatchProvider, LocalProvider
from orchestrator.config.settings import Settings

if TYPE_CHECKING:  # what runs here needs no AWS Batch
    from orchestrator.backends.aws_batch.backend import AwsBatchBackend


class Factory:
    """Makes each from its provider's settings."""

    def __init__(self, settings: Settings, sessions: Sessions) -> None:
        self._settings = settings
        self._sessions = sessions

    def contracts(self, name: str, provider: AwsBatchProvider) -> list[deployment.Deployment]:
        """Of every environment that its jobs can go to; the first is that of the default."""
        auth = provider.config.filesystems.s3.auth
        first = self._contract(name, provider)
        others = [
            deployment.read(self._sessions.client("ssm", auth, region=further.region), further.name)
            for further in provider.config.further_environments
        ]
        return [first, *others]

    def _contract(self, name: str, provider: AwsBatchProvider) -> deployment.Deployment:
        if self._settings.orchestrator.deployment is not None:
            return self._settings.orchestrator.deployment
        environment = self._settings.orchestrator.environment
        if environment is None:
            region = self._sessions.region or "<region>"
            raise errors.InvalidConfig(
                f"backend {name} does not say which deployed environment its jobs run on",
                place=errors.Place(str(self._settings.path)),
                hint="add --environment <name>, or these two lines to the file:\n"
                '      orchestrator.environment = "<name>"\n'
                f'      aws.region = "{region}"',
            )
        auth = provider.config.filesystems.s3.auth
        return deployment.read(self._sessions.client("ssm", auth), environment)

    def aws_batch(
        self,
        name: str,
        provider: AwsBatchProvider,
        contracts: Sequence[deployment.Deployment],
    ) -> Backend:
        """Jobs go to the one of these environments that has their queue."""
        from orchestrator.backends.aws_batch.several import SeveralEnvironments

        parts = [(one, self._in_environment(name, provider, one)) for one in contracts]
        return parts[0][1] if len(parts) == 1 else SeveralEnvironments(parts)

    def _in_environment(
        self, name: str, provider: AwsBatchProvider, contract: deployment.Deployment
    ) -> AwsBatchBackend:
        from orchestrator.backends.aws_batch.backend import AwsBatchBackend
        from orchestrator.backends.aws_batch.clients import Clients
        from orchestrator.backends.aws_batch.registries import Login
        from orchestrator.backends.aws_batch.settings import Settings as BatchSettings

        config = provider.config
        auth = config.filesystems.s3.auth
        login = config.dockerhub.login()
        chosen = BatchSettings(
            root=config.root,
            shared_mounts=config.shared_mounts,
            tools_directory=Path(config.tools_directory) if config.tools_directory else None,
            submissions_per_second=config.submissions_per_second,
            job_environment=self._s3_of_jobs(auth, contract.region),
            upload_flags=self._settings.s3.upload_flags(),
            docker_mirror=config.docker_mirror.docker_hub,
            docker_hub=Login(*login, config.dockerhub.key_name) if login else None,
        )
        clients = Clients(
            contract.region,
            session=self._sessions.session(auth),
            secrets_session=self._sessions.session(config.dockerhub.auth or auth),
            s3=lambda **options: self._sessions.client(
                "s3", auth, region=contract.region, **options
            ),
            endpoint_url=self._settings.aws.endpoint_url,
            connections=chosen.connections,
        )
        return AwsBatchBackend(contract, clients, chosen, name=name)

    def _s3_of_jobs(self, auth: str | None, region: str | None) -> tuple[tuple[str, str], ...]:
        """The variables by which jobs know what `s3` says; none where it says nothing."""
        if self._settings.s3 == type(self._settings.s3)():
            return ()
        regional = self._sessions.client("s3", auth, region=region).meta.endpoint_url
        elsewhere = self._settings.aws.endpoint_url is not None
        return tuple(self._settings.s3.environment(regional, elsewhere=elsewhere).items())

    def local(self, name: str, provider: LocalProvider, *, containers: bool) -> Backend:
        """On this machine."""
        from orchestrator.backends.local.backend import LocalBackend

        config = provider.config
        ways = config.filesystems.local.localization
        return LocalBackend(
            Path(config.root).absolute(),
            name=name,
            cores=config.cores,
            memory_mib=config.memory,
            containers=config.containers if containers else "none",
            localization=["copy" if way == "cached-copy" else way for way in ways],
            environment=self._job_environment(),
        )

    def _job_environment(self) -> dict[str, str] | None:
        """What local jobs reach S3 with, where it is not this process's own environment."""
        aws = self._settings.aws
        auth = self._settings.engine.filesystems.s3.auth
        s3 = dict(self._s3_of_jobs(auth, None))
        if auth is None and aws.endpoint_url is None and not s3:
            return None
        environment = {**os.environ, **s3}
        if aws.region:
            environment["AWS_REGION"] = aws.region
        if aws.endpoint_url:
            environment["AWS_ENDPOINT_URL"] = aws.endpoint_url
            if self._settings.s3.endpoint_url is None:
                environment["S3_ENDPOINT_URL"] = aws.endpoint_url  # s5cmd's name for it
        if auth is not None and aws.auth(auth).scheme != "default":
            credentials = self._sessions.session(auth).get_credentials()
            if credentials is not None:
                frozen = credentials.get_frozen_credentials()
                environment["AWS_ACCESS_KEY_ID"] = frozen.access_key or ""
                environment["AWS_SECRET_ACCESS_KEY"] = frozen.secret_key or ""
                environment.pop("AWS_SESSION_TOKEN", None)
                if frozen.token:
                    environment["AWS_SESSION_TOKEN"] = frozen.token
        return environment
