"""The scanner: HOCON text -> blocks of fields, with the offset of everything.

It finds out where keys, values, blocks and includes begin and end, checks that they are closed and
separated, and leaves the values to pyhocon, rewritten so that it reads them as the specification
says: strings quoted with the few escapes it decodes right, nested blocks and substitutions as
numbered holes, one comma between elements. Every refusal shows its line and a caret.

One module although it is long: the grammar is read in one pass by methods that call each other.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from orchestrator.errors import InvalidConfig, Place

EMPTY = "\0"  # stands for "" while pyhocon has it: pyhocon drops empty strings from lists

_DEEP = 64
_FORBIDDEN = frozenset('$"{}[]:=,+#`^?!@*&\\')  # HOCON.md, "Unquoted strings"
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")
_ESCAPE = re.compile(r'\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})?')
_STRING = re.compile(r'"(?:[^"\\\n]|\\[^\n])*"')
_INCLUDE = re.compile(r"include(?=[\s\"]|(?:required|file|url|classpath|package)\()")
_INCLUDED = re.compile(
    r'\s*(?P<required>required\s*\(\s*)?(?:(?P<kind>file|url|classpath|package)\s*\(\s*)?'
    r'(?P<name>"(?:[^"\\\n]|\\[^\n])*")'
)  # fmt: skip
_SECRET = re.compile(r"pass|secret|token|credential|access-?key", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Source:
    """A text and its name."""

    name: str
    text: str

    def place(self, offset: int) -> Place:
        """Line and column of an offset, from 1."""
        line = self.text.count("\n", 0, offset) + 1
        return Place(self.name, line, offset - self.text.rfind("\n", 0, offset))

    def error(self, offset: int, message: str, hint: str = "") -> InvalidConfig:
        """The refusal, with its line and a caret (unless the line may hold a secret)."""
        place = self.place(offset)
        start = self.text.rfind("\n", 0, offset) + 1
        line = self.text[start:].partition("\n")[0].rstrip("\r")
        if line.strip() and not _SECRET.search(line):
            number = str(place.line)
            indent = "".join("\t" if c == "\t" else " " for c in line[: offset - start])
            message += f"\n  {number} | {line}\n  {' ' * len(number)} | {indent}^"
        return InvalidConfig(message, place=place, hint=hint)


@dataclass(slots=True, eq=False)
class Substitution:
    """`${path}` or `${?path}`."""

    path: tuple[str, ...]
    optional: bool
    source: Source
    offset: int
    prefix: tuple[str, ...] = ()  # where the file that says it was included


@dataclass(slots=True, eq=False)
class Leaf:
    """Any value that is not one plain block. `text` is for pyhocon, which answers `parsed`.

    `holes[n]` is what `${n}` in the text stands for. `number` is the source text of a lone number:
    a concatenation uses it as it was written.
    """

    text: str
    source: Source
    offset: int
    holes: list[Substitution | Block]
    number: str | None = None
    parsed: Any = None
    path: tuple[str, ...] | None = None  # from the root; None within lists

    @property
    def blocks(self) -> list[Block]:
        """The blocks within, e.g. elements of a list."""
        return [hole for hole in self.holes if isinstance(hole, Block)]


@dataclass(slots=True, eq=False)
class Field:
    """`path = value`; a `+=` is already the specification's `path = ${?path} [value]`."""

    path: tuple[str, ...]
    value: Block | Leaf
    source: Source
    offset: int


@dataclass(slots=True, eq=False)
class Include:
    """An `include`; `kind` is `file`, `url`, `classpath` or empty."""

    name: str
    kind: str
    required: bool
    source: Source
    offset: int


@dataclass(slots=True, eq=False)
class Block:
    """`{ ... }`, or a whole file. `fields` are the entries with includes replaced."""

    entries: list[Field | Include]
    fields: tuple[Field, ...] = field(default=())


def parse(source: Source) -> Block:
    """The root block. Raises InvalidConfig."""
    return _Scanner(source).root()


def leaves(block: Block) -> list[Leaf]:
    """Every leaf of a file, in the order of the text; includes not followed."""
    found: list[Leaf] = []
    for entry in block.entries:
        if isinstance(entry, Include):
            continue
        inner = [entry.value]
        if isinstance(entry.value, Leaf):
            found.append(entry.value)
            inner = list(entry.value.blocks)
        for below in inner:
            if isinstance(below, Block):
                found += leaves(below)
    return found


