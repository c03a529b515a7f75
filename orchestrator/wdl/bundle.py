"""A bundle: a WDL document with everything it imports, as text. What the store keeps of a source.

Nothing below this module reads source files: a loaded document sees its bundle and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from orchestrator import errors
from orchestrator.wdl import diagnostics, imports

Fetch = Callable[[str], bytes]  # raises OrchestratorError


@dataclass(frozen=True)
class Bundle:
    """`files` maps relative POSIX paths to text; `main` is one of them."""

    main: str
    files: Mapping[str, str]

    def __post_init__(self) -> None:
        if self.main not in self.files:
            raise errors.InvalidWdl(f"the bundle has no file {self.main}")

    @property
    def digest(self) -> str:
        """sha256 (hex) of the content: the same files with the same main file, the same digest."""
        content = json.dumps(
            {"main": self.main, "files": dict(self.files)}, sort_keys=True, separators=(",", ":")
        )
        return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()


def is_url(name: str) -> bool:
    """Whether a document is named by where it was fetched from."""
    return name.lower().startswith(("http://", "https://"))


def read(path: Path, *, dependencies: bytes | None = None, fetch: Fetch | None = None) -> Bundle:
    """The document at `path` and what it imports, from the local file system.

    Only files that import statements name are read, and of those only files called `*.wdl`: a
    document can never have `../../.aws/credentials` read into a bundle. A file whose syntax is
    wrong is taken as it is; `document.load` tells what is wrong with it.
    Raises InvalidWdl with a finding for every import that cannot be followed.
    """
    main = Path(os.path.abspath(path))  # noqa: PTH100 - links are kept as the user wrote them
    closure = _Closure(dependencies, fetch, main.parent)
    closure.follow(str(main), _file_text(main, None))
    local = [Path(name) for name in closure.texts if name.startswith("/")]
    root = Path(os.path.commonpath([source.parent for source in local]))
    return closure.bundle(
        lambda name: Path(name).relative_to(root).as_posix() if name.startswith("/") else name
    )


def of_text(
    text: str,
    *,
    name: str = "workflow.wdl",
    dependencies: bytes | None = None,
    fetch: Fetch | None = None,
) -> Bundle:
    """A document that was handed in as text, with a zip of what it imports, or with URLs in it.

    No file of this machine is read, whatever the document says. `name` places it in the zip.
    Raises InvalidWdl with a finding for every import that cannot be followed.
    """
    place = posixpath.normpath(name)
    if place.startswith(("/", "..")) or is_url(name):
        raise errors.InvalidWdl(f"{name} is no relative name for a document")
    closure = _Closure(dependencies, fetch, None)
    closure.follow(place, imports.text_of(text.encode("utf-8", "surrogatepass"), place))
    return closure.bundle(lambda name: name)


def of_url(url: str, *, dependencies: bytes | None = None, fetch: Fetch) -> Bundle:
    """A document that is fetched, as `of_text`. Raises InvalidWdl, NotAllowed, TryLater."""
    closure = _Closure(dependencies, fetch, None)
    closure.follow(*closure.fetched(url, None))
    return closure.bundle(lambda name: name)


class _Closure:
    """A document and all it imports, by name: a local file's path, a zip member's path, a URL."""

    def __init__(
        self, dependencies: bytes | None, fetch: Fetch | None, directory: Path | None
    ) -> None:
        """`directory`: of the main document, where local files are read; None: none is."""
        self._archive = imports.Archive(dependencies) if dependencies is not None else None
        self._fetch = fetch
        self._directory = directory
        self._urls: dict[str, str] = {}  # name -> the whole URL
        self.texts: dict[str, str] = {}

    def follow(self, main: str, text: str) -> None:
        """Collect everything that a document leads to."""
        findings: list[errors.Finding] = []
        self._main = main
        self.texts[main] = text
        todo = [main]
        size = len(text)
        while todo:
            importer = todo.pop()
            for uri, place, certain in _imports(importer, self.texts[importer]):
                try:
                    name, text = self._found(importer, uri, place)
                except errors.TryLater as error:
                    raise errors.TryLater(error.message, place=place, hint=error.hint) from None
                except errors.OrchestratorError as error:
                    if not certain:
                        continue  # should it be one, loading says that it is not there
                    findings.append(errors.Finding(error.message, place, error.hint))
                    continue
                if name not in self.texts:
                    self.texts[name] = text
                    size += len(text)
                    todo.append(name)
            if len(self.texts) > imports.MOST_FILES or size > imports.LARGEST_BUNDLE_BYTES:
                raise errors.InvalidWdl(
                    f"{main} imports more than {imports.MOST_FILES:,} files or "
                    f"{imports.LARGEST_BUNDLE_BYTES:,} bytes",
                    place=errors.Place(main),
                )
        if findings:
            raise errors.InvalidWdl(
                f"{main} cannot be loaded with its imports",
                findings=sorted(findings, key=lambda finding: str(finding.place)),
            )

    def bundle(self, rename: Callable[[str], str]) -> Bundle:
        """All of it, under the names that `linking.resolve` finds again."""
        files: dict[str, str] = {}
        for name, text in self.texts.items():
            new = rename(name)
            if files.get(new, text) != text:
                raise errors.InvalidWdl(f"{new} is among the dependencies and here, and differs")
            files[new] = text
        return Bundle(rename(self._main), files)

    def _found(self, importer: str, uri: str, place: errors.Place) -> tuple[str, str]:
        if is_url(uri) or is_url(importer):
            try:
                url = urljoin(self._urls.get(importer, importer), uri)
            except ValueError as error:
                raise errors.InvalidWdl(f"the import {uri} is no URL: {error}") from None
            return self.fetched(url, place)
        scheme, separator, _ = uri.partition("://")
        if separator or uri.startswith("file:"):
            scheme = scheme.partition(":")[0]
            raise errors.InvalidWdl(f"imports of the kind {scheme}: are not followed")
        if uri.startswith("/"):
            raise errors.InvalidWdl(
                f"the import {uri} is an absolute path",
                hint="import by a path relative to this document",
            )
        local = self._directory is not None and importer.startswith("/")
        if local and (found := self._local(importer, uri)):
            return found
        if self._archive is not None:
            inside = "" if local else posixpath.dirname(importer)
            for base in (inside, ""):
                name = posixpath.normpath(posixpath.join(base, uri))
                if name in self._archive.names:
                    return name, self._archive.text(name)
        if local:
            target = _target(Path(importer).parent, uri)
            return str(target), _file_text(target, place)
        inside = posixpath.normpath(posixpath.join(posixpath.dirname(importer), uri))
        if inside.startswith(".."):
            raise errors.InvalidWdl(f"the import {uri} leads out of what was handed in")
        known = self._archive.names if self._archive is not None else ()
        raise errors.InvalidWdl(
            f"the import {uri} was not handed in",
            hint=diagnostics.closest(posixpath.basename(uri), known),
        )

    def _local(self, importer: str, uri: str) -> tuple[str, str] | None:
        """Beside the importer, else beside the main document."""
        assert self._directory is not None
        for directory in dict.fromkeys((Path(importer).parent, self._directory)):
            target = _target(directory, uri)
            if os.path.lexists(target):  # False also for a name that no file can have
                return str(target), _file_text(target, None)
        return None

    def fetched(self, url: str, place: errors.Place | None) -> tuple[str, str]:
        """A document by its URL."""
        name = imports.name_of(url)
        if not is_url(url):
            raise errors.NotAllowed(f"the import {name} is refused: a URL leads to URLs only")
        try:
            differ = urlsplit(self._urls.setdefault(name, url)).query != urlsplit(url).query
        except ValueError as error:
            raise errors.InvalidWdl(f"{name} is no URL: {error}") from None
        if differ:
            raise errors.InvalidWdl(f"{name} is imported by two URLs that differ in their query")
        if name not in self.texts:
            if self._fetch is None:
                raise errors.NotAllowed(
                    f"the import {name} is not fetched here",
                    hint="hand the document in with the workflow",
                )
            return name, imports.text_of(self._fetch(url), name, place)
        return name, self.texts[name]


# Atomic throughout: no text makes these go back and try again.
_BLANK = r"(?>\s|#[^\n]*)"
_STRING = r"(\"(?>[^\"\\\n]|\\.)*+\"|'(?>[^'\\\n]|\\.)*+')"
_HEAD = re.compile(
    rf"{_BLANK}*+(?:version\s++\S++|as{_BLANK}++\w++|alias{_BLANK}++\w++|import{_BLANK}*+{_STRING})"
)
_LATER = re.compile(rf"^[ \t]*+import[ \t]++{_STRING}", re.MULTILINE)


def _imports(name: str, text: str) -> list[tuple[str, errors.Place, bool]]:
    """What a document imports: URI, place, and whether that is certain.

    Not parsed: that takes a minute for a text made to take it, which only `loading` bounds. Imports
    stand before all else, nearly always; what looks like one further down may be text of a command.
    """
    found = []
    end = 0
    while match := _HEAD.match(text, end):
        if match[1] is not None:
            found.append((match[1], text.rfind("import", match.start(), match.start(1)), True))
        end = match.end()
    found += [
        (match[1], text.index("import", match.start()), False)
        for match in _LATER.finditer(text, end)
    ]
    return [
        (
            _unescaped(literal),
            errors.Place(
                name, text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)
            ),
            certain,
        )
        for literal, offset, certain in found[: imports.MOST_FILES]
    ]


def _unescaped(literal: str) -> str:
    return re.sub(r"\\(.)", r"\1", literal[1:-1])


def _target(directory: Path, uri: str) -> Path:
    if "\0" in uri:
        raise errors.InvalidWdl(f"the import {uri!r} is no name of a file")
    target = Path(os.path.normpath(directory / uri))
    if Path(os.path.realpath(target)).suffix != ".wdl":  # also where a link leads
        raise errors.InvalidWdl(
            f"the import {uri} is not followed: its name does not end with .wdl"
        )
    return target


def _file_text(path: Path, place: errors.Place | None) -> str:
    try:
        if not path.is_file() and path.exists():
            raise errors.InvalidWdl(f"{path} is no file", place=place)
        with path.open("rb") as file:
            content = file.read(imports.LARGEST_SOURCE_BYTES + 1)
    except OSError as error:
        reason = error.strerror or str(error)
        raise errors.InvalidWdl(f"{path} cannot be read: {reason}", place=place) from None
    except ValueError:
        raise errors.InvalidWdl(f"{str(path)!r} is no name of a file", place=place) from None
    return imports.text_of(content, str(path), place)
