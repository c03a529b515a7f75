"""Typed settings, from Cromwell's keys and a few of our own.

The keys, their nesting and their spelling are Cromwell's (docs/Configuring.md; AwsBatchAttributes,
AwsConfiguration). Our own: the block `orchestrator`, `aws.endpoint-url`, and `cores`, `memory` and
`containers` of a local provider. What a document does not say, `reference.conf` does. Everything
that is wrong is reported at once; a key that has no effect is a warning, as Cromwell only warns.

One module although it is long: the shapes of all blocks, then the one reader that fills them.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from orchestrator import deployment, errors
from orchestrator.config import cromwell_keys, hocon
from orchestrator.deployment import Deployment
from orchestrator.model import options, runtime

DEFAULT_DATABASE = Path(".orchestrator/orchestrator.db")

_AWS_BATCH = "AwsBatchBackendLifecycleActorFactory"
_LOCAL = "ConfigBackendLifecycleActorFactory"


def _kebab(name: str) -> str:
    return name.replace("_", "-")


class _Keys(BaseModel):
    """One block. Keys are the fields' names with dashes, unless an alias says otherwise."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        alias_generator=_kebab,
        populate_by_name=True,
        coerce_numbers_to_str=True,
        hide_input_in_errors=True,
    )


def _mib(value: Any) -> Any:
    if value is None:
        return None
    try:
        return runtime.parse_mib(value, "memory")
    except errors.InvalidRuntimeAttribute as error:
        raise ValueError(error.message) from None


Mib = Annotated[int, BeforeValidator(_mib)]
Count = Annotated[int, Field(ge=1)]


# aws


class DefaultAuth(_Keys):
    """The SDK's own chain: environment, profile, container, instance."""

    name: str
    scheme: Literal["default"]


class CustomKeys(_Keys):
    """Static keys."""

    name: str
    scheme: Literal["custom_keys"]
    access_key: str
    secret_key: SecretStr
    session_token: SecretStr | None = None


class AssumeRole(_Keys):
    """A role, assumed with the credentials of another auth."""

    name: str
    scheme: Literal["assume_role"]
    base_auth: str
    role_arn: str
    external_id: str = ""


Auth = Annotated[DefaultAuth | CustomKeys | AssumeRole, Field(discriminator="scheme")]


class Aws(_Keys):
    """`aws`. `endpoint_url`: where AWS is, when it is not AWS itself."""

    application_name: str | None = None  # Cromwell requires it; nothing here uses it
    region: str | None = None
    endpoint_url: str | None = None
    auths: tuple[Auth, ...] = ()

    @field_validator("endpoint_url")
    @classmethod
    def _http(cls, value: str | None) -> str | None:
        if value is not None and urlsplit(value).scheme not in ("http", "https"):
            raise ValueError("expected a URL such as http://127.0.0.1:5000")
        return value

    @model_validator(mode="after")
    def _names(self) -> Self:
        names = [auth.name for auth in self.auths]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two auths have the name {name!r}")
        for auth in self.auths:
            if isinstance(auth, AssumeRole):
                self._chain(auth)
        return self

    def _chain(self, auth: AssumeRole) -> None:
        by_name = {auth.name: auth for auth in self.auths}
        seen = {auth.name}
        base = by_name.get(auth.base_auth)
        while True:
            if base is None:
                raise ValueError(f"the base-auth of {auth.name!r} is not among aws.auths")
            if base.name in seen:
                raise ValueError(f"the base-auth of {auth.name!r} leads back to itself")
            if not isinstance(base, AssumeRole):
                return
            seen.add(base.name)
            base = by_name.get(base.base_auth)

    def auth(self, name: str) -> DefaultAuth | CustomKeys | AssumeRole:
        """The auth of this name. Raises InvalidConfig."""
        for auth in self.auths:
            if auth.name == name:
                return auth
        known = ", ".join(auth.name for auth in self.auths) or "none"
        raise errors.InvalidConfig(
            f"there is no auth {name!r} in aws.auths", hint=f"known there: {known}"
        )


# engine


class S3Files(_Keys):
    """`engine.filesystems.s3`: the auth that the orchestrator itself reads S3 with."""

    auth: str | None = None


class HttpFiles(_Keys):
    """`engine.filesystems.http`: what workflows may name by URL.

    `largest_file`: bytes that are copied from one URL at most. `private_addresses`: whether URLs
    may lead to addresses that the internet does not route; never to those of a cloud's metadata.
    """

    largest_file: Count = 500 * 1024**3
    private_addresses: bool = True


