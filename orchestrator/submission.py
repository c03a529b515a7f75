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
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from orchestrator import errors
from orchestrator.assembly import LEASE_SECONDS, Assembly
from orchestrator.filesystems.local import identity
from orchestrator.model import options as workflow_options
from orchestrator.model import runtime
from orchestrator.model.attempt import below
from orchestrator.model.options import Allowed
from orchestrator.model.records import WorkflowRecord
from orchestrator.model.states import WorkflowState
from orchestrator.wdl import attributes
from orchestrator.wdl import inputs as wdl_inputs
from orchestrator.wdl.document import Document
from orchestrator.wdl.input_files import Given

_WORKERS = 16


def submit(
    assembly: Assembly,
    document: Document,
    *,
    input_files: Sequence[tuple[Path, Given]] = (),
    assignments: Sequence[str] = (),
    options: Given | None = None,
    labels: Given | None = None,
    say: Callable[[str], None] = lambda text: None,
    warn: Callable[[errors.Finding], None] = lambda finding: None,
    hold: bool = False,
    owner: str | None = None,
) -> str:
    """Create the workflow, on hold if that is asked for; the answer is its id. An `owner` runs it
    itself: it has the lease from the first moment.

    `input_files` are (path, content) in order, a later one wins; `assignments` are `key=value` and
    win over all. A relative path among the inputs is looked for from the current directory, then
    from the directory of the file that names it. `say` is told what is done, `warn` what is odd.
    Raises Invalid for all that is wrong with any of it, at once.
    """
    options, labels = options or Given({}), labels or Given({})
    defects = errors.Defects()
    with defects.noted():
        _check_labels(labels)
    settled = None
    warnings: list[errors.Finding] = []
    with defects.noted():
        settled = _settle(assembly, options)
        warnings += settled.warnings
    with defects.noted():
        warnings += _check_attributes(document)
    bound, wrong = _bind(assembly, document, input_files, assignments)
    with defects.noted():
        wdl_inputs.refuse(document, wrong)
    with defects.noted():
        warnings += _check_overrides(document, bound)
    for warning in warnings:
        warn(warning)
    defects.tell(f"workflow {document.workflow_name} cannot be handed in like this")
    assert settled is not None
    if upload_root := assembly.upload_roots.get(settled.backend):
        bound = bound.with_files(_upload(assembly, upload_root, bound, say))
    assembly.store.put_bundle(
        document.bundle.digest, {"": document.bundle.main, **document.bundle.files}
    )
    root_id = str(uuid.uuid4())
    directory = f"{document.workflow_name}/{root_id}"
    assembly.store.create(
        WorkflowRecord(
            id=root_id,
            root_id=root_id,
            name=document.workflow_name,
            state=WorkflowState.ON_HOLD if hold else WorkflowState.SUBMITTED,
            bundle=document.bundle.digest,
            inputs=json.dumps(bound.json, separators=(",", ":")),
            options=json.dumps(settled.options),
            labels=json.dumps(labels.values),
            directory=below(settled.root, directory) if settled.root else directory,
            backend=settled.backend,
            submitted_at=time.time(),
        ),
        owner,
        LEASE_SECONDS,
    )
    return root_id


@dataclass(frozen=True, slots=True)
class _Settled:
    """What the options come to. `options` as they are kept; `root`: of the workflow's own."""

    backend: str
    options: dict[str, Any]
    root: str
    warnings: list[errors.Finding]


def _settle(assembly: Assembly, given: Given) -> _Settled:
    """The options over the configuration's. Raises InvalidOptions."""
    options = {**assembly.default_options, **given.values}
    for name in workflow_options.DIRECTORIES:
        value = options.get(name)
        if isinstance(value, str) and value and "://" not in value:
            options[name] = os.path.abspath(value)  # noqa: PTH100 - resolve() follows links
    places = given.places
    read = workflow_options.parse(
        options, hog_group_option=assembly.hog_group_option, places=places
    )
    backend = read.backend or assembly.default_backend
    if backend not in assembly.backends:
        raise errors.InvalidOptions(
            f"option backend names {backend!r}, which is not configured",
            place=places.get("backend"),
            hint=f"configured: {', '.join(sorted(assembly.backends))}",
        )
    allowed = assembly.allowed.get(backend, Allowed())
    wrong, advice = allowed.check(read, places)
    if wrong:
        raise errors.InvalidOptions("the workflow options cannot be used", findings=wrong)
    if read.delete_intermediate_output_files and not assembly.deletes_files:
        name = "delete_intermediate_output_files"
        del options[name]  # kept, it would delete
        advice.append(
            errors.Finding(
                f"the workflow option {name} has no effect",
                places.get(name),
                "set system.delete-workflow-files = true in the configuration",
            )
        )
    root = read.aws_s3_root if allowed.roots is not None else ""
    return _Settled(backend, options, root, [*read.warnings, *advice])


