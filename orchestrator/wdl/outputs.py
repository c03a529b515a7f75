"""A task's outputs: planned before the command runs, evaluated from the manifest afterwards.

Planning evaluates every output in its order of dependence. What evaluates gives exact paths; what
`read_*` and `glob` are asked for is noted; an output of File type that depends on what the command
will have written cannot be planned, so everything the command leaves is kept.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from WDL import Expr, Type, Value

from orchestrator import errors
from orchestrator.model.job import OutputPlan, WorkDir
from orchestrator.model.manifest import Manifest
from orchestrator.wdl import diagnostics, library, miniwdl_private
from orchestrator.wdl.facts import Facts, NeedFacts
from orchestrator.wdl.library import Library
from orchestrator.wdl.localization import Layout, Localizer
from orchestrator.wdl.scopes import PlanScope, ResultScope, output_missing
from orchestrator.wdl.staging import Staging

# Functions that choose among values without making new ones.
_PICKING = frozenset(
    {
        "_at",
        "glob",
        "select_first",
        "select_all",
        "flatten",
        "transpose",
        "zip",
        "unzip",
        "cross",
        "chunk",
        "length",
        "defined",
    }
)


@dataclass(frozen=True, slots=True)
class Attempt:
    """What outputs are evaluated in: the directories, files and values of one attempt."""

    task: Any  # WDL.Tree.Task
    declarations: tuple[Any, ...]  # its outputs in order of dependence
    where: WorkDir
    layout: Layout
    localizer: Localizer = field(repr=False)
    written: dict[str, bytes] = field(repr=False)
    values: Mapping[str, Any] = field(repr=False)
    staging_place: str = ""


def plan(attempt: Attempt, facts: Facts, functions: Library) -> OutputPlan:
    """What to look for when the command has ended. Raises NeedFacts."""
    scope = PlanScope(*_files(attempt, facts), where=attempt.where)
    functions.scope = scope
    env = miniwdl_private.Environment(dict(attempt.values))
    everything = False
    for decl in attempt.declarations:
        try:
            value = decl.expr.eval(env, functions)
            value = functions.fitted(decl.expr, decl.name, value, decl.type)
            _plan_paths(scope, value)
            env.values[decl.name] = value
        except Exception as error:
            known = diagnostics.behind(error, (NeedFacts, errors.OrchestratorError))
            if known is not None:
                if isinstance(known, errors.OrchestratorError) and known.place is None:
                    known.place = diagnostics.place(decl.pos)
                raise known from None
            if not _readable(decl.expr, env, functions):
                everything = True
            if miniwdl_private.holds_paths(decl.type) and not _only_picks(decl.expr):
                everything = True
    return OutputPlan(
        files=tuple(scope.files),
        globs=tuple(scope.globs),
        reads=tuple(scope.reads),
        everything=everything,
    )


def _files(attempt: Attempt, facts: Facts) -> tuple[Any, ...]:
    staging = Staging(facts, attempt.staging_place)
    return attempt.layout, attempt.localizer, attempt.written, facts, staging


def _plan_paths(scope: PlanScope, value: Any) -> None:
    def note(path: Any) -> str:
        scope.look_for(path.value, isinstance(path, Value.Directory))
        return str(path.value)

    miniwdl_private.rewrite_paths(value, note)


def _readable(expression: Any, env: Any, functions: Library) -> bool:
    """Note what an expression reads, every read by itself. False: a file is read whose path is not
    known yet, nor does it come from a glob."""
    readable = True
    for child in expression.children:
        if isinstance(child, Expr.Base):
            readable = _readable(child, env, functions) and readable
    if not isinstance(expression, Expr.Apply):
        return readable
    name = expression.function_name
    if name == "glob" or name == "size" or name.startswith("read_"):
        argument = expression.arguments[0]
        try:
            argument.eval(env, functions)
        except Exception:
            return readable and name != "glob" and _only_picks(argument)
        try:
            expression.eval(env, functions)
        except Exception as error:
            known = diagnostics.behind(error, (NeedFacts, errors.OrchestratorError))
            if known is not None:
                raise known from None
    return readable


def _only_picks(expression: Any) -> bool:
    """Whether an expression only chooses among files that are kept anyway (those of a glob)."""
    if isinstance(expression, Expr.String):
        return False
    if isinstance(expression, Expr.Ident):
        return not _holds_text(expression.type)  # a text may be a path that nobody keeps
    if isinstance(expression, Expr.Apply):
        if expression.function_name not in _PICKING:
            return False
        if expression.function_name == "glob":
            return True
    if isinstance(expression, Expr.IfThenElse):
        return _only_picks(expression.consequent) and _only_picks(expression.alternative)
    return all(_only_picks(child) for child in expression.children if isinstance(child, Expr.Base))


def _holds_text(type_: Any) -> bool:
    return isinstance(type_, Type.String | Type.Any | Type.Object) or any(
        _holds_text(parameter) for parameter in type_.parameters
    )


def result(
    attempt: Attempt, manifest: Manifest, facts: Facts, functions: Library
) -> dict[str, Any]:
    """The outputs as JSON values, files as URIs. Raises OutputMissing, NeedFacts,
    EvaluationFailed."""
    scope = ResultScope(*_files(attempt, facts), manifest=manifest)
    functions.scope = scope
    env = miniwdl_private.Environment(dict(attempt.values))
    collector = library.Collector(functions, env)
    outputs: dict[str, Any] = {}
    for decl in attempt.declarations:
        value = collector.run(
            [decl.expr],
            lambda decl=decl: _result_of(decl, scope, env, functions),  # type: ignore[misc]
            attempt.task.name,
            decl,
        )
        if value is not None:
            env.values[decl.name] = value
            outputs[decl.name] = _kept(value, scope, attempt)
    collector.raise_wants()
    return {decl.name: outputs[decl.name] for decl in attempt.task.outputs}


def _result_of(decl: Any, scope: ResultScope, env: Any, functions: Library) -> Any:
    value = functions.fitted(decl.expr, decl.name, decl.expr.eval(env, functions), decl.type)
    missing: list[str] = []

    def existing(path: Any) -> str | None:
        text = str(path.value)
        directory = isinstance(path, Value.Directory)
        if scope.input_uri(text) is not None:
            return text
        if scope.is_directory(text) if directory else scope.find(text) is not None:
            return text
        if not directory and scope.is_directory(text):
            raise errors.OutputMissing(
                f"output {decl.name}: {text} is a directory, not a file",
                place=diagnostics.place(decl.pos),
            )
        missing.append(text)
        return None

    value = miniwdl_private.rewrite_paths(value, existing)
    if missing and not _may_be(decl.type, value):
        raise output_missing(missing[0], decl)
    return value


def _kept(value: Any, scope: ResultScope, attempt: Attempt) -> Any:
    """The value as JSON, with files where they are kept."""

    def uri(path: Any) -> str:
        text = str(path.value)
        known = scope.input_uri(text)
        if known is not None:
            return known
        if not isinstance(path, Value.Directory):
            file = scope.find(text)
            assert file is not None, text
            return file.uri
        for name, file in scope.below(text).items():
            if file.uri.endswith(f"/{name}"):
                return file.uri.removesuffix(f"/{name}")
        relative = attempt.layout.relative(text)
        return posixpath.join(attempt.where.uri, relative.lstrip("/"))

    return miniwdl_private.rewrite_paths(value, uri).json


def _may_be(type_: Any, value: Any) -> bool:
    """Whether every null in a value stands where the type allows one."""
    if isinstance(value, Value.Null):
        return bool(type_.optional) or isinstance(type_, Type.Any)
    if isinstance(value, Value.Array) and isinstance(type_, Type.Array):
        return all(_may_be(type_.item_type, item) for item in value.value)
    if isinstance(value, Value.Map) and isinstance(type_, Type.Map):
        key_type, item_type = type_.item_type
        return all(_may_be(key_type, k) and _may_be(item_type, v) for k, v in value.value)
    if isinstance(value, Value.Pair) and isinstance(type_, Type.Pair):
        left, right = value.value
        return _may_be(type_.left_type, left) and _may_be(type_.right_type, right)
    if isinstance(value, Value.Struct) and isinstance(type_, Type.StructInstance):
        members = type_.members or {}
        return all(_may_be(members[k], v) for k, v in value.value.items() if k in members)
    return True
