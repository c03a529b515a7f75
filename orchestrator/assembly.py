"""The only place that chooses store, backends and filesystems, from the settings."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from orchestrator import deployment, errors
from orchestrator.backends.base import Backend
from orchestrator.config.settings import Settings
from orchestrator.engine.coordinator import Engine, EngineSettings
from orchestrator.engine.tenure import is_dead, this_process
from orchestrator.filesystems.base import Filesystems
from orchestrator.model import states
from orchestrator.model.records import WorkflowRecord
from orchestrator.store.base import Lease, Store
from orchestrator.wdl import document
from orchestrator.wdl.bundle import Bundle

_LEASE_SECONDS = 60.0


@dataclass(slots=True)
class Assembly:
    """The parts of one orchestrator process. `upload_root` is "" where local files are used as
    they lie."""

    store: Store
    backends: Mapping[str, Backend]
    filesystems: Filesystems
    default_backend: str
    upload_root: str
    _engine_settings: EngineSettings

    def engine(self) -> Engine:
        """An engine over these parts, not started yet."""
        return Engine(
            self.store, self.backends, self.filesystems, load_bundle, self._engine_settings
        )

    def find(self, id_prefix: str) -> WorkflowRecord:
        """The root workflow whose id starts so. Raises NotFound; NotAllowed when several do."""
        matches = self.store.matching(id_prefix)
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
        leases = self.store.claim(owner, _LEASE_SECONDS, 1, root_id)
        if leases:
            return leases[0]
        record = self.store.workflow(root_id)
        if states.is_terminal(record.state):
            raise errors.NotAllowed(f"workflow {root_id} is {record.state} already")
        holder = self.store.holder(root_id)
        if holder is not None and is_dead(holder):
            stolen = self.store.steal(owner, _LEASE_SECONDS, root_id, holder)
            if stolen is not None:
                return stolen
        host, _, rest = (holder or "?").partition("/")
        pid = rest.split("/")[1] if rest.count("/") >= 2 else "?"
        raise errors.NotAllowed(
            f"workflow {root_id} is being run by process {pid} on {host}",
            hint=f"if that one is dead, try again in {_LEASE_SECONDS:.0f} s",
        )

    def copy_outputs(self, outputs: Mapping[str, Any], target: Path) -> Path:
        """Copy output files and `outputs.json` (with the new paths) to a directory.

        Files keep the end of their path that tells them apart: `<call directory>/<name>`.
        """
        target = target.resolve()
        moved: dict[str, str] = {}
        for uri in dict.fromkeys(_file_values(outputs)):
            filesystem = self.filesystems.of(uri)
            try:
                filesystem.stat(uri)
            except (errors.NotFound, errors.InvalidInputs):
                continue  # a string that only looks like a file
            place = target / _short(uri, set(moved.values()), target)
            filesystem.download(uri, str(place))
            moved[uri] = str(place)
        text = json.dumps(_replaced(outputs, moved), indent=2)
        target.mkdir(parents=True, exist_ok=True)
        (target / "outputs.json").write_text(text + "\n", encoding="utf-8")
        return target

    def close(self) -> None:
        """Let go of connections."""
        for backend in self.backends.values():
            backend.close()
        self.store.close()


def assemble(settings: Settings, *, containers: bool = True) -> Assembly:
    """Everything the settings ask for. `containers=False`: the local backend uses none."""
    raise NotImplementedError


def load_bundle(files: Mapping[str, str]) -> document.Document:
    """A document from a bundle as the store keeps it: the entry "" names the main file."""
    sources = dict(files)
    return document.load(Bundle(main=sources.pop(""), files=sources))


def _file_values(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        if value.startswith("/") or "://" in value:
            yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _file_values(item)
    elif isinstance(value, list):
        for item in value:
            yield from _file_values(item)


def _short(uri: str, taken: set[str], target: Path) -> PurePosixPath:
    """The shortest end of the path that is not taken yet, from the name on."""
    parts = [part for part in PurePosixPath(uri.partition("://")[2] or uri).parts if part != "/"]
    for count in range(1, len(parts) + 1):
        short = PurePosixPath(*parts[-count:])
        if str(target / short) not in taken and str(short) != "outputs.json":
            return short
    raise AssertionError(f"{uri} is there twice")


def _replaced(value: Any, moved: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return moved.get(value, value)
    if isinstance(value, Mapping):
        return {key: _replaced(item, moved) for key, item in value.items()}
    if isinstance(value, list):
        return [_replaced(item, moved) for item in value]
    return value


assert os.name == "posix", "Linux and macOS only"
assert deployment.VERSION
