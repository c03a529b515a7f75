"""What was begun, on a disk that is not the one that fills."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass
class Adding:
    """A volume that is being added. `token` makes EC2 give the same one when asked again."""

    token: str
    gib: int
    volume: str | None = None


@dataclass
class State:
    """`resized`: volume id -> when (seconds since the epoch) it was last made larger, each time."""

    resized: dict[str, list[float]] = field(default_factory=dict)
    adding: Adding | None = None


class Journal:
    """A file that is whole at any moment. One that cannot be read counts as empty."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.state = self._read()

    def save(self) -> None:
        """Write the state; it is on the disk when this returns."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        part = self._path.with_suffix(".part")
        with part.open("w", encoding="utf-8") as file:
            json.dump(asdict(self.state), file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _read(self) -> State:
        try:
            document = json.loads(self._path.read_text(encoding="utf-8"))
            adding = document["adding"]
            return State(
                {str(v): [float(t) for t in times] for v, times in document["resized"].items()},
                Adding(**adding) if adding else None,
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return State()
