"""Where a task's input files lie while its command runs.

Inputs lie beside the directory the command works in, never in it: `glob("*")` sees outputs only.
Files of one source directory share a directory, so that `x.bam` finds its `x.bam.bai`; files of
different directories never meet, whatever they are called.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Layout:
    """The directories of one attempt. `work` is where the command runs."""

    work: str

    @property
    def attempt(self) -> str:
        """The attempt's own directory."""
        return posixpath.dirname(self.work)

    @property
    def inputs(self) -> str:
        """Localized files, in numbered directories."""
        return f"{self.attempt}/inputs"

    @property
    def written(self) -> str:
        """Files made by `write_lines()` and the like."""
        return f"{self.inputs}/written"

    @property
    def stdout(self) -> str:
        """What `stdout()` is for expressions; the file itself may lie elsewhere."""
        return f"{self.attempt}/stdout"

    @property
    def stderr(self) -> str:
        """What `stderr()` is for expressions."""
        return f"{self.attempt}/stderr"

    def absolute(self, path: str) -> str:
        """The path from the root, with `.` and `..` resolved."""
        absolute = posixpath.normpath(posixpath.join(self.work, path))
        return absolute[1:] if absolute.startswith("//") else absolute

    def relative(self, path: str) -> str:
        """Relative to the work dir where it lies in it, else absolute: as manifests name files."""
        return self.absolute(path).removeprefix(f"{self.work}/")


@dataclass(frozen=True, slots=True)
class Localized:
    """One input: where it comes from and where it lies."""

    uri: str
    path: str
    directory: bool
    name: str  # of the declaration that brought it in


class Localizer:
    """URI <-> path, both ways. The same inputs in the same order get the same paths."""

    def __init__(self, layout: Layout) -> None:
        self._root = layout.inputs
        self._by_uri: dict[tuple[str, bool], Localized] = {}
        self._by_path: dict[str, Localized] = {}
        self._numbers: dict[tuple[str, int], str] = {}  # source directory -> its directory here
        self._sources: dict[str, str] = {}  # the other way
        self._below: list[Localized] = []  # directories

    @property
    def all(self) -> list[Localized]:
        """Every input, in the order they came."""
        return list(self._by_path.values())

    def add(self, uri: str, directory: bool, name: str) -> str:
        """The path of an input; new ones get a place."""
        key = (uri, directory)
        known = self._by_uri.get(key)
        if known is not None:
            return known.path
        source, base = _split(uri)
        path = f"{self._directory(source)}/{base}"
        if path in self._by_path:
            # The same name twice in one source directory: a file and a directory, or two URLs that
            # differ in their query only.
            path = f"{self._directory(source, len(self._by_path))}/{base}"
        item = Localized(uri, path, directory, name)
        self._by_uri[key] = self._by_path[path] = item
        if directory:
            self._below.append(item)
        return path

    def uri(self, path: str) -> str | None:
        """Where an input, or a file below an input directory, comes from; None for other paths."""
        item = self._by_path.get(path)
        if item is not None:
            return item.uri
        for parent in self._below:
            if path.startswith(f"{parent.path}/"):
                return f"{parent.uri.rstrip('/')}/{path[len(parent.path) + 1 :]}"
        return None

    def sibling(self, path: str) -> str | None:
        """The URI that a path in a directory of inputs would have, were it an input: that of
        `x.bam.bai` when `x.bam` is one."""
        if not path.startswith(f"{self._root}/"):
            return None
        number, _, rest = path[len(self._root) + 1 :].partition("/")
        source = self._sources.get(f"{self._root}/{number}")
        return None if source is None or not rest else f"{source}/{rest}"

    def _directory(self, source: str, copy: int = 0) -> str:
        directory = self._numbers.get((source, copy))
        if directory is None:
            directory = f"{self._root}/{len(self._numbers)}"
            self._numbers[source, copy] = directory
            self._sources[directory] = source
        return directory


def _split(uri: str) -> tuple[str, str]:
    """Source directory and a base name that is safe as a file's name."""
    scheme, separator, _ = uri.partition("://")
    path = uri.rstrip("/")
    if scheme in ("http", "https") and separator:
        parts = urlsplit(path)
        source, base = posixpath.split(parts.path)
        source = f"{scheme}://{parts.netloc}{source}"
    else:
        source, _, base = path.rpartition("/")
    if base in ("", ".", ".."):
        base = "_"
    return source, base