class EngineFilesystems(_Keys):
    """`engine.filesystems`."""

    s3: S3Files = S3Files()
    http: HttpFiles = HttpFiles()


class Engine(_Keys):
    """`engine`."""

    filesystems: EngineFilesystems = EngineFilesystems()


# backend


class ProviderS3(_Keys):
    """`filesystems.s3` of a provider: the auth for AWS Batch and for files."""

    auth: str


class ProviderFilesystems(_Keys):
    """`filesystems` of an AWS Batch provider."""

    s3: ProviderS3


class AwsBatchConfig(_Keys):
    """`config` of an AWS Batch provider. `root` is `s3://bucket/prefix`, without the last slash.

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

    @field_validator("root")
    @classmethod
    def _s3(cls, value: str) -> str:
        if not re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]+(/.*)?", value):
            raise ValueError("expected s3://<bucket>/<prefix>")
        return value.rstrip("/")


class AwsBatchProvider(_Keys):
    """A provider that runs jobs on AWS Batch."""

    kind: Literal["aws-batch"] = "aws-batch"
    actor_factory: str = _AWS_BATCH
    config: AwsBatchConfig


class LocalFiles(_Keys):
    """`filesystems.local` of a local provider."""

    localization: tuple[Literal["hard-link", "soft-link", "copy", "cached-copy"], ...] = (
        "hard-link",
        "soft-link",
        "copy",
    )


class LocalFilesystems(_Keys):
    """`filesystems` of a local provider."""

    local: LocalFiles = LocalFiles()


class LocalConfig(_Keys):
    """`config` of a local provider. `cores` and `memory` (MiB here) None = all of the machine."""

    root: str = "cromwell-executions"
    filesystems: LocalFilesystems = LocalFilesystems()
    default_runtime_attributes: dict[str, Any] = Field(default_factory=dict)
    concurrent_job_limit: Count | None = None
    hog_factor: Annotated[int, Field(ge=1)] | None = None
    cores: Annotated[float, Field(gt=0)] | None = None
    memory: Mib | None = None
    containers: Literal["auto", "docker", "podman", "none"] = "auto"


class LocalProvider(_Keys):
    """A provider that runs jobs on this machine."""

    kind: Literal["local"] = "local"
    actor_factory: str = _LOCAL
    config: LocalConfig = LocalConfig()


class Backend(_Keys):
    """`backend`. `providers` are only those that can be used here."""

    default: str
    providers: dict[str, AwsBatchProvider | LocalProvider] = Field(default_factory=dict)


# database


class Sqlite(_Keys):
    """A database in a file."""

    path: Path = DEFAULT_DATABASE


class Postgres(_Keys):
    """A PostgreSQL database. Its user and password stand here or in a secret, by its ARN.

    `parameters` are the URL's, e.g. sslmode. With `iam`, tokens of AWS's take the password's place.
    """

    host: str
    port: int = 5432
    name: str
    user: str | None = None
    password: SecretStr | None = None
    secret_arn: str | None = None
    iam: bool = False
    parameters: dict[str, str] = Field(default_factory=dict)


# the rest


Read = Literal["lines", "bool", "int", "float", "string", "json", "tsv", "map", "object"]


class HogSafety(_Keys):
    """`system.hog-safety`: no hog group has more than 1/`hog_factor` of a backend's jobs."""

    hog_factor: Annotated[int, Field(ge=1)]
    workflow_option: str  # the name of the option that tells a workflow's group


class System(_Keys):
    """`system`. `input_read_limits`: bytes that WDL's read functions take from one file."""

    job_shell: str
    max_concurrent_workflows: Count
    max_scatter_width_per_scatter: Count
    total_max_jobs_per_root_workflow: Count
    abort_jobs_on_terminate: bool
    delete_workflow_files: bool
    hog_safety: HogSafety
    memory_retry_error_keys: tuple[str, ...]
    input_read_limits: dict[Read, Count]


class CallCaching(_Keys):
    """`call-caching`."""

    enabled: bool


class WorkflowOptions(_Keys):
    """`workflow-options`: `default` holds options for workflows that give none."""

    workflow_failure_mode: Literal["NoNewCalls", "ContinueWhilePossible"]
    default: dict[str, Any] = Field(default_factory=dict)


