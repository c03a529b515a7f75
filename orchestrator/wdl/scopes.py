"""What library functions act on while a task is evaluated: its command, its outputs planned, its
outputs read from a manifest. Files are paths in the attempt's directory.
"""

from __future__ import annotations

import fnmatch
import posixpath
from collections.abc import Iterable
from typing import Any

from orchestrator import errors
from orchestrator.model.job import WorkDir
from orchestrator.model.manifest import Manifest, OutputFile
from orchestrator.wdl import diagnostics, library, staging
from orchestrator.wdl.facts import Facts
from orchestrator.wdl.library import Scope
from orchestrator.wdl.localization import Layout, Localizer
from orchestrator.wdl.staging import Staging


class NotYetKnown(Exception):
    """Only the command will tell."""


class FilesScope(Scope):
    """Files of an attempt: inputs, files written by expressions, URIs."""

    def __init__(
        self,
        layout: Layout,
        localizer: Localizer,
        written: dict[str, bytes],
        facts: Facts,
        copies: Staging,
    ) -> None:
        self.directory = layout.work
        self._staging = copies
        self._layout = layout
        self._localizer = localizer
        self._written = written
        self._facts = facts

    def stdout(self) -> str:
        return self._layout.stdout

    def stderr(self) -> str:
        return self._layout.stderr

    def input_uri(self, path: str) -> str | None:
        """The URI of an input or of a value that is a URI; None for what the command makes."""
        if "://" in path:
            return path
        return self._localizer.uri(self._layout.absolute(path))

    def shown(self, path: str) -> str:
        return staging.shown(self.input_uri(path) or path)

    def _source(self, path: str) -> str | None:
        """The URI whose content an input has: that of the copy that its task sees."""
        uri = self.input_uri(path)
        return uri if uri is None or uri == path else self._staging.source(uri)

    def _known_content(self, path: str, limit: int) -> bytes | None:
        uri = self._source(path)
        if uri is not None:
            return library.content_fact(self._facts, uri, limit)
        return self._written.get(self._layout.absolute(path))

    def _known_size(self, path: str, directory: bool) -> int | None:
        uri = self.input_uri(path)
        if uri is not None and uri != path and self._staging.is_for(uri):
            return self._staging.copy(uri).size
        if uri is not None:
            return library.size_fact(self._facts, uri, directory)
        written = self._written.get(self._layout.absolute(path))
        return None if written is None else len(written)

    def write(self, name: str, content: bytes) -> str:
        path = f"{self._layout.written}/{name}"
        self._written[path] = content
        return path


class CommandScope(FilesScope):
    """Inputs, declarations, runtime section and command: only inputs exist."""

    def content(self, path: str, limit: int) -> bytes:
        content = self._known_content(path, limit)
        if content is None:
            raise ValueError(f"{path} is no input of the task: it cannot be read before it runs")
        return content

    def size(self, path: str, directory: bool) -> int:
        size = self._known_size(path, directory)
        if size is None:
            raise ValueError(f"{path} is no input of the task: it has no size before it runs")
        return size


class PlanScope(FilesScope):
    """Outputs before the command has run: what is asked for is noted. `where`: the attempt's."""

    def __init__(self, *args: Any, where: WorkDir) -> None:
        super().__init__(*args)
        self.files: dict[str, None] = {}
        self.globs: dict[str, None] = {}
        self.reads: dict[str, None] = {}
        self._where = where

    def look_for(self, path: str, directory: bool) -> None:
        """Plan to keep a file, unless it is an input. Raises EvaluationFailed for a relative path
        that leaves the attempt's directory."""
        if self.input_uri(path) is not None:
            return
        absolute = self._layout.absolute(path)
        if absolute in (self._layout.stdout, self._layout.stderr):
            return
        if not path.startswith("/") and not absolute.startswith(f"{self._layout.attempt}/"):
            raise errors.EvaluationFailed(
                f"the output path {path} leaves the directory of the task",
                hint="write outputs below the working directory",
            )
        self.files[self._layout.relative(path) + ("/" if directory else "")] = None

    def content(self, path: str, limit: int) -> bytes:
        content = self._known_content(path, limit)
        if content is not None:
            return content
        absolute = self._layout.absolute(path)
        if absolute == self._layout.stdout:
            self.reads[self._where.stdout] = None
        elif absolute == self._layout.stderr:
            self.reads[self._where.stderr] = None
        else:
            self.look_for(path, False)
            self.reads[self._layout.relative(path)] = None
        raise NotYetKnown

    def size(self, path: str, directory: bool) -> int:
        size = self._known_size(path, directory)
        if size is None:
            self.look_for(path, directory)
            raise NotYetKnown
        return size

    def glob(self, pattern: str) -> Iterable[str]:
        self.globs[_pattern(pattern, self._layout)] = None
        raise NotYetKnown


