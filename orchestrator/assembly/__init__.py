"""The only place that chooses store, backends and filesystems, from the settings."""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import sqlalchemy
from botocore.exceptions import BotoCoreError, ClientError

from orchestrator import errors
from orchestrator.assembly import outputs
from orchestrator.assembly.backends import Factory
from orchestrator.backends.base import Backend
from orchestrator.config import aws, database_login
from orchestrator.config.databases import Sqlite
from orchestrator.config.providers import AwsBatchProvider
from orchestrator.config.settings import Settings
from orchestrator.engine.admission import Admission, JobLimit
from orchestrator.engine.coordinator import Engine, EngineSettings
from orchestrator.engine.jobs import RunSettings
from orchestrator.engine.retry import RetryPolicy
from orchestrator.engine.tenure import is_dead, this_process
from orchestrator.filesystems.base import Filesystems
from orchestrator.filesystems.http import HttpFilesystem
from orchestrator.filesystems.local import LocalFilesystem
from orchestrator.filesystems.s3 import S3Filesystem
from orchestrator.model import states
from orchestrator.model.options import Allowed
from orchestrator.model.records import WorkflowRecord
from orchestrator.model.states import WorkflowState
from orchestrator.store.base import Lease, Store
from orchestrator.store.sql import SqlStore
from orchestrator.wdl import document, imports, loading
from orchestrator.wdl.bundle import Bundle
from orchestrator.wdl.rules import Rules

LEASE_SECONDS = 60.0
_DOCUMENTS_KEPT = 32

_documents: dict[str, document.Document] = {}
_loading = threading.Lock()


@dataclass(slots=True)
class Assembly:
    """The parts of one orchestrator process. `upload_roots`: backend name -> where inputs on this
    machine are uploaded to; a backend that is not there uses them as they lie. `default_options`
    hold where a workflow's own say nothing; `allowed`: backend name -> what they may choose."""

    store: Store
    backends: Mapping[str, Backend]
    filesystems: Filesystems
    default_backend: str
    upload_roots: Mapping[str, str]
    _engine_settings: EngineSettings
    default_options: Mapping[str, Any] = field(default_factory=dict)
    hog_group_option: str = "hogGroup"
    allowed: Mapping[str, Allowed] = field(default_factory=dict)
    deletes_files: bool = False  # system.delete-workflow-files
    rules: Rules = field(default_factory=Rules)

    def engine(self, capacity: int = 0) -> Engine:
        """An engine over these parts, not started yet; with a capacity it looks for work itself."""
        settings = replace(self._engine_settings, capacity=capacity)
        load = load_checked if capacity else load_bundle
        return Engine(
            self.store,
            self.backends,
            self.filesystems,
            lambda files: replace(load(files), rules=self.rules),
            settings,
        )

    def find(self, id_prefix: str) -> WorkflowRecord:
        """The root workflow whose id starts so. Raises NotFound; NotAllowed when several do."""
        matches = self.store.matching(id_prefix) if id_prefix else ()
        if not matches:
            raise errors.NotFound(
                f"no workflow {id_prefix!r} here", hint="`orchestrator status` lists them"
            )
        if len(matches) > 1 and all(match.id != id_prefix for match in matches):
            raise errors.NotAllowed(
                f"{len(matches)} workflows start with {id_prefix!r}",
                hint="give more of the id: " + ", ".join(match.id for match in matches[:5]),
            )
        return next((match for match in matches if match.id == id_prefix), matches[0])

    def claim(self, root_id: str) -> Lease:
        """The lease of one workflow. A dead process's lease is taken at once.

        Raises NotAllowed when a living process holds it, or when the workflow is over.
        """
        owner = this_process()
        leases = self.store.claim(owner, LEASE_SECONDS, 1, root_id)
        if leases:
            return leases[0]
        record = self.store.workflow(root_id)
        if states.is_terminal(record.state):
            raise errors.NotAllowed(f"workflow {root_id} is {record.state} already")
        if record.state is WorkflowState.ON_HOLD:
            raise errors.NotAllowed(f"workflow {root_id} is on hold; it has to be released first")
        holder = self.store.holder(root_id)
        # None: it was given back just now. This process's own: from its creation.
        if holder in (None, owner) or is_dead(holder or ""):
            stolen = self.store.steal(owner, LEASE_SECONDS, root_id, holder or "")
            if stolen is not None:
                return stolen
        host, _, rest = (holder or "?").partition("/")
        pid = rest.split("/")[1] if rest.count("/") >= 2 else "?"
        raise errors.NotAllowed(
            f"workflow {root_id} is being run by process {pid} on {host}",
            hint=f"if that one is dead, try again in {LEASE_SECONDS:.0f} s",
        )

    def copy_outputs(self, workflow: WorkflowRecord, target: Path) -> Path:
        """See `outputs`."""
        typed = load_bundle(self.store.bundle(workflow.bundle))
        return outputs.copy(workflow, typed, self.filesystems, target)

    def close(self) -> None:
        """Let go of connections."""
        for backend in self.backends.values():
            backend.close()
        self.store.close()