class Webservice(_Keys):
    """`webservice`: where `orchestrator server` listens."""

    interface: str
    port: Annotated[int, Field(ge=0, le=65535)]


class Imports(_Keys):
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


class Wdl(_Keys):
    """`orchestrator.wdl`: where Cromwell and the specification of WDL differ.

    `size_units`: `size(f, "GB")` counts in 1000s (decimal) or, as Cromwell, in 1024s (binary).
    `read_string`: blanks at both ends are dropped, as Cromwell does (trimmed), or line ends at the
    end only (specification).
    """

    size_units: Literal["decimal", "binary"] = "decimal"
    read_string: Literal["trimmed", "specification"] = "trimmed"


class Retries(_Keys):
    """`orchestrator.retries`: what the engine grants by itself, apart from `maxRetries`.

    `lost`: hosts or jobs that vanished; `spot`: losses of a spot host until a job goes where hosts
    last; `transient`: images that could not be pulled, storage that failed.
    """

    lost: Annotated[int, Field(ge=0, le=100)] = 5
    spot: Annotated[int, Field(ge=0, le=100)] = 2
    transient: Annotated[int, Field(ge=0, le=100)] = 3


class Orchestrator(_Keys):
    """`orchestrator`: which deployed environment this is; its contract, when it stands here."""

    wdl: Wdl = Wdl()
    imports: Imports = Imports()
    retries: Retries = Retries()
    environment: str | None = None
    deployment: Deployment | None = None


class Settings(_Keys):
    """Everything a configuration says. `path` None = the embedded defaults."""

    path: Path | None = None
    warnings: tuple[errors.Finding, ...] = ()
    aws: Aws = Aws()
    engine: Engine = Engine()
    backend: Backend
    database: Sqlite | Postgres
    system: System
    call_caching: CallCaching
    workflow_options: WorkflowOptions
    webservice: Webservice
    orchestrator: Orchestrator = Orchestrator()

    @property
    def provider(self) -> AwsBatchProvider | LocalProvider:
        """The default backend's provider."""
        return self.backend.providers[self.backend.default]


def load(path: Path | None) -> Settings:
    """The settings of a file; None: the embedded defaults (local backend, SQLite here).

    Raises InvalidConfig with every defect at once.
    """
    if path is None:
        return parse(hocon.read("", over_reference=True), None)
    document = hocon.read(hocon.text_of(path), path.parent, name=str(path), over_reference=True)
    return parse(document, path)


def parse(document: hocon.Document, path: Path | None) -> Settings:
    """The settings of a document that lies over the reference. Raises InvalidConfig."""
    return _Reader(document, path).settings()


# How the document is laid out where it differs from what comes of it


class _Db(_Keys):
    driver: str | None = None  # Cromwell requires it; the URL says it
    url: str | None = None
    user: str | None = None
    password: SecretStr | None = None


class _Database(_Keys):
    profile: str | None = None
    db: _Db = _Db()


class _Login(_Keys):
    secret_arn: str | None = None
    iam: bool = False


class _Orchestrator(_Keys):
    imports: Imports = Imports()
    wdl: Wdl = Wdl()
    retries: Retries = Retries()
    environment: str | None = None
    deployment: dict[str, Any] | None = None
    deployment_json: str | None = None
    database: _Login = _Login()


class _Backend(_Keys):
    default: str
    providers: dict[str, dict[str, Any]] = Field(default_factory=dict)


# Of PostgreSQL's documentation, "Parameter Key Words"; those that JDBC URLs share or people add.
_LIBPQ = frozenset(
    {
        "application_name", "channel_binding", "connect_timeout", "gssencmode", "keepalives",
        "keepalives_idle", "options", "sslcert", "sslcrl", "sslkey", "sslmode", "sslrootcert",
        "target_session_attrs",
    }
)  # fmt: skip

_BLOCKS: dict[str, type[_Keys]] = {
    "aws": Aws,
    "engine": Engine,
    "backend": _Backend,
    "database": _Database,
    "system": System,
    "call-caching": CallCaching,
    "workflow-options": WorkflowOptions,
    "webservice": Webservice,
    "orchestrator": _Orchestrator,
}

M = TypeVar("M", bound=BaseModel)