class ResultScope(FilesScope):
    """Outputs after the command has run, answered from its manifest."""

    def __init__(self, *args: Any, manifest: Manifest) -> None:
        super().__init__(*args)
        self._manifest = manifest

    def find(self, path: str) -> OutputFile | None:
        """The file that the command left at a path."""
        absolute = self._layout.absolute(path)
        if absolute == self._layout.stdout:
            return self._manifest.stdout
        if absolute == self._layout.stderr:
            return self._manifest.stderr
        return self._manifest.files.get(self._layout.relative(path))

    def below(self, path: str) -> dict[str, OutputFile]:
        """Everything the command left below a directory, by the path below it."""
        prefix = f"{self._layout.relative(path)}/"
        if self._layout.absolute(path) == self._layout.work:
            return {name: f for name, f in self._manifest.files.items() if name[:1] != "/"}
        return {
            name.removeprefix(prefix): file
            for name, file in self._manifest.files.items()
            if name.startswith(prefix)
        }

    def is_directory(self, path: str) -> bool:
        """Whether the command left a directory at a path."""
        return self._layout.relative(path) in self._manifest.directories or bool(self.below(path))

    def content(self, path: str, limit: int) -> bytes:
        file = self.find(path)
        if file is None:
            content = self._known_content(path, limit)
            if content is None:
                raise output_missing(path)
            return content
        if file.size > limit:
            raise library.TooLargeToRead(file.size)
        if file.content is not None:
            return file.content
        return library.content_fact(self._facts, file.uri, limit)

    def size(self, path: str, directory: bool) -> int:
        if directory and self.is_directory(path):
            return sum(file.size for file in self.below(path).values())
        file = self.find(path)
        if file is not None:
            return file.size
        size = self._known_size(path, directory)
        if size is None:
            raise output_missing(path)
        return size

    def glob(self, pattern: str) -> Iterable[str]:
        pattern = _pattern(pattern, self._layout)
        matches = self._manifest.globs.get(pattern)
        if matches is None:  # it could not be planned: all that was left is in the manifest
            matches = tuple(sorted(p for p in self._manifest.files if _matches(p, pattern)))
        return [posixpath.join(self._layout.work, match) for match in matches]

    def write(self, name: str, content: bytes) -> str:
        path = f"{self._layout.written}/{name}"
        if path not in self._written:
            raise ValueError(
                "write_*() of what the command made cannot be an output; let the command write it"
            )
        return path


def output_missing(path: str, decl: Any = None) -> errors.OutputMissing:
    """The error for a file that the command did not leave."""
    subject = f"output {decl.name}: " if decl is not None else ""
    return errors.OutputMissing(
        f"{subject}the command left no file {path}",
        place=diagnostics.place(decl.pos) if decl is not None else None,
        hint="paths are relative to the directory that the command runs in",
    )


def _pattern(pattern: str, layout: Layout) -> str:
    """A glob's pattern as plans and manifests name it."""
    return pattern.removeprefix(f"{layout.work}/")


def _matches(path: str, pattern: str) -> bool:
    while pattern.startswith("./"):
        pattern = pattern[2:]
    names, patterns = path.split("/"), pattern.split("/")
    return len(names) == len(patterns) and all(
        fnmatch.fnmatchcase(name, part) and (part.startswith(".") or not name.startswith("."))
        for name, part in zip(names, patterns, strict=True)
    )