def assemble(settings: Settings, *, containers: bool = True, verified: bool = False) -> Assembly:
    """Everything the settings ask for; the database's schema is brought up to date.

    `containers=False`: the local backend runs tasks without the images that they name.
    `verified`: AWS is asked first whether it knows every auth; raises EnvironmentProblem.
    """
    sessions = aws.Sessions(settings)
    if verified:
        sessions.verify()
    made = Factory(settings, sessions)
    backends: dict[str, Backend] = {}
    runs: dict[str, RunSettings] = {}
    limits: dict[str, JobLimit] = {}
    upload_roots: dict[str, str] = {}
    allowed: dict[str, Allowed] = {}
    for name, provider in settings.backend.providers.items():
        if isinstance(provider, AwsBatchProvider):
            contracts = made.contracts(name, provider)
            backends[name] = made.aws_batch(name, provider, contracts)
            root = provider.config.root
            roles = {r for c in contracts for r in (c.job_role_arn, *c.job_role_arns)}
            allowed[name] = Allowed((contracts[0].root,), tuple(sorted(roles)))
            upload_roots[name] = f"{root}/inputs"
        else:
            backends[name] = made.local(name, provider, containers=containers)
            root = str(Path(provider.config.root).absolute())
        runs[name] = RunSettings(
            root=root,
            default_runtime_attributes=provider.config.default_runtime_attributes,
            retry=RetryPolicy(
                lost=settings.orchestrator.retries.lost,
                spot=settings.orchestrator.retries.spot,
                transient=settings.orchestrator.retries.transient,
            ),
            memory_keys=settings.system.memory_retry_error_keys,
            hog_option=settings.system.hog_safety.workflow_option,
            max_jobs=settings.system.total_max_jobs_per_root_workflow,
            max_scatter_width=settings.system.max_scatter_width_per_scatter,
            shell=provider.config.job_shell or settings.system.job_shell,
            slow_job_warning_seconds=provider.config.slow_job_warning_time,
        )
        limits[name] = JobLimit(
            provider.config.concurrent_job_limit,
            provider.config.hog_factor or settings.system.hog_safety.hog_factor,
        )
        if isinstance(provider, AwsBatchProvider):
            shared = all(queue.fair_share for c in contracts for queue in c.queues)
            if not shared:
                limits[name] = limits[name].in_turns(provider.config.unshared_job_limit)
    store = SqlStore(
        _database_url(settings, sessions), password=_database_password(settings, sessions)
    )
    store.migrate()
    rules = Rules(
        read_limits={str(k): v for k, v in settings.system.input_read_limits.items()},
        binary_sizes=settings.orchestrator.wdl.size_units == "binary",
        trimmed_strings=settings.orchestrator.wdl.read_string == "trimmed",
    )
    engine_auth = settings.engine.filesystems.s3.auth
    return Assembly(
        store=store,
        backends=backends,
        filesystems=Filesystems(
            LocalFilesystem(),
            HttpFilesystem(
                largest_bytes=settings.engine.filesystems.http.largest_file,
                public_only=not settings.engine.filesystems.http.private_addresses,
            ),
            made_when_used={"s3": lambda: S3Filesystem(sessions.client("s3", engine_auth))},
        ),
        default_backend=settings.backend.default,
        upload_roots=upload_roots,
        _engine_settings=EngineSettings(
            default_backend=settings.backend.default,
            runs=runs,
            lease_seconds=LEASE_SECONDS,
            idle_poll_seconds=settings.orchestrator.idle_poll_seconds,
            admission=Admission(limits),
            read_limit_bytes=rules.largest_read_bytes,
        ),
        default_options={
            "workflow_failure_mode": settings.workflow_options.workflow_failure_mode,
            **settings.workflow_options.default,
        },
        hog_group_option=settings.system.hog_safety.workflow_option,
        allowed=allowed,
        deletes_files=settings.system.delete_workflow_files,
        rules=rules,
    )


