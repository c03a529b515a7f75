# mypy: disable-error-code="no-untyped-call"
"""Parsing as Cromwell does where miniwdl is stricter. Uses miniwdl's private names.

What it leans on: the transformer of syntax trees (`_parser._DocTransformer`) and the text of the
grammars. What the syntax allows only Cromwell is noted on the way; nodes that adapt values as
Cromwell would are made for `lenient` only. `miniwdl_checking` goes on with what is parsed here.
"""

from __future__ import annotations

import functools
import re
from typing import Any

import lark
from WDL import Error, Expr, Tree, Type, Value, _grammar, _grammar_old, _parser

from orchestrator.errors import Finding, Place
from orchestrator.wdl import diagnostics

Notes = list[Finding]

# Words of the grammar that Cromwell takes as names.
_NAMES_ALL_THE_SAME = frozenset({"left", "right", "object"})


class ObjectType(Type.Any):
    """`Object`: a value with members that nobody declared. What they are is seen when used."""

    def __init__(self, optional: bool = False) -> None:
        self._optional = optional

    def __str__(self) -> str:
        return "Object?" if self.optional else "Object"


class Member(Expr.Get):
    """Access to a member: also of an Object, and of structs to members called left and right."""

    def _infer_type(self, type_env: Any) -> Any:
        try:
            return super()._infer_type(type_env)
        except Error.NoSuchMember:
            type_: Any = self.expr.type
            if isinstance(type_, Type.StructInstance | Type.Object):
                members: Any = type_.members
                if self.member in members:
                    return members[self.member]
            if isinstance(type_, Type.Any) and not type_.optional:
                return Type.Any()
            raise

    def _eval(self, env: Any, stdlib: Any) -> Any:
        if self.member is None or not isinstance(self.expr.type, Type.Any | Type.Object):
            return super()._eval(env, stdlib)
        value = self.expr.eval(env, stdlib)
        members: dict[str, Any] = {}
        if isinstance(value, Value.Struct):
            members = value.value
        elif isinstance(value, Value.Map):
            members = {str(key.value): item for key, item in value.value}
        elif isinstance(value, Value.Pair):
            members = dict(zip(("left", "right"), value.value, strict=True))
        if self.member not in members:
            hint = diagnostics.closest(self.member, members)
            raise Error.EvalError(
                self, f"the object has no member {self.member}" + (f", {hint}" if hint else "")
            )
        return members[self.member]


class _Adapted(Expr.Base):
    """An expression whose value becomes what its place needs, as Cromwell coerces it."""

    def __init__(self, expr: Any) -> None:
        super().__init__(expr.pos)
        self.expr = expr
        self._target: Any = None

    def __str__(self) -> str:
        return str(self.expr)

    @property
    def children(self) -> Any:
        yield self.expr

    @property
    def literal(self) -> Any:
        return self.expr.literal

    def _infer_type(self, type_env: Any) -> Any:
        return self.expr.type

    def typecheck(self, expected: Any) -> Any:
        """As miniwdl's; String -> Boolean and Map -> Array besides."""
        try:
            return super().typecheck(expected)
        except Error.StaticTypeMismatch:
            if not _adapts(self.expr.type, expected):
                raise
            self._target = expected
            return self

    def _eval(self, env: Any, stdlib: Any) -> Any:
        value = self.expr.eval(env, stdlib)
        return value if self._target is None else _adapt(self, value, self._target)


class _Condition(_Adapted):
    """Of `if`: text may say true or false."""

    def _infer_type(self, type_env: Any) -> Any:
        if isinstance(self.expr.type, Type.String):
            self._target = Type.Boolean()
        return self._target or self.expr.type


class _Iterated(_Adapted):
    """Of `scatter` and `length`: a map is an array of pairs."""

    def _infer_type(self, type_env: Any) -> Any:
        if isinstance(self.expr.type, Type.Map):
            self._target = Type.Array(Type.Pair(*self.expr.type.item_type))
        return self._target or self.expr.type


class _Rows(_Adapted):
    """Of `write_tsv`: a map is an array of rows of two."""

    def _infer_type(self, type_env: Any) -> Any:
        if isinstance(self.expr.type, Type.Map):
            self._target = Type.Array(Type.Array(Type.String()))
        return self._target or self.expr.type


class _Placeholder(Expr.Placeholder):
    """`sep` of what is no array has no effect; `true` and `false` of text that says which."""

    def _infer_type(self, type_env: Any) -> Any:
        if not isinstance(self.expr.type, Type.Array):
            self.options = {k: v for k, v in self.options.items() if k != "sep"}
        if self.options.keys() & {"true", "false"} and isinstance(self.expr.type, Type.String):
            self.expr = _Condition(self.expr)
            self.expr._check_quant = self._check_quant
            self.expr._type = self.expr._infer_type(type_env)
        return super()._infer_type(type_env)


