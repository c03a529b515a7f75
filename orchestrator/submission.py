"""A workflow comes in: inputs bound, files checked, local ones uploaded, one row written.

Everything that is wrong is found here, before anything is submitted, and all of it at once.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from orchestrator import errors
from orchestrator.assembly import Assembly
from orchestrator.model.records import WorkflowRecord
from orchestrator.model.states import WorkflowState
from orchestrator.wdl import inputs as wdl_inputs
from orchestrator.wdl.document import Document

_WORKERS = 16


def submit(
    assembly: Assembly,
    document: Document,
    *,
    input_files: Sequence[tuple[Path, Mapping[str, Any]]],
    assignments: Sequence[str],
    options: Mapping[str, Any],
    labels: Mapping[str, Any],
    say: Callable[[str], None],
) -> str:
    """Create the workflow; the answer is its id.

    `input_files` are (path, content) in order, a later one wins; `assignments` are `key=value` and
    win over all. A relative path among the inputs is looked for from the current directory, then
    from the directory of the file that names it.
    """
    values: dict[str, Any] = {}
    bases = [Path.cwd()]
    for path, content in input_files:
        values.update(content)
        bases.append(path.resolve().parent)
    values.update(wdl_inputs.parse_assignments(document, assignments))
    _check_options(options)
    _check_labels(labels)
    bound = wdl_inputs.bind(document, values)
    bound = bound.with_files(_absolute(bound, bases))
    _check_files(assembly, bound)
    bound = bound.with_files(_upload(assembly, bound, say))
    assembly.store.put_bundle(
        document.bundle.digest, {"": document.bundle.main, **document.bundle.files}
    )
    root_id = str(uuid.uuid4())
    assembly.store.create(
        WorkflowRecord(
            id=root_id,
            root_id=root_id,
            name=document.workflow_name,
            state=WorkflowState.SUBMITTED,
            bundle=document.bundle.digest,
            inputs=json.dumps(bound.json, separators=(",", ":")),
            options=json.dumps(options),
            labels=json.dumps(dict(labels)),
            directory=f"{document.workflow_name}/{root_id}",
            backend=_backend(assembly, options),
            submitted_at=time.time(),
        )
    )
    return root_id


def _backend(assembly: Assembly, options: Mapping[str, Any]) -> str:
    name = str(options.get("backend") or assembly.default_backend)
    if name not in assembly.backends:
        raise errors.InvalidOptions(
            f"option backend names {name!r}, which is not configured",
            hint=f"configured: {', '.join(sorted(assembly.backends))}",
        )
    return name


def _check_options(options: Mapping[str, Any]) -> None:
    mode = options.get("workflow_failure_mode", "NoNewCalls")
    findings = []
    if mode not in ("NoNewCalls", "ContinueWhilePossible"):
        findings.append(
            errors.Finding(
                f"workflow_failure_mode is {mode!r}", hint="NoNewCalls or ContinueWhilePossible"
            )
        )
    if not isinstance(options.get("default_runtime_attributes", {}), dict):
        findings.append(errors.Finding("default_runtime_attributes is not an object"))
    if findings:
        raise errors.InvalidOptions("the workflow options cannot be used", findings=findings)


def _check_labels(labels: Mapping[str, Any]) -> None:
    wrong = [
        errors.Finding(f"label {key!r}: key and value are strings of at most 255 characters")
        for key, value in labels.items()
        if not isinstance(value, str) or not 0 < len(key) <= 255 or len(value) > 255
    ]
    if wrong:
        raise errors.InvalidOptions("the labels cannot be used", findings=wrong)


def _absolute(bound: wdl_inputs.Inputs, bases: Sequence[Path]) -> dict[str, str]:
    """Relative local paths -> absolute ones, from the first base where there is something."""
    absolute = {}
    for _, value, _ in bound.files:
        if "://" in value or value.startswith("/"):
            continue
        places = [base / value for base in bases]
        found = next((place for place in places if place.exists()), places[0])
        absolute[value] = str(found.resolve())
    return absolute


def _check_files(assembly: Assembly, bound: wdl_inputs.Inputs) -> None:
    def look(item: tuple[str, str, bool]) -> errors.Finding | None:
        name, uri, directory = item
        try:
            if directory:
                if next(iter(assembly.filesystems.of(uri).list(uri)), None) is None:
                    return errors.Finding(f"input {name}: there is nothing below {uri}")
            else:
                assembly.filesystems.of(uri).stat(uri)
        except errors.OrchestratorError as error:
            if error.exit_code in (errors.EnvironmentProblem.exit_code, errors.TryLater.exit_code):
                raise
            return errors.Finding(f"input {name}: {error.message}", hint=error.hint)
        return None

    with ThreadPoolExecutor(_WORKERS) as pool:
        findings = [finding for finding in pool.map(look, bound.files) if finding]
    if findings:
        raise errors.InvalidInputs("input files are missing", findings=findings)


def _upload(
    assembly: Assembly, bound: wdl_inputs.Inputs, say: Callable[[str], None]
) -> dict[str, str]:
    """Local files -> URIs below the backend's root, for a backend that works on S3.

    `<root>/inputs/<digest>/<name>`: files of one directory stay together (an index beside its
    data), and the digest is of their contents, so that the same files are uploaded once.
    """
    if not assembly.upload_root:
        return {}
    folders: dict[str, set[Path]] = {}
    whole: dict[str, Path] = {}  # Directory inputs
    for _, value, directory in bound.files:
        if "://" in value:
            continue
        if directory:
            whole[value] = Path(value)
        else:
            folders.setdefault(str(Path(value).parent), set()).add(Path(value))
    moved: dict[str, str] = {}
    todo: list[tuple[Path, str]] = []
    for paths in folders.values():
        base = f"{assembly.upload_root}/{_digest({p.name: p for p in paths})}"
        for path in paths:
            moved[str(path)] = f"{base}/{path.name}"
            todo.append((path, moved[str(path)]))
    for value, top in whole.items():
        files = {str(p.relative_to(top)): p for p in sorted(top.rglob("*")) if p.is_file()}
        moved[value] = f"{assembly.upload_root}/{_digest(files)}/{top.name}"
        todo += [(path, f"{moved[value]}/{name}") for name, path in files.items()]
    if todo:
        say(f"uploading {len(todo)} input files to {assembly.upload_root}")

    def send(item: tuple[Path, str]) -> None:
        path, uri = item
        filesystem = assembly.filesystems.of(uri)
        try:
            if filesystem.stat(uri).size == path.stat().st_size:
                return  # content-addressed: the same
        except errors.NotFound:
            pass
        filesystem.upload(str(path), uri)

    with ThreadPoolExecutor(_WORKERS) as pool:
        list(pool.map(send, todo))
    return moved


def _digest(files: Mapping[str, Path]) -> str:
    total = hashlib.sha256()
    for name in sorted(files):
        with files[name].open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        total.update(f"{name}\0{digest}\0".encode())
    return total.hexdigest()[:32]
