"""Reads what the wrapper wrote. Jobs are untrusted: a manifest may be forged by the command.

So everything is bounded, a URI is accepted only below the attempt's own places or as one of its
inputs (else a job could make the orchestrator read what the job itself may not), and a manifest
that breaks a rule is refused as a whole.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from orchestrator.backends.wrapper.plan import READ_LIMIT_BYTES
from orchestrator.model.failures import Failure, FailureCode
from orchestrator.model.job import InputFile
from orchestrator.model.manifest import Manifest, OutputFile, Phase

LIMIT_BYTES = 32 * 1024 * 1024
TAIL_LIMIT_BYTES = 4096

_WRAPPER_CODES = frozenset(
    {
        FailureCode.ABORTED,
        FailureCode.CONTAINER_START_FAILED,
        FailureCode.DELOCALIZATION_FAILED,
        FailureCode.DISK_FULL,
        FailureCode.INPUT_CHANGED,
        FailureCode.LOCALIZATION_FAILED,
        FailureCode.OUTPUT_REFUSED,
        FailureCode.OUT_OF_MEMORY,
    }
)


class ManifestRejected(ValueError):
    """The manifest is not one that the wrapper writes for this attempt."""


def _no_parents(path: str) -> str:
    if ".." in path.split("/") or "\0" in path:
        raise ValueError("a path with ..")
    return path


def _moment(text: str) -> str:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None or moment.timestamp() < 0:
        raise ValueError("a time without its zone, or before there were computers")
    return text


_Path = Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(_no_parents)]
_Pattern = Annotated[str, Field(min_length=1, max_length=4096)]
_Size = Annotated[int, Field(ge=0, le=2**63 - 1)]
_Time = Annotated[float, Field(ge=0, le=1e11, allow_inf_nan=False)]
_Moment = Annotated[str, Field(max_length=64), AfterValidator(_moment)]
_Text = Annotated[str, Field(max_length=READ_LIMIT_BYTES * 2)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _File(_Part):
    path: _Path
    uri: _Path
    size: _Size


class _Phase(_Part):
    name: Annotated[str, Field(max_length=32)]
    started_at: _Time
    ended_at: _Time


class _Failure(_Part):
    code: FailureCode
    base64: _Text


class _Content(_Part):
    path: _Path
    base64: _Text


class _Listed(BaseModel):
    """A line of `s5cmd --json ls`."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    key: Annotated[str, Field(max_length=4096)]
    etag: Annotated[str, Field(max_length=256)] = ""
    size: _Size = 0


class _Document(_Part):
    version: Literal[1]
    submission_id: Annotated[str, Field(max_length=64)]
    attempt: Annotated[str, Field(max_length=64)]
    job_id: Annotated[str, Field(max_length=128)]
    return_code: Annotated[int, Field(ge=0, le=255)] | None
    peak_memory_bytes: _Size | None
    peak_disk_bytes: _Size | None = None
    stdout: _File
    stderr: _File
    phases: Annotated[tuple[_Phase, ...], Field(max_length=16)]
    pull: tuple[_Moment, _Moment] | None = None  # the image's, as the ECS agent tells it
    failure: _Failure | None = None
    stderr_tail: _Text = ""
    listing: tuple[_Listed, ...] = ()
    contents: tuple[_Content, ...] = ()
    files: tuple[_File, ...] = ()
    directories: tuple[_Path, ...] = ()
    globs: tuple[tuple[_Pattern, tuple[_Path, ...]], ...] = ()


def parse(
    data: bytes,
    *,
    kept_below: Sequence[str],
    inputs: Callable[[], Iterable[InputFile]] = tuple,
) -> Manifest:
    """The manifest from its bytes.

    `kept_below` are the URIs (or local directories) that the attempt's files may lie below.
    `inputs` gives the attempt's inputs; it is asked only when a file lies elsewhere.
    Raises ManifestRejected. Whose manifest it is (`Manifest.belongs_to`) is for the caller to ask.
    """
    if len(data) > LIMIT_BYTES:
        raise ManifestRejected(f"the manifest has {len(data)} bytes, more than {LIMIT_BYTES}")
    failure: Failure | None = None
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = data.decode(errors="replace")
        failure = Failure(FailureCode.OUTPUT_REFUSED, "the name of an output is not valid UTF-8")
    try:
        document = _Document.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ManifestRejected(f"the manifest is not valid: {place}: {first['msg']}") from None
    if document.failure is not None:
        if document.failure.code not in _WRAPPER_CODES:
            raise ManifestRejected(f"the wrapper never reports {document.failure.code}")
        failure = Failure(
            document.failure.code, _decode(document.failure.base64).decode(errors="replace")
        )
    _check_uris(document, tuple(kept_below), inputs)
    return _manifest(document, failure)


def _manifest(document: _Document, failure: Failure | None) -> Manifest:
    etags = {item.key: item for item in document.listing}
    contents = {item.path: _decode(item.base64) for item in document.contents}

    def output(file: _File) -> OutputFile:
        listed = etags.get(file.uri)
        content = contents.get(file.path)
        if content is not None and len(content) > READ_LIMIT_BYTES:
            content = None
        return OutputFile(
            path=file.path,
            uri=file.uri,
            size=file.size,
            etag=(listed.etag or None) if listed and listed.size == file.size else None,
            content=b"" if file.size == 0 else content,
        )

    files: Mapping[str, OutputFile] = {file.path: output(file) for file in document.files}
    for file in document.files:
        listed = etags.get(file.uri)
        if failure is None and listed is not None and listed.size != file.size:
            failure = Failure(
                FailureCode.DELOCALIZATION_FAILED,
                f"the output {file.path} has {file.size} bytes, but {file.uri} has {listed.size}",
            )
    return Manifest(
        submission_id=document.submission_id,
        attempt=document.attempt,
        job_id=document.job_id,
        return_code=document.return_code,
        stdout=output(document.stdout),
        stderr=output(document.stderr),
        files=files,
        directories=document.directories,
        globs=dict(document.globs),
        phases=tuple(_phases(document)),
        failure=failure,
        stderr_tail=_decode(document.stderr_tail)[-TAIL_LIMIT_BYTES:].decode(errors="replace"),
        peak_memory_bytes=document.peak_memory_bytes,
        peak_disk_bytes=document.peak_disk_bytes,
    )


def _phases(document: _Document) -> Iterator[Phase]:
    if document.pull is not None:
        begun, ended = (datetime.fromisoformat(moment).timestamp() for moment in document.pull)
        yield Phase("pull", begun, ended)
    for phase in document.phases:
        yield Phase(phase.name, phase.started_at, phase.ended_at)


def _check_uris(
    document: _Document,
    kept_below: tuple[str, ...],
    inputs: Callable[[], Iterable[InputFile]],
) -> None:
    below = tuple(place.rstrip("/") + "/" for place in kept_below)
    foreign = {
        file.uri
        for file in (document.stdout, document.stderr, *document.files)
        if not file.uri.startswith(below)
    }
    if not foreign:
        return
    known = list(inputs())
    files = {item.uri for item in known}
    directories = tuple(item.uri.rstrip("/") + "/" for item in known if item.directory)
    for uri in sorted(foreign):
        if uri not in files and not (directories and uri.startswith(directories)):
            raise ManifestRejected(
                f"the manifest claims {uri}, which is neither below {below[0]} nor an input"
            )


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ManifestRejected("the manifest holds something that is not base64") from None