def _adapts(type_: Any, wanted: Any) -> bool:
    if isinstance(type_, Type.String) and isinstance(wanted, Type.Boolean):
        return True
    if not (isinstance(type_, Type.Map) and isinstance(wanted, Type.Array)):
        return False
    item, (key, value) = wanted.item_type, type_.item_type
    if isinstance(item, Type.Pair):
        return bool(key.coerces(item.left_type, False) and value.coerces(item.right_type, False))
    if isinstance(item, Type.Array):
        return all(part.coerces(item.item_type, False) for part in (key, value))
    return False


def _adapt(node: Any, value: Any, wanted: Any) -> Any:
    if isinstance(value, Value.Map):
        pair = isinstance(wanted.item_type, Type.Pair)
        items = [
            Value.Pair(key.type, item.type, (key, item))
            if pair
            else Value.Array(
                wanted.item_type.item_type,
                [part.coerce(wanted.item_type.item_type) for part in (key, item)],
            )
            for key, item in value.value
        ]
        return Value.Array(wanted.item_type, [item.coerce(wanted.item_type) for item in items])
    if isinstance(value, Value.String):
        if value.value.strip().lower() not in ("true", "false"):
            raise Error.EvalError(node, f"{value.value!r} is neither true nor false")
        return Value.Boolean(value.value.strip().lower() == "true")
    return value


_with_meta = lark.v_args(meta=True)


class _Transformer(_parser._DocTransformer):
    """Syntax tree -> nodes, noting what only Cromwell allows."""

    def __init__(self, notes: Notes, lenient: bool, **more: Any) -> None:
        super().__init__(**more)
        self._notes = notes
        self._lenient = lenient

    def _note(self, position: Any, message: str) -> None:
        self._notes.append(Finding(message, diagnostics.place(position)))

    def _check_keyword(self, pos: Any, name: Any, *, allow_task: bool = False) -> None:
        if name in _NAMES_ALL_THE_SAME:
            self._note(pos, f"{name} is a word of the language, taken as a name")
        else:
            super()._check_keyword(pos, name, allow_task=allow_task)

    @_with_meta
    def type(self, meta: Any, items: Any) -> Any:
        if items[0].value == "Object" and not any(isinstance(i, Type.Base) for i in items[1:]):
            position = self._sp(meta)
            self._note(position, "Object is no type of WDL any more; a struct says what it holds")
            type_ = ObjectType(any("optional" in i for i in items[1:] if isinstance(i, set)))
            type_.pos = position
            return type_
        return super().type(meta, items)

    @_with_meta
    def get_name(self, meta: Any, items: Any) -> Any:
        got: Any = super().get_name(meta, items)
        return Member(got.pos, got.expr, got.member)

    @_with_meta
    def meta_object(self, meta: Any, items: Any) -> Any:
        return super().meta_object(meta, self._once(meta, items, "key", "of a meta section"))

    @_with_meta
    def call_inputs(self, meta: Any, items: Any) -> Any:
        pairs = [item for item in items if isinstance(item, tuple)]
        others = [item for item in items if not isinstance(item, tuple)]
        return super().call_inputs(meta, others + self._once(meta, pairs, "input", "of a call"))

    def _once(self, meta: Any, pairs: Any, what: str, where: str) -> list[Any]:
        last: dict[str, Any] = {}
        for name, value in pairs:
            if name in last:
                position = getattr(value, "pos", None) or self._sp(meta)
                self._note(position, f"the {what} {name} {where} stands twice; the last one counts")
                last.pop(name)
            last[name] = value
        return list(last.items())

    @_with_meta
    def import_doc(self, meta: Any, items: Any) -> Any:
        try:
            return super().import_doc(meta, items)
        except Error.SyntaxError:
            if any(isinstance(item, lark.Token) for item in items[1:]):
                raise
            position, uri = self._sp(meta), items[0]
            self._note(
                position, f"the import {uri} has no name to call its tasks by; `as` gives one"
            )
            aliases = [item for item in items[1:] if isinstance(item, tuple)]
            return Tree.DocImport(position, uri, uri, aliases, None)

    @_with_meta
    def document(self, meta: Any, items: Any) -> Any:
        kept: list[Any] = []
        structs: dict[str, Any] = {}
        for item in items:
            if isinstance(item, Tree.StructTypeDef):
                known = structs.setdefault(item.name, item)
                if known is not item and written(known) == written(item):
                    self._note(item.pos, f"struct {item.name} is declared again")
                    continue
            kept.append(item)
        return super().document(meta, kept)

    # What adapts values, for what did not pass otherwise.

    @_with_meta
    def decl(self, meta: Any, items: Any) -> Any:
        made = super().decl(meta, items)
        if self._lenient and made.expr is not None:
            made.expr = _Adapted(made.expr)
        return made

    @_with_meta
    def call_input(self, meta: Any, items: Any) -> Any:
        name, expr = super().call_input(meta, items)
        return name, _Adapted(expr) if self._lenient and len(items) > 1 else expr

    @_with_meta
    def scatter(self, meta: Any, items: Any) -> Any:
        if self._lenient:
            items = [items[0], _Iterated(items[1]), *items[2:]]
        return super().scatter(meta, items)

    @_with_meta
    def conditional(self, meta: Any, items: Any) -> Any:
        if self._lenient:
            items = [_Condition(items[0]), *items[1:]]
        return super().conditional(meta, items)

    @_with_meta
    def ifthenelse(self, meta: Any, items: Any) -> Any:
        if self._lenient:
            items = [_Condition(items[0]), *items[1:]]
        return super().ifthenelse(meta, items)

    @_with_meta
    def apply(self, meta: Any, items: Any) -> Any:
        adapted = {"write_tsv": _Rows, "length": _Iterated}.get(items[0])
        if self._lenient and adapted and len(items) > 1:
            items = [items[0], adapted(items[1]), *items[2:]]
        return super().apply(meta, items)

    @_with_meta
    def placeholder_option(self, meta: Any, items: Any) -> Any:
        """A number (`~{default=0 n}`) is the text that is written there, as in Cromwell; miniwdl
        leaves an expression, which none of its placeholders can print."""
        name, value = super().placeholder_option(meta, items)
        if isinstance(value, Expr.Int | Expr.Float):
            line = self._source_text.split("\n")[value.pos.line - 1]
            value = line[value.pos.column - 1 : value.pos.end_column - 1]
        return name, value

    @_with_meta
    def placeholder(self, meta: Any, items: Any) -> Any:
        made = super().placeholder(meta, items)
        return _Placeholder(made.pos, made.options, made.expr) if self._lenient else made


