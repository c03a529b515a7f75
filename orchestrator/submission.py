"""A workflow comes in: inputs bound, files checked, local ones uploaded, one row written.

Everything that is wrong is found here, before anything is submitted, and all of it at once.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from orchestrator import errors
from orchestrator.assembly import LEASE_SECONDS, Assembly
from orchestrator.filesystems.local import identity
from orchestrator.model import options as workflow_options
from orchestrator.model import runtime
from orchestrator.model.attempt import below
from orchestrator.model.options import Allowed, WorkflowOptions
from orchestrator.model.records import WorkflowRecord
from orchestrator.model.states import WorkflowState
from orchestrator.wdl import attributes
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
    places: Mapping[str, errors.Place] | None = None,
    hold: bool = False,
    owner: str | None = None,
) -> str:
    """Create the workflow, on hold if that is asked for; the answer is its id. An `owner` runs it
    itself: it has the lease from the first moment.

    `input_files` are (path, content) in order, a later one wins; `assignments` are `key=value` and
    win over all. `places`: where inputs stand in their files. A relative path among the inputs is
    looked for from the current directory, then from the directory of the file that names it.
    """
    values: dict[str, Any] = {}
    bases = [Path.cwd()]
    for path, content in input_files:
        values = wdl_inputs.merged(document, values, content)
        bases.append(path.resolve().parent)
    assigned = wdl_inputs.parse_assignments(document, assignments)
    values = wdl_inputs.merged(document, values, assigned)
    places = {key: place for key, place in (places or {}).items() if key not in assigned}
    options, read = _read_options(assembly, options)
    _check_labels(labels)
    backend = _backend(assembly, read)
    allowed = assembly.allowed.get(backend, Allowed())
    wrong, advice = allowed.check(read)
    if wrong:
        raise errors.InvalidOptions("the workflow options cannot be used", findings=wrong)
    if read.delete_intermediate_output_files and not assembly.deletes_files:
        del options["delete_intermediate_output_files"]  # kept, it would delete
        advice.append(
            errors.Finding(
                "the workflow option delete_intermediate_output_files has no effect",
                hint="set system.delete-workflow-files = true in the configuration",
            )
        )
    for warning in (*read.warnings, *advice, *_check_attributes(document)):
        say(f"warning: {warning}")
    bound = wdl_inputs.bind(document, values, places)
    _check_overrides(document, bound)
    bound = bound.with_files(_absolute(bound, bases))
    _check_files(assembly, bound)
    if upload_root := assembly.upload_roots.get(backend):
        bound = bound.with_files(_upload(assembly, upload_root, bound, say))
    assembly.store.put_bundle(
        document.bundle.digest, {"": document.bundle.main, **document.bundle.files}
    )
    root_id = str(uuid.uuid4())
    directory = f"{document.workflow_name}/{root_id}"
    root = read.aws_s3_root if allowed.roots is not None else ""
    assembly.store.create(
        WorkflowRecord(
            id=root_id,
            root_id=root_id,
            name=document.workflow_name,
            state=WorkflowState.ON_HOLD if hold else WorkflowState.SUBMITTED,
            bundle=document.bundle.digest,
            inputs=json.dumps(bound.json, separators=(",", ":")),
            options=json.dumps(options),
            labels=json.dumps(dict(labels)),
            directory=below(root, directory) if root else directory,
            backend=backend,
            submitted_at=time.time(),
        ),
        owner,
        LEASE_SECONDS,
    )
    return root_id


def _read_options(
    assembly: Assembly, given: Mapping[str, Any]
) -> tuple[dict[str, Any], WorkflowOptions]:
    """The options over the configuration's, as they are kept, and what they say."""
    options = {**assembly.default_options, **given}
    for name in workflow_options.DIRECTORIES:
        value = options.get(name)
        if isinstance(value, str) and value and "://" not in value:
            options[name] = os.path.abspath(value)  # noqa: PTH100 - resolve() follows links
    return options, workflow_options.parse(options, hog_group_option=assembly.hog_group_option)


def _backend(assembly: Assembly, options: WorkflowOptions) -> str:
    name = options.backend or assembly.default_backend
    if name not in assembly.backends:
        raise errors.InvalidOptions(
            f"option backend names {name!r}, which is not configured",
            hint=f"configured: {', '.join(sorted(assembly.backends))}",
        )
    return name


def _check_attributes(document: Document) -> list[errors.Finding]:
    """Warnings about runtime attributes. Raises InvalidRuntimeAttribute for wrong literals."""
    wrong, advice = attributes.check(document)
    if wrong:
        raise errors.InvalidRuntimeAttribute("runtime attributes are not valid", findings=wrong)
    return advice


