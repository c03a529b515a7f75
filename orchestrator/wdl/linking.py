"""The documents of a bundle: each parsed and checked once, after those it imports.

Unlike miniwdl's loader, which loads a document once for every path of imports that leads to it (a
few lines can make that billions), and finds imports wherever they say they are.
"""

from __future__ import annotations

import posixpath
from typing import Any
from urllib.parse import urljoin

from WDL import Error, Tree

from orchestrator.errors import Finding
from orchestrator.wdl import diagnostics, imports, miniwdl_checking, miniwdl_dialect
from orchestrator.wdl.bundle import Bundle, is_url
from orchestrator.wdl.diagnostics import Refused

IMPORT_DEPTH = 20


class Linker:
    """One bundle being loaded. `warnings`: what was tolerated, in the order of the documents."""

    def __init__(self, bundle: Bundle, *, strict: bool) -> None:
        self._bundle = bundle
        self._strict = strict
        self._done: dict[str, Any] = {}
        self._under_way: list[str] = []
        self.warnings: list[Finding] = []

    def link(self) -> Any:
        """The main document, a `WDL.Tree.Document`. Raises miniwdl's errors."""
        return self._document(self._bundle.main)

    def _document(self, name: str) -> Any:
        if name not in self._done:
            self._under_way.append(name)
            self._done[name] = self._load(name)
            self._under_way.pop()
        return self._done[name]

    def _load(self, name: str) -> Any:
        text = self._bundle.files[name]
        notes: list[Finding] = []
        document = miniwdl_dialect.parse(text, name, notes)
        document.imports[:] = [self._imported(item, name) for item in document.imports]

        def again(notes: list[Finding]) -> Any:
            return miniwdl_dialect.parse(text, name, notes, lenient=True)

        miniwdl_checking.check(document, again, notes, strict=self._strict)
        miniwdl_checking.set_parents(document)
        self.warnings += dict.fromkeys(notes)
        return document

    def _imported(self, item: Any, importer: str) -> Any:
        try:
            name = resolve(self._bundle, item.uri, importer)
            if name in self._under_way:
                circle = " -> ".join([*self._under_way[self._under_way.index(name) :], name])
                raise Refused(f"the imports are circular: {circle}")
            if len(self._under_way) >= IMPORT_DEPTH:
                raise Refused(f"imports nest more than {IMPORT_DEPTH} deep")
            return item._replace(doc=self._document(name))
        except Exception as error:
            raise Error.ImportError(item.pos, item.uri) from error


def resolve(bundle: Bundle, uri: str, importer: str) -> str:
    """The bundle's file for an import: a URL's own, else from the importing file's directory, else
    from the main document's or the root. Raises Refused."""
    if is_url(uri) or is_url(importer):
        name = imports.name_of(urljoin(importer, uri))
        if name in bundle.files:
            return name
        raise Refused(
            f"the import {uri} was not handed in",
            "hand the document in with the workflow, or let it be fetched",
        )
    if "://" in uri or uri.startswith(("/", "file:")):
        raise Refused(f"the import {uri} is refused: only relative paths and URLs are followed")
    for base in (posixpath.dirname(importer), posixpath.dirname(bundle.main), ""):
        name = posixpath.normpath(posixpath.join(base, uri))
        if name in bundle.files:
            return name
    if posixpath.normpath(posixpath.join(posixpath.dirname(importer), uri)).startswith(".."):
        raise Refused(f"the import {uri} is refused: it leads out of what was handed in")
    raise Refused(
        f"the import {uri} was not handed in",
        diagnostics.closest(posixpath.basename(uri), bundle.files),
    )


def link(bundle: Bundle, *, strict: bool = False) -> tuple[Any, list[Finding]]:
    """The main document and what was tolerated."""
    linker = Linker(bundle, strict=strict)
    return linker.link(), linker.warnings


def workflow_of(document: Tree.Document) -> Any:
    """Its workflow; where there is none, its only task as one; else None."""
    if document.workflow is None and len(document.tasks) == 1:
        return miniwdl_checking.task_as_workflow(document)
    return document.workflow
