"""WDL's standard library over facts: no function of it opens a file.

Functions are built once for a WDL version; what they act on is the `Scope` that is set while an
expression is evaluated: a workflow's, a task's command's, a task's outputs'. A scope raises
`NeedFacts` for what is not pinned; miniwdl wraps whatever a function raises, see
`diagnostics.behind`.

Growth is bounded (`bounds`), and so is the time of regular expressions (`patterns`).
"""

from __future__ import annotations

import functools
import hashlib
import math
import posixpath
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import WDL.Error as WdlError
from WDL import Expr, StdLib, Type, Value

from orchestrator import errors
from orchestrator.wdl import (
    bounds,
    diagnostics,
    json_text,
    miniwdl_functions,  # noqa: F401  teaches miniwdl
    miniwdl_private,
    reading,
    staging,
)
from orchestrator.wdl.facts import Facts, NeedFacts, Want
from orchestrator.wdl.patterns import Matcher
from orchestrator.wdl.rules import Rules


class TooLargeToRead(Exception):
    """A file has more bytes than the function that reads it takes."""

    def __init__(self, size: int | None) -> None:
        self.size = size
        super().__init__(f"{size} bytes")


class Scope:
    """What functions act on. Paths are File values as the expression sees them."""

    directory: str = ""  # join_paths() resolves relative results against it

    def content(self, path: str, limit: int) -> bytes:
        """The file's content. Raises NeedFacts, TooLargeToRead where that is known already."""
        raise NotImplementedError

    def size(self, path: str, directory: bool) -> int:
        """Bytes of the file, or of everything below the directory. Raises NeedFacts."""
        raise NotImplementedError

    def write(self, name: str, content: bytes) -> str:
        """Make a file of this name; the answer is its path."""
        raise NotImplementedError

    def shown(self, path: str) -> str:
        """A file as people know it: by its URI where it has one."""
        return path

    def glob(self, pattern: str) -> Iterable[str]:
        """The paths that a pattern stands for."""
        raise ValueError("it can be used in a task's outputs only")

    def stdout(self) -> str:
        """The path of the command's standard output."""
        raise ValueError("it can be used in a task's outputs only")

    def stderr(self) -> str:
        """The path of the command's standard error."""
        raise ValueError("it can be used in a task's outputs only")


