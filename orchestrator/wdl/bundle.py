"""A bundle: a WDL document with everything it imports, as text. What the store keeps of a source.

Nothing below this module reads source files: a loaded document sees its bundle and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import WDL
import WDL.Error

from orchestrator import errors

LARGEST_SOURCE_BYTES = 16 * 1024**2
MOST_FILES = 5_000


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


def read(path: Path) -> Bundle:
    """The document at `path` and the closure of its relative imports, from the local file system.

    Only files that import statements name are read, and of those only files called `*.wdl`: a
    document can never have `../../.aws/credentials` read into a bundle. A file whose syntax is
    wrong is taken as it is; `document.load` tells what is wrong with it.
    Raises InvalidWdl with a finding for every import that cannot be followed.
    """
    findings: list[errors.Finding] = []
    main = Path(os.path.abspath(path))  # noqa: PTH100 - links are kept as the user wrote them
    texts: dict[Path, str] = {main: _text(main, None)}
    todo = [main]
    while todo:
        importer = todo.pop()
        for uri, place in _imports(importer, texts[importer]):
            try:
                target = _target(importer, uri, place)
                if target not in texts:
                    texts[target] = _text(target, place)
                    todo.append(target)
            except errors.InvalidWdl as error:
                findings.append(errors.Finding(error.message, error.place, error.hint))
        if len(texts) > MOST_FILES:
            raise errors.InvalidWdl(f"{path} imports more than {MOST_FILES} files")
    if findings:
        raise errors.InvalidWdl(
            f"{path} cannot be loaded with its imports",
            findings=sorted(findings, key=lambda finding: str(finding.place)),
        )
    root = Path(os.path.commonpath([source.parent for source in texts]))
    files = {source.relative_to(root).as_posix(): text for source, text in texts.items()}
    return Bundle(main.relative_to(root).as_posix(), files)


def _imports(path: Path, text: str) -> list[tuple[str, errors.Place]]:
    if "import" not in text:
        return []
    try:
        parsed = WDL.parse_document(text, uri=str(path))
    except (WDL.Error.SyntaxError, WDL.Error.ValidationError, RecursionError):
        return []
    return [
        (item.uri, errors.Place(str(path), item.pos.line, item.pos.column))
        for item in parsed.imports
    ]


def _target(importer: Path, uri: str, place: errors.Place) -> Path:
    scheme, separator, _ = uri.partition("://")
    if separator and scheme.lower() in ("http", "https"):
        raise errors.InvalidWdl(
            f"the import {uri} is not fetched yet",
            place=place,
            hint="save the document beside this one and import it by a relative path",
        )
    if separator or uri.startswith("file:"):
        raise errors.InvalidWdl(f"imports of the kind {scheme}: are not followed", place=place)
    if PurePosixPath(uri).is_absolute():
        raise errors.InvalidWdl(
            f"the import {uri} is an absolute path",
            place=place,
            hint="import by a path relative to this document",
        )
    target = Path(os.path.normpath(importer.parent / uri))
    if Path(os.path.realpath(target)).suffix != ".wdl":  # also where a link leads
        raise errors.InvalidWdl(
            f"the import {uri} is not followed: its name does not end with .wdl", place=place
        )
    return target


def _text(path: Path, place: errors.Place | None) -> str:
    try:
        if path.stat().st_size > LARGEST_SOURCE_BYTES:
            raise errors.InvalidWdl(
                f"{path} is larger than {LARGEST_SOURCE_BYTES} bytes", place=place
            )
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise errors.InvalidWdl(f"{path} is not UTF-8 text", place=place) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise errors.InvalidWdl(f"{path} cannot be read: {reason}", place=place) from None
