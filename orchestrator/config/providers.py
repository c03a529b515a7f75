"""`backend.providers`: AWS Batch and this machine. Others of Cromwell's are left out, and said."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from orchestrator.config.keys import Count, Keys, Mib, Seconds, Shell
from orchestrator.config.reading import KeyPath, Reader, Use
from orchestrator.config.registries import DockerHub, Mirrors
from orchestrator.deployment import Deployment

_AWS_BATCH = "AwsBatchBackendLifecycleActorFactory"
_LOCAL = "ConfigBackendLifecycleActorFactory"


class ProviderS3(Keys):
    """`filesystems.s3` of a provider: the auth for AWS Batch and for files."""

    auth: str


class ProviderFilesystems(Keys):
    """`filesystems` of an AWS Batch provider."""

    s3: ProviderS3


class FurtherEnvironment(Keys):
    """A deployed environment that jobs go to when they name one of its queues."""

    name: str
    region: str


class AwsBatchConfig(Keys):
    """`config` of an AWS Batch provider. `root` is `s3://bucket/prefix`, without the last slash.

    Ours: `shared-mounts`, paths of EFS or FSx file systems that the hosts have mounted; tasks get
    at them by `disks`. What is not named here no task can mount of its host. `tools-directory`: the
    queue's hosts are not ours, jobs bring their tools (see `aws_batch.foreign_hosts`).
    `submissions-per-second`: SubmitJob of this process; AWS takes 50 of an account. Less where
    several servers or other programs share one. `unshared-job-limit`: jobs at once where queues
    have no scheduling policy of shares and serve in turn, so that nobody waits for one large
    workflow.

    Ours too: `further-environments`, beside that of `orchestrator.environment`, in any region. A
    task's `queueArn` chooses; their job roles must be allowed to write below `root`.

    Cromwell requires `auth` and the numbers of attempts. They have no effect: `filesystems.s3.auth`
    is the auth that counts (in Cromwell too), and the engine owns every retry.
    """

    root: str
    auth: str | None = None
    num_submit_attempts: Annotated[int | None, Field(alias="numSubmitAttempts")] = None
    num_create_definition_attempts: Annotated[
        int | None, Field(alias="numCreateDefinitionAttempts")
    ] = None
    filesystems: ProviderFilesystems
    default_runtime_attributes: dict[str, Any] = Field(default_factory=dict)
    concurrent_job_limit: Count | None = None
    hog_factor: Annotated[int, Field(ge=1)] | None = None
    job_shell: Shell | None = None
    slow_job_warning_time: Seconds | None = None
    tools_directory: str | None = None
    shared_mounts: tuple[str, ...] = ()
    submissions_per_second: Annotated[float, Field(gt=0, le=500)] = 45.0
    unshared_job_limit: Count = 5_000
    further_environments: tuple[FurtherEnvironment, ...] = ()
    dockerhub: DockerHub = DockerHub()
    docker_mirror: Mirrors = Mirrors()

    @field_validator("shared_mounts")
    @classmethod
    def _paths(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for path in value:
            parts = PurePosixPath(path).parts
            if not path.startswith("/") or len(parts) < 2 or ".." in parts or ":" in path:
                raise ValueError("expected absolute paths on the hosts, such as /mnt/efs")
        return tuple(str(PurePosixPath(path)) for path in value)

    @field_validator("root")
    @classmethod
    def _s3(cls, value: str) -> str:
        if not re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]+(/.*)?", value):
            raise ValueError("expected s3://<bucket>/<prefix>")
        return value.rstrip("/")


class AwsBatchProvider(Keys):
    """A provider that runs jobs on AWS Batch."""

    kind: Literal["aws-batch"] = "aws-batch"
    actor_factory: str = _AWS_BATCH
    config: AwsBatchConfig


class LocalFiles(Keys):
    """`filesystems.local` of a local provider."""

    localization: tuple[Literal["hard-link", "soft-link", "copy", "cached-copy"], ...] = (
        "hard-link",
        "soft-link",
        "copy",
    )


class LocalFilesystems(Keys):
    """`filesystems` of a local provider."""

    local: LocalFiles = LocalFiles()


class LocalConfig(Keys):
    """`config` of a local provider. `cores` and `memory` (MiB here) None = all of the machine."""

    root: str = "cromwell-executions"
    filesystems: LocalFilesystems = LocalFilesystems()
    default_runtime_attributes: dict[str, Any] = Field(default_factory=dict)
    concurrent_job_limit: Count | None = None
    hog_factor: Annotated[int, Field(ge=1)] | None = None
    job_shell: Shell | None = None
    slow_job_warning_time: Seconds | None = None
    cores: Annotated[float, Field(gt=0)] | None = None
    memory: Mib | None = None
    containers: Literal["auto", "docker", "podman", "none"] = "auto"


class LocalProvider(Keys):
    """A provider that runs jobs on this machine."""

    kind: Literal["local"] = "local"
    actor_factory: str = _LOCAL
    config: LocalConfig = LocalConfig()


class Backend(Keys):
    """`backend`. `providers` are only those that can be used here."""

    default: str
    providers: dict[str, AwsBatchProvider | LocalProvider] = Field(default_factory=dict)


class _Layout(Keys):
    default: str
    providers: dict[str, dict[str, Any]] = Field(default_factory=dict)


def read(
    reader: Reader, contract: Deployment | None, *, named: bool, moving: bool
) -> Backend | None:
    """`backend`, None where it has defects.

    `named`: it is known on which environment jobs run. `moving`: the document was written for
    Cromwell alone and is used on the environment of `contract`, whose queues are not those that it
    names.
    """
    raw = reader.block("backend", _Layout)
    if raw is None:
        return None
    providers: dict[str, AwsBatchProvider | LocalProvider] = {}
    for name, data in raw.providers.items():
        at: KeyPath = ("backend", "providers", name)
        model = _model(reader, data, at, used=name == raw.default)
        if model is None:
            continue
        if model is AwsBatchProvider:
            data = _in_s3(reader, data, at)
        provider: AwsBatchProvider | LocalProvider | None = reader.read(model, data, at)
        if provider is None:
            continue
        reader.attributes(
            provider.config.default_runtime_attributes,
            (*at, "config", "default-runtime-attributes"),
        )
        if isinstance(provider, AwsBatchProvider):
            provider = _on_queue(reader, provider, contract, at, named=named, moving=moving)
            _images(reader, provider.config, contract, (*at, "config"))
        providers[name] = provider
    if raw.default not in raw.providers:
        known = ", ".join(raw.providers) or "none"
        reader.defect(
            ("backend", "default"),
            f"there is no provider {raw.default!r} in backend.providers",
            f"known there: {known}",
        )
    return Backend(default=raw.default, providers=providers)


def _model(
    reader: Reader, data: Mapping[str, Any], at: KeyPath, *, used: bool
) -> type[AwsBatchProvider] | type[LocalProvider] | None:
    factory = data.get("actor-factory")
    if not isinstance(factory, str):
        reader.defect((*at, "actor-factory"), "missing", "the class of Cromwell's backend")
        return None
    name = factory.rpartition(".")[2]
    if name == _AWS_BATCH:
        return AwsBatchProvider
    config = data.get("config", {})
    grid = isinstance(config, dict) and "job-id-regex" in config
    if name == _LOCAL and not grid:
        return LocalProvider
    what = "a backend that submits to a grid engine" if grid else f"the backend {name}"
    message = f"{what} is not supported here"
    if used:
        hint = f"supported: {_AWS_BATCH}, {_LOCAL} without job-id-regex"
        reader.defect((*at, "actor-factory"), message, hint)
    else:
        reader.warn((*at, "actor-factory"), message, "nothing uses it; it is left out")
    reader.note(at, Use.NO_EFFECT, message)
    return None


def _in_s3(reader: Reader, data: dict[str, Any], at: KeyPath) -> dict[str, Any]:
    """Refuses Cromwell's EFS mode: `filesystems.local` without `filesystems.s3`."""
    config = data.get("config")
    files = config.get("filesystems") if isinstance(config, dict) else None
    if not isinstance(config, dict) or not isinstance(files, dict) or "local" not in files:
        return data
    where = (*at, "config", "filesystems", "local")
    if "s3" in files:
        reader.without_effect(where, "filesystems.s3 is there, so calls lie in S3")
    else:
        reader.defect(
            where,
            "calls on a shared disk (Cromwell's EFS mode) are not supported; they lie in S3 here",
            'root = "s3://<bucket>/<prefix>" and filesystems { s3 { auth = "<auth>" } } in its '
            "place; tasks still reach data on EFS or FSx by disks, when shared-mounts names where "
            "the hosts have mounted it",
        )
    local = files["local"]
    auth = local.get("auth", "") if isinstance(local, dict) else ""
    files = {"s3": {"auth": auth}, **{n: value for n, value in files.items() if n != "local"}}
    return {**data, "config": {**config, "filesystems": files}}