class Library(StdLib.Base):
    """The functions of one WDL version. Not for use by several threads at once."""

    def __init__(
        self, version: str, scope: Scope | None = None, rules: Rules | None = None
    ) -> None:
        super().__init__(version, write_dir="/nonexistent")
        self.rules = rules or Rules()
        self._matcher = Matcher()
        self.scope = scope or Scope()
        for name, parse in self._parsers().items():
            self._replace(name, functools.partial(self._read_file, name, parse))
        for name, serialize in (
            ("write_lines", StdLib._serialize_lines),
            ("write_map", StdLib._serialize_map),
            ("write_json", _serialize_json),
            ("write_object", lambda value, out: _serialize_objects([value], out)),
            ("write_objects", lambda value, out: _serialize_objects(value.value, out)),
        ):
            self._replace(name, functools.partial(self._write_file, name, serialize))
        self.write_tsv = StdLib._WriteTsv(self)
        self.read_tsv = _ReadTsv(self)
        self.size = _Size(self)
        self._at = _At(self)
        self._div = _Division()
        self._replace("_rem", _remainder)
        self._replace("round", _rounded)
        self.transpose = _Transpose()
        self._replace("sep", _sep)
        self._replace("sub", self._substitute)
        _bound_growth(self)
        if miniwdl_private.is_at_least(version, "1.2"):
            self._replace("find", self._find)
            self._replace("matches", self._matches)
            self.join_paths = _JoinPaths(self)
        for name, path in (("stdout", lambda: self.scope.stdout()), ("stderr", self._stderr)):
            function = functools.partial(_file, path)
            setattr(self, name, _Static(name, [], Type.File(), function))
        self.glob = _Static("glob", [Type.String()], Type.Array(Type.File()), self._glob)

    @property
    def scope(self) -> Scope:
        """What functions act on; setting it begins an evaluation."""
        return self._scope

    @scope.setter
    def scope(self, scope: Scope) -> None:
        self._scope = scope
        self.begin()

    def begin(self) -> None:
        """A new evaluation: what one may take in all is counted from here."""
        self._matcher.renew()
        self._interpolated = 0

    def interpolated(self, characters: int) -> None:
        """A placeholder made a text. Raises TooLarge when all of them together made too much."""
        self._interpolated += characters
        bounds.characters("placeholders", self._interpolated)

    def text(self, function: str, path: str) -> str:
        """The content of a file as text, for one of the read functions."""
        key, limit = self.rules.read_limit(function)
        try:
            content = self.scope.content(path, limit)
            if len(content) > limit:
                raise TooLargeToRead(len(content))
        except TooLargeToRead as error:
            size = f"{error.size:,}" if error.size is not None else "too many"
            raise ValueError(
                f"{self.scope.shown(path)} has {size} bytes; at most {limit:,} are read ({key})"
            ) from None
        try:
            return reading.text(content)
        except ValueError as error:
            raise ValueError(f"{self.scope.shown(path)}: {error}") from None

    def parsed(self, path: str, parse: Callable[[str], Any], text: str) -> Any:
        """What a parser makes of a file's text; its error names the file."""
        try:
            return parse(text)
        except ValueError as error:
            raise ValueError(f"{self.scope.shown(path)}: {error}") from None

    def fitted(self, node: Any, name: str, value: Any, type_: Any) -> Any:
        """The value as one of a type. A null where none may be is an error: miniwdl makes empty
        text of it, with which commands would run."""
        if isinstance(value, Value.Null) and not type_.optional and not isinstance(type_, Type.Any):
            raise WdlError.EvalError(
                node, f"{name} is null, but has to be {type_}: select_first() gives it a default"
            )
        return value.coerce(type_)

    def checked(self, declaration: Any, value: Any) -> Any:
        """The value of a declaration, unless it has grown beyond bounds."""
        try:
            bounds.declared(value)
        except bounds.TooLarge as error:
            raise WdlError.EvalError(declaration, f"{declaration.name}: {error}") from None
        return value

    def wants(self, expressions: Iterable[Any], env: Any) -> frozenset[Want]:
        """All facts that reads and sizes in expressions lack, found one by one.

        Evaluation stops at the first; asking for all at once saves a round trip for each.
        """
        return frozenset(want for expr in expressions for want in self._wants(expr, env))

    def _wants(self, expression: Any, env: Any) -> Iterator[Want]:
        for child in expression.children:
            if isinstance(child, Expr.Base):
                yield from self._wants(child, env)
        if isinstance(expression, Expr.Apply) and (
            expression.function_name == "size" or expression.function_name.startswith("read_")
        ):
            try:
                expression.eval(env, self)
            except Exception as error:  # what else is wrong with it shows when it is all evaluated
                need = diagnostics.behind(error, NeedFacts)
                if need is not None:
                    yield from need.wants

    def _parsers(self) -> dict[str, Callable[[str], Any]]:
        return {
            "read_lines": reading.lines,
            "read_boolean": reading.boolean,
            "read_int": reading.integer,
            "read_float": reading.floating,
            "read_string": lambda text: reading.string(text, self.rules.trimmed_strings),
            "read_json": reading.json_value,
            "read_map": reading.mapping,
            "read_object": reading.one_object,
            "read_objects": reading.objects,
        }

    def _read_file(self, name: str, parse: Callable[[str], Any], file: Any) -> Any:
        return self.parsed(file.value, parse, self.text(name, file.value))

    def _write_file(self, name: str, serialize: Callable[[Any, Any], None], value: Any) -> Any:
        out = bounds.Buffer(f"{name}()")
        serialize(value, out)
        content = out.getvalue()
        # The name is the content's: the same call gives the same path at every replay.
        sha256 = hashlib.sha256(content).hexdigest()
        return Value.File(self.scope.write(f"{name}_{sha256[:32]}.tmp", content))

    def _write(self, serialize: Callable[[Any, Any], None]) -> Callable[[Any], Any]:
        return functools.partial(self._write_file, "write_tsv", serialize)

    def _substitute(self, text: Any, pattern: Any, replacement: Any) -> Any:
        return Value.String(self._matcher.sub(text.value, pattern.value, replacement.value))

    def _find(self, text: Any, pattern: Any) -> Any:
        found = self._matcher.find(text.value, pattern.value)
        return Value.Null() if found is None else Value.String(found)

    def _matches(self, text: Any, pattern: Any) -> Any:
        return Value.Boolean(self._matcher.find(text.value, pattern.value) is not None)

    def _glob(self, pattern: Any) -> Any:
        if not pattern.value:
            raise ValueError("its pattern is empty")
        return Value.Array(Type.File(), [Value.File(p) for p in self.scope.glob(pattern.value)])

    def _stderr(self) -> str:
        return self.scope.stderr()

    def _replace(self, name: str, function: Callable[..., Any]) -> None:
        """Another implementation of a function, under the same signature."""
        old = getattr(self, name)
        setattr(self, name, _Static(name, old.argument_types, old.return_type, function))

    # Files are named by URIs and by paths that are not this machine's: nothing to resolve.

    def _resolve_source_relative_path(self, filename: str) -> str:
        return filename

    def _join_paths_default_directory(self) -> str:
        return self.scope.directory


