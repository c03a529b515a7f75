"""HOCON: text -> dict, by pyhocon where it is right and by the specification where it is not.

    syntax    our scanner: fields, blocks, includes and positions; every error has line and caret
    values    the only importer of pyhocon, which parses values: lists, strings, concatenations
    resolve   merging, substitution, self-reference and look-back, in the specification's order

pyhocon alone merges while it parses and forgets what it overwrote; it is then silently wrong about
`+=`, self-references, includes inside blocks and anything like `7 days` (a `timedelta`). So it is
given every value under a key of its own, and never a document to merge. Rules: HOCON.md of
lightbend/config. Not supported, and refused by name: `include url(...)`, `.properties` files,
`${X[]}`. `include required(classpath("application"))`, the first line of every Cromwell
configuration, brings `reference.conf`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.config.hocon import resolve, syntax, values
from orchestrator.errors import InvalidConfig, Place

REFERENCE = Path(__file__).parent.parent / "reference.conf"

_INCLUDES_DEEP = 20


@dataclass(frozen=True, slots=True)
class Document:
    """A resolved document, and where each key was last given."""

    data: dict[str, Any]
    places: Mapping[tuple[str, ...], Place]


def loads(
    text: str,
    base_dir: Path | None = None,
    *,
    name: str = "<config>",
    environment: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The document as plain dicts, lists, strings, numbers, booleans and None.

    Relative includes are looked for in `base_dir` (default: the current directory); `${NAME}`
    falls back to `environment` (default: the process's). Raises InvalidConfig.
    """
    return read(text, base_dir, name=name, environment=environment).data


def load(path: Path, *, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The document in a file. Raises InvalidConfig, also when the file cannot be read."""
    return loads(text_of(path), path.parent, name=str(path), environment=environment)


def read(
    text: str,
    base_dir: Path | None = None,
    *,
    name: str = "<config>",
    environment: Mapping[str, str] | None = None,
    over_reference: bool = False,
    properties: Mapping[str, str] | None = None,
) -> Document:
    """As `loads`, with positions; `over_reference` lays the document over our reference config.

    `properties` lie over the document, as Java's system properties do in Typesafe Config.
    """
    source = syntax.Source(name, text)
    within = (Path(name).resolve(),) if base_dir else ()  # a file that includes itself is refused
    fields = _expand(_parsed(source), base_dir or Path.cwd(), within, ())
    if over_reference:
        fields = _expand(_parsed(_reference()), REFERENCE.parent, (), ()) + fields
    for key, value in (properties or {}).items():
        path = ".".join(syntax.quoted(part) for part in key.split("."))
        source = syntax.Source(f"-D{key}", f"{path} = {syntax.quoted(value)}")
        fields += tuple(_expand(_parsed(source), Path.cwd(), (), ()))
    return Document(*resolve.resolve(fields, os.environ if environment is None else environment))


def text_of(path: Path) -> str:
    """The text of a config file. Raises InvalidConfig."""
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise InvalidConfig(
            f"not UTF-8 (byte {error.start})", place=Place(str(path)), hint="save it as UTF-8"
        ) from None
    except OSError as error:
        raise InvalidConfig(
            f"the configuration cannot be read: {error.strerror}", place=Place(str(path))
        ) from None


def _reference() -> syntax.Source:
    return syntax.Source(str(REFERENCE), text_of(REFERENCE))


def _parsed(source: syntax.Source) -> syntax.Block:
    block = syntax.parse(source)
    values.fill(block)
    return block


def _expand(
    block: syntax.Block, directory: Path, within: tuple[Path, ...], at: tuple[str, ...] | None
) -> tuple[syntax.Field, ...]:
    """The block's fields with every include, here and below, replaced by what it brings.

    `within` are the files being included, `at` is the block's path (None in a list).
    """
    fields: list[syntax.Field] = []
    for entry in block.entries:
        if isinstance(entry, syntax.Include):
            fields += _included(entry, directory, within, at)
            continue
        fields.append(entry)
        below = None if at is None else at + entry.path
        if isinstance(entry.value, syntax.Block):
            entry.value.fields = _expand(entry.value, directory, within, below)
        else:
            for inner in entry.value.blocks:
                inner.fields = _expand(inner, directory, within, None)
    return tuple(fields)


def _included(
    include: syntax.Include,
    directory: Path,
    within: tuple[Path, ...],
    at: tuple[str, ...] | None,
) -> tuple[syntax.Field, ...]:
    fields: tuple[syntax.Field, ...] = ()
    found = _files(include, directory)
    if include.required and not found:
        raise include.source.error(
            include.offset, f"the required include {include.name!r} does not exist"
        )
    for path in found:
        if path in within or len(within) >= _INCLUDES_DEEP:
            raise include.source.error(include.offset, f"{include.name!r} includes itself")
        block = _parsed(syntax.Source(str(path), text_of(path)))
        syntax.include_at(block, at or ())
        fields += _expand(block, path.parent, (*within, path), at)
    return fields


def _files(include: syntax.Include, directory: Path) -> list[Path]:
    """Files an include means, the weakest first (HOCON.md, "Include semantics: locating")."""
    if include.kind == "url" or include.name.startswith(("http:", "https:", "ftp:")):
        raise include.source.error(
            include.offset,
            "a configuration is never fetched from the network",
            hint="copy it beside this file and include the copy",
        )
    if include.name.endswith(".properties"):
        raise include.source.error(include.offset, ".properties files cannot be included")
    name = include.name.removeprefix("file://")
    found: list[Path] = []
    if include.kind != "classpath":
        # `file(...)` is relative to the process's directory in Typesafe Config; beside the file
        # that says it is what people mean, and comes first.
        for top in [directory, Path.cwd()] if include.kind == "file" else [directory]:
            stem = top / name
            named = [stem] if stem.suffix in (".conf", ".json") else [
                stem.with_name(f"{stem.name}.json"), stem.with_name(f"{stem.name}.conf"), stem,
            ]  # fmt: skip
            found = found or [path.resolve() for path in named if path.is_file()]
    # Where it is optional there is nothing to bring: settings lie over the reference anyway.
    stem = Path(name.lstrip("/")).with_suffix("")
    if include.required and not found and str(stem) in ("application", "reference"):
        found = [REFERENCE.resolve()] if include.kind != "file" else []
    return found
