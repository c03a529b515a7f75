"""Typed settings, from Cromwell's keys and a few of our own.

The keys, their nesting and their spelling are Cromwell's (docs/Configuring.md; AwsBatchAttributes,
AwsConfiguration). Our own: the block `orchestrator`, `aws.endpoint-url`, most of `s3`,
`shared-mounts` of an AWS Batch provider, and `cores`, `memory` and `containers` of a local one.
What a document does not say, `reference.conf` does.

`aws`, `s3`, `backend` and `database` have modules of their own (auths, s3, providers, databases);
how a document is read block by block stands in `reading`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from orchestrator import deployment, environments, errors
from orchestrator.config import cromwell_keys, databases, hocon, moving, providers
from orchestrator.config.auths import Aws
from orchestrator.config.keys import Count, Keys, Shell
from orchestrator.config.providers import AwsBatchProvider, LocalProvider
from orchestrator.config.reading import Key, KeyPath, Reader, Use
from orchestrator.config.s3 import S3
from orchestrator.deployment import Deployment
from orchestrator.model import options


class S3Files(Keys):
    """`engine.filesystems.s3`: the auth that the orchestrator itself reads S3 with."""

    auth: str | None = None


class HttpFiles(Keys):
    """`engine.filesystems.http`: what workflows may name by URL.

    `largest_file`: bytes that are copied from one URL at most. `private_addresses`: whether URLs
    may lead to addresses that the internet does not route; never to those of a cloud's metadata.
    """

    largest_file: Count = 500 * 1024**3
    private_addresses: bool = True


class EngineFilesystems(Keys):
    """`engine.filesystems`."""

    s3: S3Files = S3Files()
    http: HttpFiles = HttpFiles()


class Engine(Keys):
    """`engine`."""

    filesystems: EngineFilesystems = EngineFilesystems()


Read = Literal["lines", "bool", "int", "float", "string", "json", "tsv", "map", "object"]


class HogSafety(Keys):
    """`system.hog-safety`: no hog group has more than 1/`hog_factor` of a backend's jobs."""

    hog_factor: Annotated[int, Field(ge=1)]
    workflow_option: str  # the name of the option that tells a workflow's group


class System(Keys):
    """`system`. `input_read_limits`: bytes that WDL's read functions take from one file."""

    max_concurrent_workflows: Count
    max_scatter_width_per_scatter: Count
    total_max_jobs_per_root_workflow: Count
    abort_jobs_on_terminate: bool
    job_shell: Shell
    delete_workflow_files: bool
    hog_safety: HogSafety
    memory_retry_error_keys: tuple[str, ...]
    input_read_limits: dict[Read, Count]


class CallCaching(Keys):
    """`call-caching`."""

    enabled: bool


class WorkflowOptions(Keys):
    """`workflow-options`: `default` holds options for workflows that give none."""

    workflow_failure_mode: Literal["NoNewCalls", "ContinueWhilePossible"]
    default: dict[str, Any] = Field(default_factory=dict)


class Webservice(Keys):
    """`webservice`: where `orchestrator server` listens."""

    interface: str
    port: Annotated[int, Field(ge=0, le=65535)]


