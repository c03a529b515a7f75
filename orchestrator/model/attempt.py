"""Which attempt: its names and its place in Cromwell's directory layout."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


def below(root: str, directory: str) -> str:
    """The URI of a workflow's directory, or of one in it: `directory` itself where it is one."""
    return directory if "://" in directory else f"{root.rstrip('/')}/{directory}"


@dataclass(frozen=True, slots=True)
class AttemptRef:
    """One try of one call, named so that every room and every restart finds the same place.

    `directory` is the call's own workflow directory below a backend's root, without slashes at the
    ends: `<workflow>/<id>`, for a sub-workflow
    `<workflow>/<id>/call-<name>/[shard-N/]<sub>/<sub id>`. Where the option aws_s3_root puts the
    workflow elsewhere, it is a whole URI (see `below`).
    """

    root_workflow_id: str
    workflow_id: str
    directory: str
    call_id: str  # the graph's deterministic id, e.g. `call-align-3`
    call_name: str
    shards: tuple[int, ...] = ()  # outermost scatter first; empty outside scatters
    attempt: int = 1  # counts from 1

    @property
    def call_directory(self) -> str:
        """`<directory>/call-<name>/[shard-N/...][attempt-K]`, as Cromwell lays it out."""
        parts = [self.directory, f"call-{self.call_name}"]
        parts += [f"shard-{shard}" for shard in self.shards]
        if self.attempt > 1:
            parts.append(f"attempt-{self.attempt}")
        return "/".join(parts)

    @property
    def basename(self) -> str:
        """`<call>[-<shard>]`: what Cromwell's AWS backend starts rc, stdout and stderr with."""
        return "-".join([self.call_name, *(str(shard) for shard in self.shards)])

    @property
    def token(self) -> str:
        """16 hex digits, the same for the same attempt for ever: names its local directory."""
        text = f"{self.workflow_id}\0{self.call_id}\0{self.attempt}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def __str__(self) -> str:
        shard = "".join(f"[{shard}]" for shard in self.shards)
        attempt = f" (attempt {self.attempt})" if self.attempt > 1 else ""
        return f"{self.call_name}{shard}{attempt}"