def _images(
    reader: Reader, config: AwsBatchConfig, contract: Deployment | None, at: KeyPath
) -> None:
    """Says so where nothing is pulled with the login of `dockerhub`."""
    where = (*at, "dockerhub")
    login, problem = config.dockerhub.login(), config.dockerhub.problem
    given = config.dockerhub.account or config.dockerhub.token.get_secret_value()
    if login is None:
        if given:
            reader.without_effect(where, problem, "images are pulled without a login")
        else:
            reader.note(where, Use.NO_EFFECT, problem)
        return
    if problem:
        reader.warn((*where, "account"), problem)
    if config.docker_mirror.docker_hub:
        reader.without_effect(where, "docker-mirror says where images of Docker Hub come from")
    elif contract and contract.registries.docker_hub is None:
        known = contract.registries
        has = "docker.io" in known.rewrites or "docker.io" in known.secrets
        reader.without_effect(
            where,
            f"environment {contract.environment!r} has "
            + ("a login of its own for Docker Hub" if has else "no way to use it"),
            "registries in the settings of its stacks says how images are pulled",
        )
    elif contract and config.dockerhub.key_name:
        hub = contract.registries.docker_hub
        if hub and hub.way != "job_secret":
            message = f"who logs in by {hub.way} may use no key but the account's own"
            reader.without_effect((*where, "key-name"), message)