class Imports(Keys):
    """`orchestrator.imports`: the URLs that documents may import from, redirects included.

    `private_addresses`: whether these may lead to addresses that the internet does not route.
    """

    allow: tuple[str, ...] = ("https://raw.githubusercontent.com",)
    private_addresses: bool = False

    @field_validator("allow")
    @classmethod
    def _urls(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for entry in value:
            parts = urlsplit(entry)
            if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
                raise ValueError("expected URLs such as https://example.org/wdl, without a user")
        return value


class Wdl(Keys):
    """`orchestrator.wdl`: where Cromwell and the specification of WDL differ.

    `size_units`: `size(f, "GB")` counts in 1000s (decimal) or, as Cromwell, in 1024s (binary).
    `read_string`: blanks at both ends are dropped, as Cromwell does (trimmed), or line ends at the
    end only (specification).
    """

    size_units: Literal["decimal", "binary"] = "decimal"
    read_string: Literal["trimmed", "specification"] = "trimmed"


class Retries(Keys):
    """`orchestrator.retries`: what the engine grants by itself, apart from `maxRetries`.

    `lost`: hosts or jobs that vanished; `spot`: losses of a spot host until a job goes where hosts
    last; `transient`: images that could not be pulled, storage that failed.
    """

    lost: Annotated[int, Field(ge=0, le=100)] = 5
    spot: Annotated[int, Field(ge=0, le=100)] = 2
    transient: Annotated[int, Field(ge=0, le=100)] = 3


class Orchestrator(Keys):
    """`orchestrator`: which deployed environment this is; its contract, when it stands here.

    `idle_poll_seconds`: a server without work asks the database for some every 2 s, then less and
    less often, down to once in so many seconds. More than the time after which a database pauses
    lets it sleep. What is handed in on the server's own machine wakes it.
    """

    wdl: Wdl = Wdl()
    imports: Imports = Imports()
    retries: Retries = Retries()
    idle_poll_seconds: Annotated[int, Field(ge=2, le=604_800)] = 2
    environment: str | None = None
    deployment: Deployment | None = None


class Settings(Keys):
    """Everything a configuration says. `path` None = the embedded defaults."""

    path: Path | None = None
    warnings: tuple[errors.Finding, ...] = ()
    aws: Aws = Aws()
    s3: S3 = S3()
    engine: Engine = Engine()
    backend: providers.Backend
    database: databases.Sqlite | databases.Postgres
    system: System
    call_caching: CallCaching
    workflow_options: WorkflowOptions
    webservice: Webservice
    orchestrator: Orchestrator = Orchestrator()

    @property
    def provider(self) -> AwsBatchProvider | LocalProvider:
        """The default backend's provider."""
        return self.backend.providers[self.backend.default]


@dataclass(frozen=True, slots=True)
class Examined:
    """What a configuration comes to. `settings` None: it has defects and cannot be used."""

    settings: Settings | None
    keys: tuple[Key, ...]
    warnings: tuple[errors.Finding, ...]
    defects: tuple[errors.Finding, ...]
    path: Path | None
    _reader: Reader

    def usable(self) -> Settings:
        """The settings. Raises InvalidConfig with every defect at once."""
        if self.settings is None:
            count = len(self.defects)
            raise errors.InvalidConfig(
                f"the configuration has {count} defect{'' if count == 1 else 's'}",
                place=errors.Place(str(self.path)) if self.path else None,
                findings=self.defects,
            )
        return self.settings

    def origin(self, path: KeyPath) -> errors.Place | None:
        """Where a key was given; None: nowhere, so that the reference holds."""
        return self._reader.origin(path)


def load(
    path: Path | None,
    *,
    environment: str | None = None,
    properties: Mapping[str, str] | None = None,
) -> Settings:
    """The settings of a file; None: the embedded defaults (local backend, SQLite here).

    `environment`: the name of a deployed environment; without a file, its own is read. With one,
    the file is used on that environment (`moving`). `properties` lie over the file, as Java's
    system properties do. Raises InvalidConfig with every defect at once; DeploymentMissing.
    """
    return examine(path, environment=environment, properties=properties).usable()


def parse(document: hocon.Document, path: Path | None) -> Settings:
    """The settings of a document that lies over the reference. Raises InvalidConfig."""
    return _examine(document, path, None).usable()


def examine(
    path: Path | None,
    *,
    environment: str | None = None,
    properties: Mapping[str, str] | None = None,
) -> Examined:
    """As `load`, with what becomes of each key. Raises InvalidConfig for what is no HOCON."""
    given = path
    if path is None and environment is not None:
        path = environments.config_file(environment)
    text, folder = (hocon.text_of(path), path.parent) if path else ("", None)
    document = hocon.read(
        text,
        folder,
        name=str(path or "<config>"),
        over_reference=True,
        properties=properties or {},
    )
    moved = None
    if given is not None and environment is not None:
        moved = moving.to_environment(document, environment)
    return _examine(document, path, moved)


def _examine(document: hocon.Document, path: Path | None, moved: moving.Moved | None) -> Examined:
    reader = Reader(moved.document if moved else document, path, given=document)
    reader.top(Layout.blocks())
    aws = reader.block("aws", Aws)
    s3 = reader.block("s3", S3)
    if aws and s3 and aws.endpoint_url and not s3.endpoint_url:
        for name in ("accelerate-mode", "dual-stack", "path-style-access"):
            reader.note(("s3", name), Use.NO_EFFECT, "aws.endpoint-url says where S3 is")
    engine = reader.block("engine", Engine)
    system = reader.block("system", System)
    call_caching = reader.block("call-caching", CallCaching)
    if call_caching and call_caching.enabled:
        reader.without_effect(
            ("call-caching", "enabled"), "call caching is not there yet; calls run"
        )
    workflow_options = reader.block("workflow-options", WorkflowOptions)
    if system:
        _options(reader, workflow_options, system.hog_safety.workflow_option)
    webservice = reader.block("webservice", Webservice)
    raw = reader.block("orchestrator", OrchestratorLayout)
    own = _orchestrator(reader, raw) if raw else None
    chosen = databases.read(reader, raw.database if raw else databases.Login())
    backend = providers.read(
        reader,
        own.deployment if own else None,
        named=own is not None and own.environment is not None,
        moving=moved is not None and moved.was_cromwells,
    )
    if aws and engine:
        _auth(reader, aws, engine.filesystems.s3.auth, ("engine", "filesystems", "s3", "auth"))
    for name, provider in backend.providers.items() if aws and backend else ():
        if aws and isinstance(provider, AwsBatchProvider):
            config, where = provider.config, ("backend", "providers", name, "config")
            _auth(reader, aws, config.filesystems.s3.auth, (*where, "filesystems", "s3", "auth"))
            _auth(reader, aws, config.dockerhub.auth, (*where, "dockerhub", "auth"))
    for at, message, hint in moved.left_out if moved else ():
        reader.without_effect(at, message, hint)
    settings = None
    complete = aws and s3 and engine and system and call_caching and workflow_options and webservice
    if complete and own and chosen and backend and not reader.defects:
        settings = Settings(
            path=path,
            warnings=tuple(reader.warnings),
            aws=aws,
            s3=s3,
            engine=engine,
            backend=backend,
            database=chosen,
            system=system,
            call_caching=call_caching,
            workflow_options=workflow_options,
            webservice=webservice,
            orchestrator=own,
        )
    return Examined(
        settings=settings,
        keys=reader.keys(),
        warnings=tuple(reader.warnings),
        defects=tuple(reader.defects),
        path=path,
        _reader=reader,
    )


class OrchestratorLayout(Keys):
    """`orchestrator` as it stands in a document."""

    imports: Imports = Imports()
    wdl: Wdl = Wdl()
    retries: Retries = Retries()
    idle_poll_seconds: Annotated[int, Field(ge=2, le=604_800)] = 2
    environment: str | None = None
    deployment: dict[str, Any] | None = None
    deployment_json: str | None = None
    database: databases.Login = databases.Login()


class _BackendLayout(Keys):
    default: str = "Local"
    providers: dict[str, AwsBatchProvider | LocalProvider] = Field(default_factory=dict)


class Layout(Keys):
    """A whole configuration, as it stands in a document."""

    aws: Aws = Aws()
    s3: S3 = S3()
    engine: Engine = Engine()
    backend: _BackendLayout = _BackendLayout()
    database: databases.Layout = databases.Layout()
    system: System
    call_caching: CallCaching
    workflow_options: WorkflowOptions
    webservice: Webservice
    orchestrator: OrchestratorLayout = OrchestratorLayout()

    @classmethod
    def blocks(cls) -> dict[str, Any]:
        """The names of all blocks."""
        return {field.alias or name: field for name, field in cls.model_fields.items()}


def schema() -> dict[str, Any]:
    """The JSON schema of a configuration (2020-12). Keys of Cromwell's without effect are in it,
    with the reason; others are allowed, as they are in Cromwell."""
    found = Layout.model_json_schema(by_alias=True)
    found.pop("required", None)  # what a document leaves out, the reference says
    for definition in ("System", "CallCaching", "WorkflowOptions", "Webservice", "HogSafety"):
        found["$defs"][definition].pop("required", None)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **found,
        "title": "Configuration of the orchestrator",
        "x-without-effect": {**cromwell_keys.UNUSED, **cromwell_keys.EXPECTED},
    }