class Collector:
    """Evaluates one expression after another and gathers what facts they lack."""

    def __init__(self, functions: Library, env: Any) -> None:
        self.wants: set[Want] = set()
        self._library = functions
        self._env = env

    def run(
        self, expressions: Iterable[Any], evaluate: Callable[[], Any], subject: str, node: Any
    ) -> Any:
        """The value, or None where a fact is lacking. Raises EvaluationFailed, OutputMissing."""
        try:
            return evaluate()
        except Exception as error:
            need = diagnostics.behind(error, NeedFacts)
            if need is not None:
                self.wants |= need.wants | self._library.wants(expressions, self._env)
                return None
            if self.wants:  # it may lack a value that could not be had yet
                return None
            ours = diagnostics.behind(error, errors.OrchestratorError)
            if ours is not None:
                if ours.place is None:
                    ours.place = diagnostics.place(getattr(error, "pos", None) or node.pos)
                raise ours from None
            raise diagnostics.evaluation_failed(error, subject, node.pos) from error

    def raise_wants(self) -> None:
        """Raises NeedFacts if anything was lacking."""
        if self.wants:
            raise NeedFacts(self.wants)


class _Static(StdLib.StaticFunction):
    """A function of fixed types, whose errors begin with its name."""

    def _call_eager(self, expr: Any, arguments: list[Any]) -> Any:
        given = [a.coerce(t) for a, t in zip(arguments, self.argument_types, strict=False)]
        try:
            answer = self.F(*given)
        except (NeedFacts, errors.OrchestratorError):
            raise
        except ValueError as error:
            raise WdlError.EvalError(expr, f"{_known_as(self.name)}: {error}") from error
        return answer.coerce(self.return_type)


def _known_as(name: str) -> str:
    return {"_rem": "%"}.get(name, f"{name}()")


class _Size(StdLib._Size):
    def __init__(self, functions: Library) -> None:
        super().__init__(functions)
        self._library = functions

    def _call_eager(self, expr: Any, arguments: list[Any]) -> Any:
        total = 0
        wants: set[Want] = set()
        scope = self._library.scope

        def add(path: Any) -> str:
            nonlocal total
            try:
                total += scope.size(path.value, isinstance(path, Value.Directory))
            except NeedFacts as need:
                wants.update(need.wants)
            return str(path.value)

        Value.rewrite_paths(self._coerce_paths_argument(arguments[0], expr.arguments[0].type), add)
        if wants:
            raise NeedFacts(wants)
        unit = arguments[1].coerce(Type.String()).value if len(arguments) > 1 else "B"
        return Value.Float(total / self._bytes(unit, expr))

    def _bytes(self, unit: str, expr: Any) -> int:
        units = miniwdl_private.BYTES_PER_UNIT
        if unit not in units:
            known = ", ".join(units)
            raise WdlError.EvalError(expr, f"size(): {unit!r} is not one of the units {known}")
        if self._library.rules.binary_sizes and f"{unit[0]}iB" in units:
            unit = f"{unit[0]}iB"
        return units[unit]


