"""A workflow handed in without the checks of a door, which tests of the engine need not repeat."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from typing import Any

from orchestrator.model.records import WorkflowRecord
from orchestrator.model.states import WorkflowState
from orchestrator.store.base import Store
from orchestrator.wdl import document, inputs
from orchestrator.wdl.bundle import Bundle
from orchestrator.wdl.document import Document

Source = str | Mapping[str, str]  # of one document, or by file, `main.wdl` among them


def loaded(source: Source) -> Document:
    """The document."""
    files = {"main.wdl": source} if isinstance(source, str) else dict(source)
    return document.load(Bundle("main.wdl", files))


def submit(
    store: Store,
    source: Source | Document,
    values: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    root_id: str | None = None,
) -> str:
    """A new workflow; its id."""
    read = source if isinstance(source, Document) else loaded(source)
    root_id = root_id or str(uuid.uuid4())
    store.put_bundle(read.bundle.digest, {"": read.bundle.main, **read.bundle.files})
    store.create(
        WorkflowRecord(
            id=root_id,
            root_id=root_id,
            name=read.workflow_name,
            state=WorkflowState.SUBMITTED,
            bundle=read.bundle.digest,
            inputs=json.dumps(inputs.bind(read, values or {}).json),
            options=json.dumps(options or {}),
            directory=f"{read.workflow_name}/{root_id}",
            submitted_at=time.time(),
        )
    )
    return root_id