def _check_overrides(document: Document, bound: wdl_inputs.Inputs) -> None:
    """Runtime attributes that the inputs override."""
    findings = []
    for key, value in bound.json.items():
        call, _, name = key.rpartition(".")
        call, _, section = call.rpartition(".")
        if section not in ("runtime", "requirements", "hints"):
            continue
        if call.removeprefix(f"{document.workflow_name}.") in document.task_calls:
            for _, finding in runtime.check({name: value}):
                findings.append(errors.Finding(f"input {key}: {finding.message}"))
    if findings:
        raise errors.InvalidRuntimeAttribute("runtime attributes are not valid", findings=findings)


def _check_labels(labels: Mapping[str, Any]) -> None:
    wrong = [
        errors.Finding(f"label {key!r}: key and value are strings of at most 255 characters")
        for key, value in labels.items()
        if not isinstance(value, str) or not 0 < len(key) <= 255 or len(value) > 255
    ]
    if wrong:
        raise errors.InvalidOptions("the labels cannot be used", findings=wrong)


def _absolute(bound: wdl_inputs.Inputs, bases: Sequence[Path]) -> dict[str, str]:
    """Local paths and `file://` URIs -> absolute paths; a relative one is taken from the first base
    where there is something. Links keep their names: a tool finds an index by its file's."""
    absolute = {}
    for _, value, _ in bound.files:
        path = value
        if value.startswith("file:///"):
            path = unquote(value.removeprefix("file://"))
        elif "://" in value:
            continue
        places = [base / path for base in bases]
        found = next((place for place in places if os.path.lexists(place)), places[0])
        absolute[value] = os.path.abspath(found)  # noqa: PTH100 - resolve() follows links
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
    assembly: Assembly, root: str, bound: wdl_inputs.Inputs, say: Callable[[str], None]
) -> dict[str, str]:
    """Local files -> URIs below the backend's root, for a backend that works on S3.

    `<root>/<digest>/<name>`: files of one directory stay together (an index beside its data), and
    the digest is of their contents, so that the same files are uploaded once.
    """
    groups: dict[str, dict[str, Path]] = {}  # what stays together: name -> file
    group_of: dict[str, str] = {}
    for _, value, directory in bound.files:
        if "://" in value:
            continue
        path = Path(value)
        group_of[value] = f"{path}/" if directory else str(path.parent)
        files = _files_below(assembly, path) if directory else {path.name: path}
        groups.setdefault(group_of[value], {}).update(files)
    seen = {path: _identity(path) for files in groups.values() for path in files.values()}
    bases = {key: f"{root}/{_digest(files)}" for key, files in groups.items()}
    todo = {f"{bases[key]}/{name}": path for key in groups for name, path in groups[key].items()}
    if todo:
        say(f"uploading {len(todo)} input files to {root}")

    def send(item: tuple[str, Path]) -> None:
        uri, path = item
        filesystem = assembly.filesystems.of(uri)
        try:
            if filesystem.stat(uri).size == path.stat().st_size:
                return  # content-addressed: the same
        except errors.NotFound:
            pass
        filesystem.upload(str(path), uri)
        if _identity(path) != seen[path]:
            filesystem.delete([uri])  # its name promises another content
            raise errors.InvalidInputs(f"{path} changed while it was being uploaded")

    with ThreadPoolExecutor(_WORKERS) as pool:
        list(pool.map(send, todo.items()))
    return {value: f"{bases[key]}/{Path(value).name}" for value, key in group_of.items()}


def _files_below(assembly: Assembly, top: Path) -> dict[str, Path]:
    """Everything in a directory, by names that begin with the directory's own."""
    stats = assembly.filesystems.of(str(top)).list(str(top))
    return {
        str(Path(top.name, path.relative_to(top))): path
        for path in (Path(stat.uri) for stat in stats)
    }


def _identity(path: Path) -> str:
    try:
        return identity(path.stat())
    except OSError as error:
        raise errors.InvalidInputs(f"{path} cannot be read: {error.strerror}") from None


def _digest(files: Mapping[str, Path]) -> str:
    total = hashlib.sha256()
    for name in sorted(files):
        try:
            with files[name].open("rb") as content:
                digest = hashlib.file_digest(content, "sha256").hexdigest()
        except OSError as error:
            raise errors.InvalidInputs(f"{files[name]} cannot be read: {error.strerror}") from None
        total.update(f"{name}\0{digest}\0".encode(errors="surrogateescape"))
    return total.hexdigest()[:32]