def _on_queue(
    reader: Reader,
    provider: AwsBatchProvider,
    contract: Deployment | None,
    at: KeyPath,
    *,
    named: bool,
    moving: bool,
) -> AwsBatchProvider:
    """The provider, with a default queue that there is."""
    attributes = provider.config.default_runtime_attributes
    where = (*at, "config", "default-runtime-attributes", "queueArn")
    arn = attributes.get("queueArn")
    if contract is None:
        if not arn and not named:  # an environment has a default
            reader.defect(where, "missing", "the ARN of the AWS Batch queue for jobs")
        return provider
    queues = {queue.arn: queue.name for queue in contract.queues}
    if arn and arn not in queues and not provider.config.further_environments:
        known = ", ".join(queues)
        message = f"{arn} is no queue of environment {contract.environment!r}"
        if not moving:
            reader.defect(where, message, f"there are: {known}; without it, the default of them")
            return provider
        default = queues.get(contract.default_queue_arn, contract.default_queue_arn)
        reader.without_effect(where, message, f"jobs go to {default}; there are: {known}")
        kept = {name: value for name, value in attributes.items() if name != "queueArn"}
        config = provider.config.model_copy(update={"default_runtime_attributes": kept})
        provider = provider.model_copy(update={"config": config})
    root = provider.config.root
    if moving and not f"{root}/".startswith(f"s3://{contract.bucket}/"):
        reader.warn(
            (*at, "config", "root"),
            f"{root} is not in the bucket of environment {contract.environment!r}",
            f"jobs may write there only when storage.write_buckets of the environment's settings "
            f"names its bucket; {contract.root} always works",
        )
    return provider
