"""Copies of a workflow's outputs, in a directory of this machine."""

from __future__ import annotations

import itertools
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

from orchestrator import errors
from orchestrator.filesystems.base import Filesystem, Filesystems
from orchestrator.model.records import WorkflowRecord
from orchestrator.wdl.document import Document

_COPYING = 16  # at once


def copy(workflow: WorkflowRecord, typed: Document, filesystems: Filesystems, target: Path) -> Path:
    """Copy output files, directories, and `outputs.json` with the new paths, to a directory.

    Each keeps the end of its path that tells it apart: `<name>`, else `<directory>/<name>`. `typed`
    is the workflow's document: it says what of the outputs are files.
    """
    target = target.resolve()
    values = json.loads(workflow.outputs or "{}")
    found: dict[str, bool] = {}

    def note(uri: str, directory: bool) -> str:
        if uri.startswith("/") or "://" in uri:
            found[uri] = directory
        return uri

    typed.with_output_files(values, note)
    places = Places(target)
    moved = {uri: places.take(uri) for uri in found}
    with ThreadPoolExecutor(_COPYING) as pool:
        work = [
            pool.submit(_copy, filesystems.of(uri), uri, found[uri], path)
            for uri, path in moved.items()
        ]
        for future in work:
            future.result()
    new = typed.with_output_files(values, lambda uri, _: str(moved.get(uri, uri)))
    try:
        target.mkdir(parents=True, exist_ok=True)
        text = json.dumps(new, indent=2) + "\n"
        (target / "outputs.json").write_text(text, encoding="utf-8")
    except OSError as error:
        raise errors.NotAllowed(f"{target} cannot be written: {error.strerror}") from None
    return target


def _copy(filesystem: Filesystem, uri: str, directory: bool, place: Path) -> None:
    if not directory:
        filesystem.download(uri, str(place))
        return
    base = uri.rstrip("/") + "/"
    for stat in filesystem.list(uri):
        below = PurePosixPath(stat.uri.removeprefix(base))
        if below.is_absolute() or ".." in below.parts:
            raise errors.NotAllowed(f"{stat.uri} would be kept outside of {place}")
        filesystem.download(stat.uri, str(place / below))


class Places:
    """Where copies go in a directory: each path once, and no file where a directory has to be."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._taken = {PurePosixPath("outputs.json")}
        self._folders = {PurePosixPath(".")}

    def take(self, uri: str) -> Path:
        """The shortest end of its path that is free, from the name on."""
        path = PurePosixPath(uri.partition("://")[2] or uri)
        # `execution` is below every call's directory, in Cromwell's layout: it tells nothing apart.
        parts = [p for p in path.parts if p not in ("/", "..", "execution")] or ["output"]
        ends = (PurePosixPath(*parts[-count:]) for count in range(1, len(parts) + 1))
        numbered = (PurePosixPath(str(number), parts[-1]) for number in itertools.count(2))
        for short in itertools.chain(ends, numbered):
            key = PurePosixPath(str(short).casefold())  # as file systems of some machines have it
            if key in self._taken or key in self._folders or self._taken & set(key.parents):
                continue
            self._taken.add(key)
            self._folders.update(key.parents)
            return self._target / short
        raise AssertionError("unreachable")