class _ReadTsv(StdLib._ReadTsv):
    def __init__(self, functions: Library) -> None:
        super().__init__(functions)
        self._library = functions

    def _call_eager(self, expr: Any, arguments: list[Any]) -> Any:
        path = arguments[0].coerce(Type.File()).value
        parse: Callable[[str], Any] = reading.table
        if len(arguments) == 2:
            parse = reading.objects
        elif len(arguments) == 3:
            header = arguments[1].coerce(Type.Boolean()).value
            keys = arguments[2].coerce(Type.Array(Type.String())).value
            names = [key.coerce(Type.String()).value for key in keys]
            parse = functools.partial(reading.objects, header=header, names=names)
        try:
            return self._library.parsed(path, parse, self._library.text("read_tsv", path))
        except ValueError as error:
            raise WdlError.EvalError(expr, f"read_tsv(): {error}") from error


class _At(StdLib._At):
    """`map[key]` by an index: miniwdl compares with every key, type-checked."""

    def _call_eager(self, expr: Any, arguments: list[Any]) -> Any:
        values, key = arguments
        map_type = expr.arguments[0].type
        if not isinstance(values, Value.Map) or not isinstance(map_type, Type.Map):
            return super()._call_eager(expr, arguments)
        key = key.coerce(map_type.item_type[0])
        if not isinstance(key.value, str | int | float | bool):
            return super()._call_eager(expr, arguments)
        # Copies of a value, made where paths are rewritten, carry the index of other keys.
        items, index = values.__dict__.get("_orchestrator_index", (None, {}))
        if items is not values.value:
            index = {k.value: v for k, v in values.value}
            values.__dict__["_orchestrator_index"] = (values.value, index)
        if key.value not in index:
            raise WdlError.OutOfBounds(expr.arguments[1], f"the map has no key {key.json!r}")
        return index[key.value]


class _Division(StdLib._DivisionOperator):
    """Int / Int drops the fraction, as Cromwell (and C, and Java) do; Python rounds down."""

    def _call_eager(self, expr: Any, arguments: list[Any]) -> Any:
        type_ = self.infer_type(expr)
        left, right = (argument.coerce(type_).value for argument in arguments)
        if right == 0:
            raise WdlError.EvalError(expr, "division by zero")
        if isinstance(type_, Type.Float):
            return Value.Float(left / right)
        quotient = abs(left) // abs(right)
        return Value.Int(quotient if (left < 0) == (right < 0) else -quotient)


def _remainder(left: Any, right: Any) -> Any:
    if right.value == 0:
        raise ValueError("division by zero")
    return Value.Int(int(math.copysign(1, left.value)) * (abs(left.value) % abs(right.value)))


def _rounded(number: Any) -> Any:
    """Half up, as WDL says: `round(-1.5)` is -1. (`floor(x + 0.5)` would make 1 of what is just
    below a half.)"""
    below = math.floor(number.value)
    return Value.Int(below + 1 if number.value - below >= 0.5 else below)


class _Transpose(StdLib._Transpose):
    def _call_eager(self, expr: Any, arguments: list[Any]) -> Any:
        if not arguments[0].value:  # `[]`, whose type tells nothing
            return arguments[0]
        return super()._call_eager(expr, arguments)


def _sep(separator: Any, texts: Any) -> Any:
    return Value.String(bounds.joined("sep()", separator.value, (t.value for t in texts.value)))


class _JoinPaths(StdLib._JoinPaths):
    """`s3://bucket/a` joined with `../b` is `s3://bucket/b`; a plain normpath would break it."""

    def _absolute_path(self, parts: list[str]) -> str:
        scheme, separator, rest = parts[0].partition("://")
        if not separator:
            return str(super()._absolute_path(parts))
        root, _, path = rest.partition("/")
        joined = posixpath.normpath(posixpath.join("/", path, *parts[1:]))
        return f"{scheme}://{root}{joined}"


def _file(path: Callable[[], str]) -> Any:
    return Value.File(path())


def _serialize_json(value: Any, out: Any) -> None:
    bounds.declared(value)
    out.write(json_text.text(value.json, json_text.PLAIN).encode())


def _serialize_objects(objects: list[Any], out: Any) -> None:
    """A line of names, a line of values for each; the names are the first one's."""
    rows = [_members(one) for one in objects]
    if not rows:
        return
    names = list(rows[0])
    for number, row in enumerate(rows):
        if row.keys() != rows[0].keys():
            raise ValueError(f"object {number} has other members than the first one")
    for cells in (names, *([row[name] for name in names] for row in rows)):
        if any("\t" in cell or "\n" in cell for cell in cells):
            raise ValueError("names and values must not contain tabs or line ends")
        out.write("\t".join(cells).encode() + b"\n")


