"""A job's log on this machine, read forwards: what was read once does not come again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

_LONGEST_LINE = 1 << 20


class JobLog:
    """`base.Log` over several files. A line without an end waits for it while the job lives."""

    late_seconds = 0.0

    def __init__(self, files: Sequence[Path], lives: Callable[[], bool]) -> None:
        self._places = dict.fromkeys(files, 0)
        self._lives = lives

    def __iter__(self) -> Iterator[str]:
        lives = self._lives()  # before reading: what it writes afterwards comes next time
        for file in self._places:
            yield from self._new(file, lives)

    def _new(self, path: Path, lives: bool) -> Iterator[str]:
        try:
            file = path.open("rb")
        except FileNotFoundError:
            return
        with file:
            file.seek(self._places[path])
            while line := file.readline(_LONGEST_LINE):
                if lives and not line.endswith(b"\n") and len(line) < _LONGEST_LINE:
                    return
                self._places[path] += len(line)
                yield line.decode(errors="replace").removesuffix("\n")
