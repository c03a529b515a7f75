"""WDL's standard library over facts: no function of it opens a file.

Functions are built once for a WDL version; what they act on is the `Scope` that is set while an
expression is evaluated: a workflow's, a task's command's, a task's outputs'. A scope raises
`NeedFacts` for what is not pinned; miniwdl wraps whatever a function raises, see
`diagnostics.behind`.

Growth is bounded, so that no expression can take the server's memory or time.
"""

from __future__ import annotations

import hashlib
import io
import json
import posixpath
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import regex
import WDL.Error as WdlError
from WDL import Expr, StdLib, Type, Value

from orchestrator import errors
from orchestrator.wdl import diagnostics, miniwdl_private
from orchestrator.wdl.facts import Facts, NeedFacts, Want

LARGEST_READ_BYTES = 128 * 1024**2
LONGEST_STRING = 128 * 1024**2
LONGEST_ARRAY = 1_000_000  # what range() and cross() may make
LARGEST_INT = 2**63 - 1
REGEX_SECONDS = 1.0


class Scope:
    """What functions act on. Paths are File values as the expression sees them."""

    directory: str = ""  # join_paths() resolves relative results against it

    def content(self, path: str) -> bytes:
        """The file's content. Raises NeedFacts."""
        raise NotImplementedError

    def size(self, path: str, directory: bool) -> int:
        """Bytes of the file, or of everything below the directory. Raises NeedFacts."""
        raise NotImplementedError

    def write(self, name: str, content: bytes) -> str:
        """Make a file of this name; the answer is its path."""
        raise NotImplementedError

    def glob(self, pattern: str) -> Iterable[str]:
        """The paths that a pattern stands for."""
        raise ValueError("glob() can be used in a task's outputs only")

    def stdout(self) -> str:
        """The path of the command's standard output."""
        raise ValueError("stdout() can be used in a task's outputs only")

    def stderr(self) -> str:
        """The path of the command's standard error."""
        raise ValueError("stderr() can be used in a task's outputs only")


class Library(StdLib.Base):
    """The functions of one WDL version. Not for use by several threads at once."""

    def __init__(self, version: str, scope: Scope | None = None) -> None:
        super().__init__(version, write_dir="/nonexistent")
        self.scope = scope or Scope()
        self.size = _Size(self)
        self.read_tsv = _ReadTsv(self)
        self.range = _Range()
        self.cross = _Cross()
        self._at = _At(self)
        self._add = _Add()
        self._interpolation_add = _InterpolationAdd()
        for name, serialize in (
            ("write_lines", StdLib._serialize_lines),
            ("write_map", StdLib._serialize_map),
            ("write_json", _serialize_json),
        ):
            self._override_static(name, self._writer(name, serialize))
        self.write_tsv = StdLib._WriteTsv(self)
        self._override_static("sub", _sub)
        if miniwdl_private.is_at_least(version, "1.2"):
            self._override_static("find", _find)
            self._override_static("matches", _matches)
            self._pow = _Power()
            self.join_paths = _JoinPaths(self)
        for name, function in (
            ("stdout", lambda: Value.File(self.scope.stdout())),
            ("stderr", lambda: Value.File(self.scope.stderr())),
        ):
            setattr(self, name, StdLib.StaticFunction(name, [], Type.File(), function))
        self.glob = StdLib.StaticFunction(
            "glob", [Type.String()], Type.Array(Type.File()), self._glob
        )

    def _read(self, parse: Callable[[str], Any]) -> Callable[[Any], Any]:
        return lambda file: parse(self.text(file.value))

    def _write(self, serialize: Callable[[Any, Any], None]) -> Callable[[Any], Any]:
        return self._writer("write_tsv", serialize)

    def _writer(self, name: str, serialize: Callable[[Any, Any], None]) -> Callable[[Any], Any]:
        def write(value: Any) -> Any:
            out = io.BytesIO()
            serialize(value, out)
            content = out.getvalue()
            # The name is the content's: the same call gives the same path at every replay.
            sha256 = hashlib.sha256(content).hexdigest()
            return Value.File(self.scope.write(f"{name}_{sha256[:32]}.tmp", content))

        return write

    def _glob(self, pattern: Any) -> Any:
        if not pattern.value:
            raise ValueError("the pattern of glob() is empty")
        return Value.Array(Type.File(), [Value.File(p) for p in self.scope.glob(pattern.value)])

    def text(self, path: str) -> str:
        """The content of a file as text."""
        content = self.scope.content(path)
        if len(content) > LARGEST_READ_BYTES:
            raise ValueError(
                f"{path} has {len(content)} bytes; at most {LARGEST_READ_BYTES} are read"
            )
        try:
            return content.decode("utf-8").replace("\r\n", "\n")
        except UnicodeDecodeError:
            raise ValueError(f"{path} is not UTF-8 text") from None

    def checked(self, declaration: Any, value: Any) -> Any:
        """The value of a declaration, unless it has grown beyond bounds."""
        if isinstance(value, Value.String) and len(value.value) > LONGEST_STRING:
            raise WdlError.EvalError(
                declaration, f"{declaration.name} has more than {LONGEST_STRING} characters"
            )
        if isinstance(value, Value.Int) and abs(value.value) > LARGEST_INT:
            raise WdlError.EvalError(declaration, f"{declaration.name} does not fit in 64 bits")
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