def _check_attributes(document: Document) -> list[errors.Finding]:
    """Warnings about runtime attributes. Raises InvalidRuntimeAttribute for wrong literals."""
    wrong, advice = attributes.check(document)
    if wrong:
        raise errors.InvalidRuntimeAttribute("runtime attributes are not valid", findings=wrong)
    return advice


def _check_overrides(document: Document, bound: wdl_inputs.Inputs) -> list[errors.Finding]:
    """Warnings about runtime attributes that the inputs override. Raises InvalidRuntimeAttribute
    for wrong ones."""
    wrong, advice = [], []
    for key, value in bound.json.items():
        call, _, name = key.rpartition(".")
        call, _, section = call.rpartition(".")
        if section not in ("runtime", "requirements", "hints"):
            continue
        if call.removeprefix(f"{document.workflow_name}.") in document.task_calls:
            place = bound.places.get(key)
            for _, finding in runtime.check({name: value}):
                wrong.append(errors.Finding(f"input {key}: {finding.message}", place, finding.hint))
            for _, what in runtime.advice([name]):
                advice.append(errors.Finding(f"input {key}: {what}", place))
    if wrong:
        raise errors.InvalidRuntimeAttribute("runtime attributes are not valid", findings=wrong)
    return advice


def _bind(
    assembly: Assembly,
    document: Document,
    input_files: Sequence[tuple[Path, Given]],
    assignments: Sequence[str],
) -> tuple[wdl_inputs.Inputs, list[errors.Finding]]:
    """The inputs that fit the document, with whole paths, and what is wrong with all others."""
    values: dict[str, Any] = {}
    places: dict[str, errors.Place] = {}
    bases = [Path.cwd()]
    for path, given in input_files:
        values = wdl_inputs.merged(document, values, given.values)
        places |= given.places
        bases.append(path.resolve().parent)
    assigned = wdl_inputs.parse_assignments(document, assignments)
    values = wdl_inputs.merged(document, values, assigned.values)
    places = {key: place for key, place in places.items() if key not in assigned.values}
    bound, wrong = wdl_inputs.check(document, values, places, assigned.unread)
    bound = bound.with_files(_absolute(bound, bases))
    return bound, [*assigned.findings, *wrong, *_missing_files(assembly, bound)]


def _check_labels(labels: Given) -> None:
    wrong = [
        errors.Finding(
            f"label {key!r}: key and value are strings of at most 255 characters",
            labels.places.get(key),
        )
        for key, value in labels.values.items()
        if not isinstance(value, str)
        or not 0 < len(key) <= 255
        or len(value) > 255
        or not workflow_options.is_unicode(key + value)
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


def _missing_files(assembly: Assembly, bound: wdl_inputs.Inputs) -> list[errors.Finding]:
    """Files that are not there, or cannot be used."""

    def look(item: tuple[str, str, bool]) -> errors.Finding | None:
        name, uri, directory = item
        place = bound.places.get(name)
        try:
            if directory:
                if next(iter(assembly.filesystems.of(uri).list(uri)), None) is None:
                    return errors.Finding(f"input {name}: there is nothing below {uri}", place)
            else:
                assembly.filesystems.of(uri).stat(uri)
        except errors.OrchestratorError as error:
            if error.exit_code in (errors.EnvironmentProblem.exit_code, errors.TryLater.exit_code):
                told = f"input {name}: {error.message}"
                raise type(error)(told, place=place, hint=error.hint) from None
            return errors.Finding(f"input {name}: {error.message}", place, error.hint)
        return None

    with ThreadPoolExecutor(_WORKERS) as pool:
        return [finding for finding in pool.map(look, bound.files) if finding]


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