class _Reader:
    """Reads one document block by block and collects what is wrong with it."""

    def __init__(self, document: hocon.Document, path: Path | None) -> None:
        self._document = document
        self._path = path
        self._defects: list[errors.Finding] = []
        self._warnings: list[errors.Finding] = []

    def settings(self) -> Settings:
        data = self._document.data
        for key in data:
            if key not in _BLOCKS:
                self._unknown((key,), _BLOCKS)
        aws = self._block("aws", Aws)
        engine = self._block("engine", Engine)
        system = self._block("system", System)
        call_caching = self._block("call-caching", CallCaching)
        if call_caching and call_caching.enabled:
            self._warn(("call-caching", "enabled"), "call caching is not there yet; calls run")
        workflow_options = self._block("workflow-options", WorkflowOptions)
        if system:
            self._options(workflow_options, system.hog_safety.workflow_option)
        webservice = self._block("webservice", Webservice)
        own = self._orchestrator()
        database = self._database()
        backend = self._backend(own)
        if aws and engine:
            self._auth(aws, engine.filesystems.s3.auth, ("engine", "filesystems", "s3", "auth"))
        if aws and backend:
            for name, provider in backend.providers.items():
                if isinstance(provider, AwsBatchProvider):
                    where = ("backend", "providers", name, "config", "filesystems", "s3", "auth")
                    self._auth(aws, provider.config.filesystems.s3.auth, where)
        if (
            self._defects
            or not (aws and engine and system and call_caching and workflow_options and webservice)
            or not (own and database and backend)
        ):
            raise errors.InvalidConfig(
                f"the configuration has {len(self._defects)} "
                f"defect{'' if len(self._defects) == 1 else 's'}",
                place=errors.Place(str(self._path)) if self._path else None,
                findings=self._defects,
            )
        return Settings(
            path=self._path,
            warnings=tuple(self._warnings),
            aws=aws,
            engine=engine,
            backend=backend,
            database=database,
            system=system,
            call_caching=call_caching,
            workflow_options=workflow_options,
            webservice=webservice,
            orchestrator=own,
        )

    # Blocks

    def _block(self, name: str, model: type[M]) -> M | None:
        return self._read(model, self._document.data.get(name, {}), (name,))

    def _read(self, model: type[M], data: Any, at: tuple[str, ...]) -> M | None:
        self._look_for_unknown(model, data, at)
        if not isinstance(data, dict):
            self._defect(at, "expected a block of keys")
            return None
        try:
            return model.model_validate(data)
        except ValidationError as error:
            for detail in error.errors(include_input=False, include_url=False):
                self._defect((*at, *_without_tags(detail["loc"])), _sentence(detail))
            return None

    def _backend(self, own: Orchestrator | None) -> Backend | None:
        raw = self._block("backend", _Backend)
        if raw is None:
            return None
        providers: dict[str, AwsBatchProvider | LocalProvider] = {}
        for name, data in raw.providers.items():
            at = ("backend", "providers", name)
            model = self._provider_model(data, at, used=name == raw.default)
            provider = self._read(model, data, at) if model else None
            if isinstance(provider, AwsBatchProvider | LocalProvider):
                providers[name] = provider
                defaults = (*at, "config", "default-runtime-attributes")
                self._attributes(provider.config.default_runtime_attributes, defaults)
            if isinstance(provider, AwsBatchProvider) and not (own and own.deployment):
                queue = provider.config.default_runtime_attributes.get("queueArn")
                if not queue:
                    where = (*at, "config", "default-runtime-attributes", "queueArn")
                    self._defect(where, "missing", "the ARN of the AWS Batch queue for jobs")
        if raw.default not in raw.providers:
            known = ", ".join(raw.providers) or "none"
            self._defect(
                ("backend", "default"),
                f"there is no provider {raw.default!r} in backend.providers",
                f"known there: {known}",
            )
        return Backend(default=raw.default, providers=providers)

    def _attributes(self, attributes: Mapping[str, Any], at: tuple[str, ...]) -> None:
        """Runtime attributes that hold where a task says nothing."""
        for name, finding in runtime.check(attributes):
            self._defect((*at, name), finding.message, finding.hint)
        for name, advice in runtime.advice(attributes):
            self._warn((*at, name), advice)

    def _options(self, block: WorkflowOptions | None, hog_group: str) -> None:
        """Workflow options that hold where a workflow's own say nothing."""
        try:
            read = options.parse(block.default if block else {}, hog_group_option=hog_group)
        except errors.InvalidOptions as error:
            for finding in error.findings:
                self._defect(("workflow-options", "default"), finding.message, finding.hint)
            return
        for warning in read.warnings:
            self._warn(("workflow-options", "default"), warning.message, warning.hint)

    def _provider_model(
        self, data: Mapping[str, Any], at: tuple[str, ...], *, used: bool
    ) -> type[AwsBatchProvider] | type[LocalProvider] | None:
        factory = data.get("actor-factory")
        if not isinstance(factory, str):
            self._defect((*at, "actor-factory"), "missing", "the class of Cromwell's backend")
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
        hint = f"supported: {_AWS_BATCH}, {_LOCAL} without job-id-regex"
        if used:
            self._defect((*at, "actor-factory"), message, hint)
        else:
            self._warn((*at, "actor-factory"), message, "nothing uses it; it is left out")
        return None

    def _orchestrator(self) -> Orchestrator | None:
        raw = self._block("orchestrator", _Orchestrator)
        if raw is None:
            return None
        at: tuple[str, ...] = ("orchestrator", "deployment")
        text = raw.deployment_json
        if raw.deployment is not None and text is not None:
            self._defect(at, "deployment and deployment-json exclude each other", "give one")
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
                self._defect(at, f"{error.message}: {details}", error.hint)
                return None
            if found.version != deployment.VERSION:
                self._defect(
                    at,
                    f"the contract has version {found.version}, this orchestrator knows "
                    f"version {deployment.VERSION}",
                    "deploy with the stacks of this release, or use the orchestrator of that one",
                )
            if raw.environment not in (None, found.environment):
                self._defect(
                    ("orchestrator", "environment"),
                    f"the contract is that of environment {found.environment!r}",
                )
        environment = raw.environment or (found.environment if found else None)
        return Orchestrator(
            wdl=raw.wdl,
            imports=raw.imports,
            retries=raw.retries,
            environment=environment,
            deployment=found,
        )

    def _database(self) -> Sqlite | Postgres | None:
        raw = self._block("database", _Database)
        # What is wrong there is said when that block is read.
        orchestrator = self._document.data.get("orchestrator")
        login = orchestrator.get("database") if isinstance(orchestrator, dict) else None
        login = login if isinstance(login, dict) else {}
        arn = login.get("secret-arn")
        iam = str(login.get("iam", "")).lower() == "true"
        if raw is None:
            return None
        at = ("database", "db", "url")
        url, profile = raw.db.url or "", raw.profile or ""
        scheme, _, rest = url.removeprefix("jdbc:").partition(":")
        if scheme == "hsqldb" or (not url and "Hsqldb" in profile):
            self._warn(
                at if url else ("database", "profile"),
                "HSQLDB is not used here",
                f"workflows are kept in SQLite, {DEFAULT_DATABASE}",
            )
            return Sqlite()
        if not url:
            if profile or arn or iam:
                self._defect(at, "missing", "jdbc:postgresql://<host>:<port>/<database>")
            return Sqlite()
        if scheme == "sqlite":
            return Sqlite(path=Path(rest.removeprefix("//")))
        if scheme != "postgresql":
            self._defect(
                at,
                f"a database of the kind {scheme!r} is not supported",
                "jdbc:postgresql://<host>:<port>/<database>, or jdbc:sqlite:<file>",
            )
            return None
        return self._postgres(rest, raw.db, arn if isinstance(arn, str) else None, iam, at)

    def _postgres(
        self, rest: str, db: _Db, secret_arn: str | None, iam: bool, at: tuple[str, ...]
    ) -> Postgres | None:
        try:
            parts = urlsplit(rest)
            port = parts.port or 5432
        except ValueError:
            parts, port = urlsplit(""), 0
        name = unquote(parts.path.strip("/"))
        if not parts.hostname or not name:
            self._defect(
                at, "host or database is missing", "jdbc:postgresql://<host>:<port>/<database>"
            )
            return None
        parameters = dict(parse_qsl(parts.query))
        user = db.user or parameters.pop("user", None)
        password = db.password
        if "password" in parameters:
            password = password or SecretStr(parameters.pop("password"))
        parameters = self._libpq(parameters, at)
        if parts.username or parts.password:
            self._defect(at, "user and password stand in the URL", "database.db.user, .password")
        if iam and (secret_arn or password):
            self._defect(
                ("orchestrator", "database", "iam"),
                "a login by IAM takes neither a password nor a secret",
                "leave out secret-arn and password, or iam",
            )
        if not user and not secret_arn:
            self._defect(
                ("database", "db", "user"), "missing", "or orchestrator.database.secret-arn"
            )
        return Postgres(
            host=parts.hostname,
            port=port,
            name=name,
            user=user,
            password=password,
            secret_arn=secret_arn,
            iam=iam,
            parameters=parameters,
        )

    def _libpq(self, parameters: Mapping[str, str], at: tuple[str, ...]) -> dict[str, str]:
        """Parameters of the JDBC driver that libpq knows too; a warning for the others."""
        known = dict(parameters)
        if known.pop("ssl", "false").lower() in ("true", ""):
            known.setdefault("sslmode", "require")
        for name in sorted(known.keys() - _LIBPQ):
            self._warn(at, f"the parameter {name} of the JDBC driver has no effect here")
        return {name: value for name, value in known.items() if name in _LIBPQ}

    def _auth(self, aws: Aws, name: str | None, at: tuple[str, ...]) -> None:
        if name is not None:
            try:
                aws.auth(name)
            except errors.InvalidConfig as error:
                self._defect(at, error.message, error.hint)

    # What is wrong

    def _defect(self, path: Sequence[str | int], message: str, hint: str = "") -> None:
        name = _dotted(path)
        self._defects.append(errors.Finding(f"{name}: {message}", self._place(path), hint))

    def _warn(self, path: Sequence[str | int], message: str, hint: str = "") -> None:
        name = _dotted(path)
        self._warnings.append(errors.Finding(f"{name}: {message}", self._place(path), hint))

    def _place(self, path: Sequence[str | int]) -> errors.Place | None:
        keys = tuple(part for part in path if isinstance(part, str))
        for length in range(len(keys), 0, -1):
            place = self._document.places.get(keys[:length])
            if place is not None and place.file != str(hocon.REFERENCE):
                return place
        return errors.Place(str(self._path)) if self._path else None

    def _look_for_unknown(self, model: type[BaseModel], data: Any, at: tuple[str, ...]) -> None:
        if not isinstance(data, dict):
            return
        known = {
            field.alias or name: field.annotation for name, field in model.model_fields.items()
        }
        known.pop("kind", None)
        for key, value in data.items():
            if key not in known:
                self._unknown((*at, key), known)
                continue
            below = known[key]
            if isinstance(below, type) and issubclass(below, _Keys):
                self._look_for_unknown(below, value, (*at, key))

    def _unknown(self, path: tuple[str, ...], known: Mapping[str, Any]) -> None:
        if self._is_reference(path):
            return
        why = cromwell_keys.why_unused(path)
        value = self._document.data
        for key in path:
            value = value[key]
        if why is None and isinstance(value, dict) and cromwell_keys.is_above_unused(path):
            for key in value:
                self._unknown((*path, key), {})
            return
        if why is not None:
            self._warn(path, "this key of Cromwell's is not used here", why)
            return
        near = difflib.get_close_matches(path[-1], known, 1, 0.75)
        if near:
            self._warn(path, "unknown key", f"did you mean {near[0]}?")
        elif len(path) > 1:  # at the top people put values that they refer to
            self._warn(path, "unknown key; it has no effect")

    def _is_reference(self, path: tuple[str, ...]) -> bool:
        place = self._document.places.get(path)
        return place is not None and place.file == str(hocon.REFERENCE)


_TAGS = frozenset({"default", "custom_keys", "assume_role"})


def _without_tags(place: Sequence[str | int]) -> list[str | int]:
    """pydantic puts the scheme of an auth into the path of its keys."""
    return [
        part
        for index, part in enumerate(place)
        if not (part in _TAGS and index and isinstance(place[index - 1], int))
    ]


def _dotted(path: Sequence[str | int]) -> str:
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            part = f'"{part}"' if "." in part else part
            text += f".{part}" if text else part
    return text


def _sentence(detail: Any) -> str:
    if detail["type"] == "missing":
        return "missing"
    if detail["type"] == "union_tag_not_found":
        return "scheme is missing: default, custom_keys or assume_role"
    if detail["type"] == "union_tag_invalid":
        return "unknown scheme; expected default, custom_keys or assume_role"
    message = str(detail["msg"]).removeprefix("Value error, ")
    return message[:1].lower() + message[1:].replace("Input should", "should")