def _options(reader: Reader, block: WorkflowOptions | None, hog_group: str) -> None:
    """Workflow options that hold where a workflow's own say nothing."""
    at: KeyPath = ("workflow-options", "default")
    given = block.default if block else {}
    try:
        read = options.parse(given, hog_group_option=hog_group)
    except errors.InvalidOptions as error:
        for finding in error.findings:
            reader.defect(at, finding.message, finding.hint)
        return
    for warning in read.warnings:
        reader.warn(at, warning.message, warning.hint)
        for name in given:
            if name in warning.message:
                unknown = warning.message.startswith("unknown")
                why = warning.hint or warning.message
                reader.note((*at, name), Use.UNKNOWN if unknown else Use.NO_EFFECT, why)


def _orchestrator(reader: Reader, raw: OrchestratorLayout) -> Orchestrator | None:
    at: KeyPath = ("orchestrator", "deployment")
    text = raw.deployment_json
    if raw.deployment is not None and text is not None:
        reader.defect(at, "deployment and deployment-json exclude each other", "give one")
    if raw.deployment is not None:
        text = json.dumps(raw.deployment)
    else:
        at = ("orchestrator", "deployment-json")
    found = None
    if text is not None:
        try:
            found = deployment.parse(text, raw.environment or "?")
        except errors.DeploymentUnsupported as error:
            details = "; ".join(finding.message for finding in error.findings)
            reader.defect(at, f"{error.message}: {details}", error.hint)
            return None
        if raw.environment not in (None, found.environment):
            reader.defect(
                ("orchestrator", "environment"),
                f"the contract is that of environment {found.environment!r}",
            )
    return Orchestrator(
        wdl=raw.wdl,
        imports=raw.imports,
        retries=raw.retries,
        idle_poll_seconds=raw.idle_poll_seconds,
        environment=raw.environment or (found.environment if found else None),
        deployment=found,
    )


def _auth(reader: Reader, aws: Aws, name: str | None, at: KeyPath) -> None:
    if name is not None:
        try:
            aws.auth(name)
        except errors.InvalidConfig as error:
            reader.defect(at, error.message, error.hint)
