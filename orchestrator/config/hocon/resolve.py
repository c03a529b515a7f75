"""From fields to one dict: merging, substitution, self-reference (HOCON.md, "Substitutions").

Nothing is merged ahead of time. A path has *definitions*, oldest first: blocks and leaves. A leaf
that only refers elsewhere stands for the definitions it refers to (so references bind late); the
newest definition wins, blocks merge down to the first definition that is none. A value that refers
to itself sees only the definitions before it. What that cannot settle is a cycle, and refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from orchestrator.config.hocon.syntax import Block, Field, Leaf, Substitution
from orchestrator.config.hocon.values import Concatenation, Hole
from orchestrator.errors import Place

Path: TypeAlias = tuple[str, ...]
Definition: TypeAlias = Block | Leaf


_DEEP = 100  # blocks in blocks and references to references; deeper than this is a circle


class _Undefined:
    """No value: the key is not there."""


_UNDEFINED = _Undefined()


def resolve(
    fields: Sequence[Field], environment: Mapping[str, str]
) -> tuple[dict[str, Any], dict[Path, Place]]:
    """The whole document, and where each path was last given. Raises InvalidConfig."""
    places: dict[Path, Place] = {}
    _place(fields, (), places)
    root = Block([], tuple(fields))
    return _Resolver(root, environment).value([root]), places


def _place(fields: Sequence[Field], at: Path | None, places: dict[Path, Place]) -> None:
    """Tell every leaf its path; `at` is None within lists, where nothing has one."""
    for field in fields:
        path = None if at is None else at + field.path
        if path is not None:
            place = field.source.place(field.offset)
            for length in range(len(at or ()) + 1, len(path)):
                places.setdefault(path[:length], place)
            places[path] = place
        if isinstance(field.value, Block):
            _place(field.value.fields, path, places)
        else:
            field.value.path = path
            inside = path if "[" not in field.value.text else None
            for block in field.value.blocks:
                _place(block.fields, inside, places)


class _Resolver:
    def __init__(self, root: Block, environment: Mapping[str, str]) -> None:
        self._root = root
        self._environment = environment
        self._known: dict[int, Any] = {}
        self._expanding: list[Leaf] = []
        self._evaluating: list[Leaf] = []
        self._depth = 0

    def value(self, definitions: Sequence[Definition]) -> Any:
        """What these definitions of one path come to; `_UNDEFINED` where that is nothing."""
        self._depth += 1
        try:
            atoms = self._expand(definitions)
            for definition in definitions:
                if self._depth > _DEEP and isinstance(definition, Leaf):
                    raise _cycle(definition)
            if not atoms:
                return _UNDEFINED
            if isinstance(atoms[-1], Leaf):
                return self._evaluated(atoms[-1])
            out: dict[str, Any] = {}
            for key in dict.fromkeys(field.path[0] for block in _blocks(atoms)
                                     for field in block.fields):  # fmt: skip
                value = self.value(_step(atoms, key))
                if not isinstance(value, _Undefined):
                    out[key] = value
            return out
        finally:
            self._depth -= 1

    def _expand(
        self, definitions: Sequence[Definition], before: Leaf | None = None
    ) -> list[Definition]:
        """Definitions that refer nowhere: blocks that merge, or one leaf with content, last.

        Only those older than `before` count.
        """
        for index, definition in enumerate(definitions):
            if definition is before:
                definitions = definitions[:index]
                break
        atoms: list[Definition] = []
        for definition in reversed(definitions):
            if isinstance(definition, Block):
                atoms.insert(0, definition)
            else:
                atoms = self._referred(definition) + atoms
            if atoms and isinstance(atoms[0], Leaf):
                break  # hides everything older
        return atoms

    def _referred(self, leaf: Leaf) -> list[Definition]:
        """The leaf itself, or what it refers to where it is nothing but references and blocks."""
        pieces = leaf.parsed.pieces if isinstance(leaf.parsed, Concatenation) else ()
        if not pieces or not all(isinstance(piece, Hole) for piece in pieces):
            return [leaf]
        if leaf in self._expanding or len(self._expanding) > _DEEP:
            raise _cycle(leaf)
        self._expanding.append(leaf)
        try:
            parts = []
            for piece in pieces:
                hole = leaf.holes[piece.number]
                parts.append([hole] if isinstance(hole, Block) else self._found(hole, leaf))
        finally:
            self._expanding.pop()
        given = [part for part in parts if part]
        if len(given) > 1 and any(isinstance(part[-1], Leaf) for part in given):
            return [leaf]  # strings or lists next to each other: a value of its own
        return [atom for part in given for atom in part]

    def _found(self, substitution: Substitution, leaf: Leaf) -> list[Definition]:
        """The definitions a substitution stands for; none for an optional one that is undefined."""
        paths = [substitution.path]
        if substitution.prefix:
            paths.insert(0, substitution.prefix + substitution.path)
        for path in paths:
            refers_to_itself = leaf.path is not None and path[: len(leaf.path)] == leaf.path
            atoms = self._lookup(path, leaf if refers_to_itself else None)
            if atoms:
                return atoms
        name = ".".join(substitution.path)
        if name in self._environment:
            text = self._environment[name]
            return [Leaf("", leaf.source, leaf.offset, [], None, text)]
        if substitution.optional:
            return []
        raise substitution.source.error(
            substitution.offset,
            f"${{{name}}} is not defined",
            f"define {name}, set it in the environment, or write ${{?{name}}} if it may be missing",
        )

    def _lookup(self, path: Path, before: Leaf | None) -> list[Definition]:
        atoms: list[Definition] = [self._root]
        for key in path:
            atoms = self._expand(_step(atoms, key), before)
        return atoms

    def _evaluated(self, leaf: Leaf) -> Any:
        if leaf in self._evaluating:
            raise _cycle(leaf)
        if id(leaf) not in self._known:
            self._evaluating.append(leaf)
            self._known[id(leaf)] = self._evaluate(leaf, leaf.parsed)
            self._evaluating.pop()
        return self._known[id(leaf)]

    def _evaluate(self, leaf: Leaf, parsed: Any) -> Any:
        if isinstance(parsed, list):
            elements = [self._evaluate(leaf, element) for element in parsed]
            return [element for element in elements if not isinstance(element, _Undefined)]
        if not isinstance(parsed, Concatenation):
            return parsed
        values: list[Any] = []
        text = ""
        for piece in parsed.pieces:
            if isinstance(piece, Hole):
                hole = leaf.holes[piece.number]
                if isinstance(hole, Block):
                    value, written = self.value([hole]), ""
                else:
                    value, written = self._substituted(hole, leaf)
                text += written + piece.space
            else:
                value = self._evaluate(leaf, piece)
                text += _written(value)
            if not isinstance(value, _Undefined):
                values.append(value)
        if len(values) <= 1 and all(isinstance(piece, Hole) for piece in parsed.pieces):
            return values[0] if values else _UNDEFINED
        if all(isinstance(value, list) for value in values):
            return [element for value in values for element in value]
        if all(isinstance(value, dict) for value in values):
            merged: dict[str, Any] = {}
            for value in values:
                merged = _merged(merged, value)
            return merged
        if any(isinstance(value, list | dict) for value in values):
            raise leaf.source.error(
                leaf.offset, "strings, lists and blocks cannot be joined with each other"
            )
        return text

    def _substituted(self, substitution: Substitution, leaf: Leaf) -> tuple[Any, str]:
        """The value, and the text it is in a string."""
        atoms = self._found(substitution, leaf)
        if not atoms:
            return _UNDEFINED, ""
        value = self.value(atoms)
        last = atoms[-1]
        number = last.number if isinstance(last, Leaf) else None
        return value, number if number is not None else _written(value)


def _blocks(atoms: Sequence[Definition]) -> list[Block]:
    return [atom for atom in atoms if isinstance(atom, Block)]


def _step(atoms: Sequence[Definition], key: str) -> list[Definition]:
    """The definitions of a key of these blocks; none where the newest atom is no block."""
    if not atoms or isinstance(atoms[-1], Leaf):
        return []
    found: list[Definition] = []
    for block in _blocks(atoms):
        for field in block.fields:
            if field.path[0] == key:
                rest = field.path[1:]
                if rest:
                    below = Field(rest, field.value, field.source, field.offset)
                    found.append(Block([], (below,)))
                else:
                    found.append(field.value)
    return found


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    out = dict(below)
    for key, value in above.items():
        old = out.get(key)
        both = isinstance(old, dict) and isinstance(value, dict)
        out[key] = _merged(old, value) if both else value  # type: ignore[arg-type]
    return out


def _written(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _cycle(leaf: Leaf) -> Exception:
    name = ".".join(leaf.path or ())
    return leaf.source.error(
        leaf.offset, f"the value{' of ' + name if name else ''} refers to itself in a circle"
    )
