"""What an engine's process does; loaded once, before it is forked."""

from __future__ import annotations

import gc
import signal
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import boto3

from orchestrator import errors
from orchestrator.assembly import Assembly
from orchestrator.backends.aws_batch import AwsBatchBackend, Clients, Settings
from orchestrator.backends.base import Backend
from orchestrator.backends.local.backend import LocalBackend
from orchestrator.deployment import Deployment
from orchestrator.engine import faultpoints
from orchestrator.engine.coordinator import EngineSettings
from orchestrator.engine.jobs import RunSettings
from orchestrator.engine.retry import RetryPolicy
from orchestrator.engine.tenure import Tenure, this_process
from orchestrator.filesystems.base import Filesystems
from orchestrator.filesystems.local import LocalFilesystem
from orchestrator.filesystems.s3 import S3Filesystem
from orchestrator.model.states import WorkflowState
from orchestrator.store import migrations  # noqa: F401 - loaded before the fork
from orchestrator.store.base import Lease
from orchestrator.store.sql import SqlStore

if TYPE_CHECKING:
    from tests.crash.engines import Setup

gc.freeze()


@dataclass(frozen=True)
class Cloud:
    """AWS on this machine."""

    endpoint: str
    deployment: Deployment


def run(setup: Setup, root_id: str | None, fault: str | None) -> int:
    """The exit code: 0 when the workflow has succeeded, or the engine was told to stop."""
    faultpoints.arm(fault)
    made = assembled(setup)
    engine = made.engine(setup.capacity)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    engine.start()
    if root_id is None:
        stop.wait()
        state = WorkflowState.SUCCEEDED
    else:
        at = Tenure.now()
        engine.adopt(_claimed(made, root_id), at)
        record = engine.wait(root_id)
        assert record is not None
        print(record.state, record.failures or "")
        state = record.state
    engine.stop()
    made.close()
    return 0 if state is WorkflowState.SUCCEEDED else 1


def _claimed(made: Assembly, root_id: str) -> Lease:
    """As somebody does who is told that the database is away: again, until it is there."""
    while True:
        try:
            return made.claim(root_id)
        except errors.StoreUnavailable as error:
            print(error)


def assembled(setup: Setup) -> Assembly:
    """As `assembly.assemble`, with short times."""
    backend: Backend
    if setup.cloud is None:
        backend = LocalBackend(
            Path(setup.root), containers="none", **({"cores": 64.0} | dict(setup.settings))
        )
        filesystems = Filesystems(LocalFilesystem())
    else:
        session = boto3.Session(
            aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1"
        )
        clients = Clients("us-east-1", session=session, endpoint_url=setup.cloud.endpoint)
        quick = {
            "first_interval_seconds": 0.2,
            "array_first_interval_seconds": 0.4,
            "second_look_seconds": 0.2,
            "settle_seconds": 8.0,
        }
        backend = AwsBatchBackend(
            setup.cloud.deployment, clients, Settings(**(quick | dict(setup.settings)))
        )
        s3 = session.client("s3", endpoint_url=setup.cloud.endpoint)
        filesystems = Filesystems(LocalFilesystem(), S3Filesystem(s3))
    return Assembly(
        store=SqlStore(setup.url, busy_seconds=setup.busy_seconds),
        backends={backend.name: backend},
        filesystems=filesystems,
        default_backend=backend.name,
        upload_roots={},
        _engine_settings=EngineSettings(
            default_backend=backend.name,
            runs={
                backend.name: RunSettings(
                    root=setup.root,
                    retry=RetryPolicy(first_delay_seconds=0.1, longest_delay_seconds=1.0),
                    default_runtime_attributes={"docker": "debian:12"},
                )
            },
            owner=setup.owner or this_process(),
            lease_seconds=setup.lease_seconds,
            capacity=setup.capacity,
            claim_poll_seconds=0.2,
            command_poll_seconds=0.2,
        ),
    )