def _members(value: Any) -> dict[str, str]:
    if isinstance(value, Value.Struct):
        items = list(value.value.items())
    elif isinstance(value, Value.Map):
        items = [(key.coerce(Type.String()).value, item) for key, item in value.value]
    else:
        raise ValueError(f"{value.type} has no members")
    return {
        name: "" if isinstance(item, Value.Null) else item.coerce(Type.String()).value
        for name, item in items
    }


def _bound_growth(functions: Library) -> None:
    """Each function that can make more than it was given."""

    def guard(name: str, measure: Callable[[list[Any]], object]) -> None:
        function = getattr(functions, name)
        call = function._call_eager

        def guarded(expr: Any, arguments: list[Any]) -> Any:
            try:
                measure(arguments)
            except ValueError as error:
                raise WdlError.EvalError(expr, str(error)) from None
            return call(expr, arguments)

        function._call_eager = guarded

    def affixed(name: str, affix: int, texts: Any) -> None:
        characters = sum(len(t.value) if isinstance(t, Value.String) else 8 for t in texts.value)
        bounds.characters(f"{name}()", characters + affix * len(texts.value))

    def flattened(arguments: list[Any]) -> None:
        bounds.length("flatten()", sum(len(row.value) for row in arguments[0].value))
        bounds.declared(arguments[0])

    def text_length(arguments: list[Any]) -> int:
        return sum(len(a.value) for a in arguments if isinstance(a, Value.String))

    guard("range", lambda a: bounds.length("range()", a[0].coerce(Type.Int()).value))
    guard("cross", lambda a: bounds.length("cross()", len(a[0].value) * len(a[1].value)))
    guard("flatten", flattened)
    guard("prefix", lambda a: affixed("prefix", len(a[0].coerce(Type.String()).value), a[1]))
    if hasattr(functions, "quote"):
        guard("suffix", lambda a: affixed("suffix", len(a[0].coerce(Type.String()).value), a[1]))
        guard("quote", lambda a: affixed("quote", 2, a[0]))
        guard("squote", lambda a: affixed("squote", 2, a[0]))

    def no_null(arguments: list[Any]) -> None:
        if any(isinstance(argument, Value.Null) for argument in arguments):
            raise ValueError(
                "an operand is null: select_first() gives it a default, and inside a placeholder "
                "(~{...}) text that is added to null vanishes"
            )

    def no_null_text(arguments: list[Any]) -> None:
        no_null(arguments)
        bounds.characters("+", text_length(arguments))

    guard("_add", no_null_text)
    guard("_interpolation_add", lambda a: bounds.characters("+", text_length(a)))
    for operator in ("_sub", "_mul", "_div", "_lt", "_lte", "_gt", "_gte"):
        guard(operator, no_null)
    if hasattr(functions, "_pow"):
        guard("_pow", _bounded_power)


def _bounded_power(arguments: list[Any]) -> None:
    base, exponent = (argument.value for argument in arguments)
    if isinstance(base, int) and isinstance(exponent, int) and abs(base) > 1 and exponent > 63:
        raise bounds.TooLarge(f"{base} ** {exponent} does not fit in 64 bits")


def content_fact(facts: Facts, uri: str, limit: int) -> bytes:
    """The pinned content of a file. Raises NeedFacts, TooLargeToRead; EvaluationFailed where there
    is nothing at the URI."""
    stat = facts.peek("stat", uri)
    if stat is not None and stat.exists and stat.size is not None and stat.size > limit:
        raise TooLargeToRead(stat.size)
    record = facts.get("content", uri)
    if not record.exists:
        raise errors.EvaluationFailed(f"there is no file {staging.shown(uri)}")
    if record.content is None:
        raise TooLargeToRead(record.size)
    return record.content


def size_fact(facts: Facts, uri: str, directory: bool) -> int:
    """The pinned size of a file, or of everything below a directory. Raises NeedFacts."""
    if directory:
        return sum(size for _, size, _ in facts.listing(uri))
    record = facts.get("stat", uri)
    if not record.exists or record.size is None:
        raise errors.EvaluationFailed(f"there is no file {staging.shown(uri)}")
    return record.size