def written(struct: Any) -> dict[str, str]:
    """The members of a struct's definition, as they are declared."""
    return {name: str(type_) for name, type_ in struct.members.items()}


# What Cromwell called versions before they had a number.
_OTHER_NAMES = {"draft-3": "1.0", "development-1.1": "1.1"}


def _declared_version(text: str) -> tuple[str | None, int]:
    """The version that the first line of code declares, and that line."""
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip()
        if line and not line.startswith("#"):
            match = re.fullmatch(r"version\s+([^\s#]+)\s*(#.*)?", line)
            return (match[1] if match else None), number
    return None, 1


def parse(text: str, name: str, notes: Notes, *, lenient: bool = False) -> Any:
    """A `Tree.Document`, not checked yet, its imports not loaded.

    As `_parser.parse_document`. Raises miniwdl's errors; RecursionError.
    """
    if not text.strip():
        return _parser.parse_document(text, uri=name, abspath=name)
    declared, line = _declared_version(text)
    if declared in _OTHER_NAMES:
        place = Place(name, line, 1)
        notes.append(Finding(f"version {declared} is {_OTHER_NAMES[declared]} by now", place))
        declared = _OTHER_NAMES[declared]
    version = declared or "draft-2"
    at = {"uri": name, "abspath": name}
    try:
        grammar, keywords = _grammar.get(version)
    except KeyError:
        known = ", ".join(_grammar.versions)
        raise Error.SyntaxError(
            _position(at), f"unknown WDL version {version}; choices: {known}", version, declared
        ) from None
    if version == "draft-2" and re.search(r"\b[Oo]bject\b", text):
        grammar = _draft_2_with_objects()
    try:
        tree, comments = _syntax_tree(grammar, text)
        return _Transformer(
            notes,
            lenient,
            source_text=text,
            keywords=keywords,
            comments=comments,
            version=version,
            declared_version=declared,
            **at,
        ).transform(tree)
    except lark.exceptions.UnexpectedInput as error:
        raise Error.SyntaxError(_position(at, error), str(error), version, declared) from None
    except lark.exceptions.VisitError as error:
        inner: Any = error.__context__ or error
        if isinstance(inner, Error._BadCharacterEncoding):
            raise Error.SyntaxError(
                inner.pos, "bad escape sequence in a string", version, declared
            ) from None
        raise inner from None


def _syntax_tree(grammar: str, text: str) -> Any:
    """miniwdl's grammars of draft-2 and 1.0 have options of placeholders (`~{sep=", " xs}`) in
    commands only; WDL has them in strings, too. Tried second: there `sep` is no name any more."""
    try:
        return _parser.parse(grammar, text, "document")
    except lark.exceptions.UnexpectedInput:
        with_options = re.sub(
            r'(STRING[12]_FRAGMENT\? (?:_EITHER_DELIM|"\$\{")) expr', r"\1 placeholder", grammar
        )
        if with_options == grammar:
            raise
        try:
            return _parser.parse(with_options, text, "document")
        except lark.exceptions.UnexpectedInput:
            pass
        raise


@functools.cache
def _draft_2_with_objects() -> str:
    """miniwdl's grammar of draft-2 lacks Object: the type, and literals as 1.0 has them."""
    types = _grammar_old.productions_pre_1_0.replace(
        'BUILTIN_TYPE.2: "Int"', 'BUILTIN_TYPE.2: "Object" | "Int"'
    )
    literal = """          | "object" "{" [object_kv ("," object_kv)* ","?] "}" -> obj

object_kv: CNAME ":" expr
         | string_literal ":" expr
"""
    return str(_grammar_old.productions_common1 + literal + types)


def _position(at: dict[str, str], error: Any = None) -> Any:
    line, column = (max(1, getattr(error, n, 1) or 1) for n in ("line", "column"))
    return Error.SourcePosition(**at, line=line, column=column, end_line=line, end_column=column)