class _Size(StdLib._Size):
    def __init__(self, functions: Library) -> None:
        super().__init__(functions)
        self._library = functions

    def _call_eager(self, expr: Any, arguments: list[Any]) -> Any:
        total = 0.0
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
        if len(arguments) > 1:
            unit = arguments[1].coerce(Type.String()).value
            if unit not in miniwdl_private.BYTES_PER_UNIT:
                known = ", ".join(miniwdl_private.BYTES_PER_UNIT)
                raise WdlError.EvalError(expr, f"size(): {unit} is not one of {known}")
            total /= miniwdl_private.BYTES_PER_UNIT[unit]
        return Value.Float(total)


class _ReadTsv(StdLib._ReadTsv):
    def __init__(self, functions: Library) -> None:
        super().__init__(functions)
        self._library = functions

    def _call_eager(self, expr: Any, arguments: list[Any]) -> Any:
        path = arguments[0].coerce(Type.File()).value
        text = self._library.text(path)
        if len(arguments) == 1:
            return StdLib._parse_tsv(text)
        if len(arguments) == 2:
            return StdLib._parse_tsv_objects(text, function_name="read_tsv", filename=path)
        keys = arguments[2].coerce(Type.Array(Type.String())).value
        return StdLib._parse_tsv_objects(
            text,
            header=arguments[1].coerce(Type.Boolean()).value,
            keys=[key.coerce(Type.String()) for key in keys],
            function_name="read_tsv",
            filename=path,
        )


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
        index = getattr(values, "_orchestrator_index", None)
        if index is None:
            index = {k.value: v for k, v in values.value}
            setattr(values, "_orchestrator_index", index)  # noqa: B010
        if key.value not in index:
            raise WdlError.OutOfBounds(expr.arguments[1], f"the map has no key {key}")
        return index[key.value]


class _Range(StdLib._Range):
    def _call_eager(self, expr: Any, arguments: list[Any]) -> Any:
        _bounded(expr, "range()", arguments[0].coerce(Type.Int()).value)
        return super()._call_eager(expr, arguments)


class _Cross(StdLib._Cross):
    def _call_eager(self, expr: Any, arguments: list[Any]) -> Any:
        _bounded(expr, "cross()", len(arguments[0].value) * len(arguments[1].value))
        return super()._call_eager(expr, arguments)


def _bounded(expr: Any, function: str, length: int) -> None:
    if length > LONGEST_ARRAY:
        raise WdlError.EvalError(
            expr, f"{function} would make {length} elements; at most {LONGEST_ARRAY} are allowed"
        )


def _short_enough(expr: Any, arguments: list[Any]) -> None:
    length = sum(len(a.value) for a in arguments if isinstance(a, Value.String))
    if length > LONGEST_STRING:
        raise WdlError.EvalError(expr, f"a string of more than {LONGEST_STRING} characters")


class _Add(StdLib._AddOperator):
    def _call_eager(self, expr: Any, arguments: list[Any]) -> Any:
        _short_enough(expr, arguments)
        return super()._call_eager(expr, arguments)


class _InterpolationAdd(StdLib._InterpolationAddOperator):
    def _call_eager(self, expr: Any, arguments: list[Any]) -> Any:
        _short_enough(expr, arguments)
        return super()._call_eager(expr, arguments)


class _Power(StdLib._ExponentiationOperator):
    def _call_eager(self, expr: Any, arguments: list[Any]) -> Any:
        base, exponent = (argument.value for argument in arguments)
        if isinstance(base, int) and isinstance(exponent, int) and abs(base) > 1 and exponent > 63:
            raise WdlError.EvalError(expr, f"{base} ** {exponent} does not fit in 64 bits")
        return super()._call_eager(expr, arguments)


class _JoinPaths(StdLib._JoinPaths):
    """`s3://bucket/a` joined with `../b` is `s3://bucket/b`; a plain normpath would break it."""

    def _absolute_path(self, parts: list[str]) -> str:
        scheme, separator, rest = parts[0].partition("://")
        if not separator:
            return str(super()._absolute_path(parts))
        root, _, path = rest.partition("/")
        joined = posixpath.normpath(posixpath.join("/", path, *parts[1:]))
        return f"{scheme}://{root}{joined}"


def _compiled(pattern: Any) -> Any:
    return regex.compile(pattern.value, flags=regex.POSIX)  # type: ignore[no-untyped-call]


def _sub(text: Any, pattern: Any, replacement: Any) -> Any:
    compiled = _compiled(pattern)
    return Value.String(compiled.sub(replacement.value, text.value, timeout=REGEX_SECONDS))


def _find(text: Any, pattern: Any) -> Any:
    compiled = _compiled(pattern)
    match = compiled.search(text.value, timeout=REGEX_SECONDS)
    return Value.String(match.group(0)) if match else Value.Null()


def _matches(text: Any, pattern: Any) -> Any:
    compiled = _compiled(pattern)
    return Value.Boolean(compiled.search(text.value, timeout=REGEX_SECONDS) is not None)


def _serialize_json(value: Any, out: Any) -> None:
    out.write(json.dumps(value.json).encode())


def content_fact(facts: Facts, uri: str) -> bytes:
    """The pinned content of a file. Raises NeedFacts; EvaluationFailed where there is nothing at
    the URI."""
    record = facts.get("content", uri)
    if not record.exists or record.content is None:
        raise errors.EvaluationFailed(f"there is no file {uri}")
    return record.content


def size_fact(facts: Facts, uri: str, directory: bool) -> int:
    """The pinned size of a file, or of everything below a directory. Raises NeedFacts."""
    if directory:
        return sum(size for _, size, _ in facts.listing(uri))
    record = facts.get("stat", uri)
    if not record.exists or record.size is None:
        raise errors.EvaluationFailed(f"there is no file {uri}")
    return record.size