def _database_password(settings: Settings, sessions: aws.Sessions) -> Callable[[], str] | None:
    database = settings.database
    if isinstance(database, Sqlite) or not database.iam:
        return None
    return database_login.token(database, sessions, settings.engine.filesystems.s3.auth)


def _database_url(settings: Settings, sessions: aws.Sessions) -> str:
    """The URL with its password: never shown, never logged."""
    database = settings.database
    if isinstance(database, Sqlite):
        return sqlalchemy.URL.create(
            "sqlite", database=str(database.path.absolute())
        ).render_as_string()
    user = database.user
    password = database.password.get_secret_value() if database.password else None
    if database.secret_arn:
        secret = _secret(database.secret_arn, sessions, settings.engine.filesystems.s3.auth)
        user, password = secret["username"], secret["password"]
    return sqlalchemy.URL.create(
        "postgresql+psycopg",
        username=user,
        password=password,
        host=database.host,
        port=database.port,
        database=database.name,
        query=database_login.parameters(database),
    ).render_as_string(hide_password=False)


def _secret(arn: str, sessions: aws.Sessions, auth: str | None) -> dict[str, str]:
    try:
        answer = sessions.client("secretsmanager", auth).get_secret_value(SecretId=arn)
        document: dict[str, str] = json.loads(answer["SecretString"])
    except (BotoCoreError, ClientError) as error:
        raise errors.EnvironmentProblem(
            f"the database's secret {arn} cannot be read: {error}",
            hint="is the environment up (./bootstrap --local starts the local one), "
            "and may these credentials read the secret?",
        ) from None
    return document


def fetcher(settings: Settings) -> Callable[[str], bytes]:
    """What gets imported documents by URL: those that the settings allow, and nothing else."""
    chosen = settings.orchestrator.imports

    @functools.cache  # reading certificates takes longer than most documents
    def web() -> HttpFilesystem:
        permit = imports.AllowList(chosen.allow).permit
        return HttpFilesystem(permit=permit, public_only=not chosen.private_addresses)

    return lambda url: web().read(url, imports.LARGEST_SOURCE_BYTES)


def load_bundle(files: Mapping[str, str]) -> document.Document:
    """A document from a bundle as the store keeps it: the entry "" names the main file."""
    return load(_bundle(files))


def load_checked(files: Mapping[str, str]) -> document.Document:
    """The same for servers: what strangers wrote is first loaded in a process of its own."""
    bundle = _bundle(files)
    if bundle.digest not in _documents:
        loading.check(bundle)
    return load(bundle)


def _bundle(files: Mapping[str, str]) -> Bundle:
    sources = dict(files)
    return Bundle(main=sources.pop(""), files=sources)


def load(bundle: Bundle, *, strict: bool = False) -> document.Document:
    """A document; the same bundle is parsed once in a process: documents never change."""
    with _loading:
        if strict or bundle.digest not in _documents:
            while len(_documents) >= _DOCUMENTS_KEPT:
                del _documents[next(iter(_documents))]
            _documents[bundle.digest] = loading.bounded(bundle, strict=strict)
        return _documents[bundle.digest]