def include_at(block: Block, path: tuple[str, ...]) -> None:
    """What an included file refers to is looked for below the place of the include first."""
    for leaf in leaves(block):
        for hole in leaf.holes:
            if isinstance(hole, Substitution):
                hole.prefix = path


def quoted(text: str) -> str:
    r"""A string as pyhocon reads it right: it decodes `\\`, `\"`, `\n`, `\r`, `\t`, no others."""
    for plain, escaped in (
        ("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t"),
    ):  # fmt: skip
        text = text.replace(plain, escaped)
    return f'"{text or EMPTY}"'


class _Scanner:
    """One pass over one text."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.text = source.text
        self.at = 1 if source.text.startswith("\ufeff") else 0
        self.opened: list[int] = []
        self.suspect = ""  # the first block whose end stands too far left to be its own

    # What stands here

    def error(self, offset: int, message: str, hint: str = "") -> InvalidConfig:
        return self.source.error(offset, message, hint)

    def peek(self, length: int = 1) -> str:
        return self.text[self.at : self.at + length]

    def comment(self) -> bool:
        return self.peek() == "#" or self.peek(2) == "//"

    def blanks(self, *, newlines: bool) -> str:
        """Step over white space and comments; the answer is the white space of this line."""
        start = self.at
        while self.at < len(self.text):
            if self.comment():
                gap = self.text[start : self.at]
                end = self.text.find("\n", self.at)
                self.at = len(self.text) if end < 0 else end
                if not newlines:
                    return gap
            elif self.peek() == "\n" and not newlines:
                break
            elif self.peek().isspace() or self.peek() == "\ufeff":
                self.at += 1
            else:
                break
        return self.text[start : self.at]

    # Blocks and fields

    def root(self) -> Block:
        self.blanks(newlines=True)
        if self.peek() == "[":
            raise self.error(self.at, "a configuration is a block of keys, not a list")
        block = self.block() if self.peek() == "{" else Block(self.entries(None))
        self.blanks(newlines=True)
        if self.at < len(self.text):
            hint = "this `}` closes nothing" if self.peek() == "}" else ""
            raise self.error(self.at, f"unexpected {self.peek()!r} after the end", hint)
        return block

    def block(self) -> Block:
        opening = self.at
        self.open(opening)
        self.at += 1
        block = Block(self.entries(opening))
        self.notice(opening)
        self.at += 1
        self.opened.pop()
        return block

    def notice(self, opening: int) -> None:
        """Remember a block that ends further left than the line that opened it begins."""
        begin = self.text.rfind("\n", 0, opening) + 1
        close = self.text.rfind("\n", 0, self.at) + 1
        line, before = self.text[begin:opening], self.text[close : self.at]
        indent = len(line) - len(line.lstrip())
        if close > begin and not before.strip() and len(before) < indent and not self.suspect:
            first, last = (self.source.place(at).line for at in (opening, self.at))
            self.suspect = f"; perhaps it is the block opened at line {first} that lacks its "
            self.suspect += f"`}}`: the one at line {last} stands further left"

    def open(self, offset: int) -> None:
        if len(self.opened) >= _DEEP:
            raise self.error(offset, f"more than {_DEEP} levels deep")
        self.opened.append(offset)

    def entries(self, opening: int | None) -> list[Field | Include]:
        entries: list[Field | Include] = []
        separated = True
        while True:
            before = self.at
            self.blanks(newlines=True)
            newline = "\n" in self.text[before : self.at]
            if self.at >= len(self.text):
                if opening is not None:
                    raise self.unclosed("}")
                return entries
            if self.peek() == "}":
                if opening is None:
                    raise self.error(self.at, "`}` closes nothing", "remove it, or open its block")
                return entries
            if self.peek() == "]":
                raise self.error(self.at, "`]` closes nothing")
            if self.peek() == ",":
                if separated:
                    raise self.error(self.at, "a comma with nothing before it", "remove it")
                self.at += 1
                separated = True
                continue
            if entries and not (separated or newline):
                raise self.error(
                    self.at,
                    f"unexpected {self.peek()!r}",
                    "a comma or a new line stands between two settings; quote a string that "
                    "holds this character",
                )
            entries.append(self.include() if _INCLUDE.match(self.text, self.at) else self.field())
            separated = False

    def unclosed(self, closer: str) -> InvalidConfig:
        opening = self.opened[-1]
        line = self.source.place(opening).line
        kind = "block" if closer == "}" else "list"
        return self.error(
            max(len(self.text.rstrip()) - 1, 0),
            f"`{closer}` missing; the {kind} opened at line {line}",
            f"close it with `{closer}`{self.suspect}",
        )

    def include(self) -> Include:
        start = self.at
        match = _INCLUDED.match(self.text, self.at + len("include"))
        if not match:
            raise self.error(
                start,
                "`include` without the name of a file",
                'include "name.conf", include required(file("name.conf")), include '
                'required(classpath("application")); a key of this name is quoted: "include"',
            )
        self.at = match.start("name")
        name = self.string()
        for _ in range(bool(match["required"]) + bool(match["kind"])):
            self.blanks(newlines=False)
            if self.peek() != ")":
                raise self.error(self.at, "`)` missing", "close the include's parenthesis")
            self.at += 1
        kind = match["kind"] or ""
        if kind == "package":
            raise self.error(start, "`package(...)` is pyhocon's own, not HOCON")
        return Include(name, kind, bool(match["required"]), self.source, start)

    def field(self) -> Field:
        start = self.at
        path = self.path("a key", ":={+")
        name = ".".join(path)
        self.blanks(newlines=True)
        if self.peek() == "{":
            return Field(path, self.value(name), self.source, start)
        appends = self.peek(2) == "+="
        if not appends and self.peek() not in (":", "="):
            what = "the file ends" if self.at >= len(self.text) else f"{self.peek()!r} stands there"
            raise self.error(
                min(self.at, max(len(self.text) - 1, 0)),
                f"`=` expected after {name!r}, but {what}",
                f"{name} = <value>",
            )
        self.at += 2 if appends else 1
        self.blanks(newlines=True)
        value = self.value(name)
        return Field(path, self.appended(path, value, start) if appends else value, self.source,
                     start)  # fmt: skip

    def appended(self, path: tuple[str, ...], value: Block | Leaf, offset: int) -> Leaf:
        itself = Substitution(path, True, self.source, offset)
        if isinstance(value, Block):
            return Leaf("${0} [${1}]", self.source, offset, [itself, value])
        shifted = re.sub(r"\$\{(\d+)\}", lambda m: f"${{{int(m[1]) + 1}}}", value.text)
        return Leaf(f"${{0}} [{shifted}]", self.source, offset, [itself, *value.holes])

    def path(self, what: str, ends: str) -> tuple[str, ...]:
        """A path expression up to one of `ends`: pieces, quoted or not, with dots between."""
        start = self.at
        pieces: list[str | None] = [None]
        gap = ""
        while self.at < len(self.text) and self.peek() not in ends:
            character = self.peek()
            if character == '"':
                pieces[-1] = (pieces[-1] or "") + gap + self.string()
                gap = ""
            elif character == "." and not gap:
                pieces.append(None)
                self.at += 1
            elif character == "\n" or self.comment():
                break
            elif character.isspace():
                gap += character if pieces != [None] else ""
                self.at += 1
            elif character in _FORBIDDEN:
                raise self.error(
                    self.at, f"{character!r} cannot stand in {what}", "put the name in quotes"
                )
            else:
                pieces[-1] = (pieces[-1] or "") + gap + character
                gap = ""
                self.at += 1
        whole = [piece for piece in pieces if piece is not None]
        if len(whole) != len(pieces):
            raise self.error(
                min(start, max(len(self.text) - 1, 0)),
                f"a part of {what} is empty",
                "one dot between two names",
            )
        return tuple(whole)

    # Values, rewritten for pyhocon

    def value(self, name: str) -> Block | Leaf:
        start = self.at
        holes: list[Substitution | Block] = []
        text, number = self.concatenation(holes)
        if not text:
            raise self.error(
                min(start, max(len(self.text) - 1, 0)),
                f"no value for {name!r}",
                'an empty string is ""; nothing at all is null',
            )
        if text == "${0}" and isinstance(holes[0], Block):
            return holes[0]
        return Leaf(text, self.source, start, holes, number)

    def concatenation(self, holes: list[Substitution | Block]) -> tuple[str, str | None]:
        """Pieces up to the end of the line or of the list; ("", None) where there is none."""
        pieces: list[tuple[str, str]] = []  # white space before it, piece
        bare: list[str | None] = []  # the text of pieces that were not quoted
        while True:
            gap = self.blanks(newlines=False)
            character = self.peek()
            word = None
            if not character or character in "\n,}]":
                break
            if character == '"':
                piece = quoted(self.string())
            elif self.peek(2) == "${":
                holes.append(self.substitution())
                piece = f"${{{len(holes) - 1}}}"
            elif character == "{":
                holes.append(self.block())
                piece = f"${{{len(holes) - 1}}}"
            elif character == "[":
                piece = self.list(holes)
            else:
                word = self.unquoted()
                piece = quoted(word)
            gap = "".join(c if c in " \t" else " " for c in gap) if pieces else ""
            pieces.append((gap, piece))
            bare.append(word)
        if len(pieces) == 1 and bare[0] is not None:
            if _NUMBER.fullmatch(bare[0]):
                return bare[0], bare[0]
            if bare[0] in ("true", "false", "null"):
                return bare[0], None
        return "".join(gap + piece for gap, piece in pieces), None

    def unquoted(self) -> str:
        """Words and the white space between them, without what trails."""
        start = end = self.at
        number = _NUMBER.match(self.text, self.at)
        if number:  # the plus sign of 1e+3 is allowed in a number only
            self.at = end = number.end()
        while self.at < len(self.text):
            character = self.peek()
            if character == "\n" or character in _FORBIDDEN or self.comment():
                break
            self.at += 1
            if not character.isspace():
                end = self.at
        if end == start:
            raise self.bare()
        self.at = end
        character = self.peek()
        if character and character in _FORBIDDEN and character not in '$"{}[],#':
            raise self.bare()
        return self.text[start:end]

    def bare(self) -> InvalidConfig:
        hint = 'put the string in "quotes"; a comma or a new line stands between two settings'
        if self.opened and self.text[self.opened[-1]] == "[":
            line = self.source.place(self.opened[-1]).line
            hint = f'put the string in "quotes", or close the list opened at line {line} with `]`'
        return self.error(self.at, f"{self.peek()!r} cannot stand in an unquoted string", hint)

    def list(self, holes: list[Substitution | Block]) -> str:
        self.open(self.at)
        self.at += 1
        elements: list[str] = []
        separated = True
        while True:
            before = self.at
            self.blanks(newlines=True)
            newline = "\n" in self.text[before : self.at]
            character = self.peek()
            if not character:
                raise self.unclosed("]")
            if character == "]":
                break
            if character == "}":
                raise self.error(
                    self.at,
                    "`}` inside a list, the one opened at line "
                    f"{self.source.place(self.opened[-1]).line}",
                    "close the list with `]` first",
                )
            if character == ",":
                if separated:
                    raise self.error(self.at, "a comma with nothing before it", "remove it")
                self.at += 1
                separated = True
                continue
            if elements and not (separated or newline):
                raise self.error(self.at, f"unexpected {character!r}", "a comma is missing")
            elements.append(self.concatenation(holes)[0])
            separated = False
        self.at += 1
        self.opened.pop()
        return f"[{', '.join(elements)}]"

    def substitution(self) -> Substitution:
        start = self.at
        self.at += 2
        optional = self.peek() == "?"
        self.at += optional
        path = self.path("a substitution", "}")
        if self.peek() != "}":
            raise self.error(start, "`}` missing at the end of a substitution")
        self.at += 1
        return Substitution(path, optional, self.source, start)

    def string(self) -> str:
        """The quoted or triple-quoted string that starts here, decoded."""
        start = self.at
        if self.peek(3) == '"""':
            end = self.text.find('"""', start + 3)
            if end < 0:
                raise self.error(start, 'a string that `"""` opened is never closed')
            while self.text.startswith('"', end + 3):  # more quotes at the end belong to it
                end += 1
            self.at = end + 3
            text = self.text[start + 3 : end]
        else:
            match = _STRING.match(self.text, start)
            if not match:
                raise self.error(
                    start,
                    "a string is not closed on its line",
                    'add the missing `"`; """three quotes""" hold several lines',
                )
            self.at = match.end()
            for escape in _ESCAPE.finditer(match[0]):
                if escape[0] == "\\":
                    raise self.error(
                        start + escape.start(),
                        f"{match[0][escape.start() : escape.start() + 2]!r} is no escape",
                        r"a backslash itself is \\ (or use triple quotes)",
                    )
            text = json.loads(match[0], strict=False)
        if EMPTY in text:
            raise self.error(start, "a string holds a NUL character")
        return text
