"""miniwdl's private names, and what is changed of how it behaves for the whole process.

Only this module and its siblings `miniwdl_*` touch private names; and `library` and `reading` those
of the classes of functions and values.

miniwdl's public surface does not cover a scheduler that is not its own. What is used here was the
same in every release from 1.0.0 to 1.16.0; the version is checked all the same, because a silent
change would be found by users. To move on: run `tests/unit/wdl`, which drives miniwdl's own state
machine against this one, then raise `TESTED`.

Two behaviours of miniwdl are changed here for the whole process, because values and expressions are
made deep inside it (both leave every result as it is; `miniwdl_hints` and `miniwdl_functions`
change others):

- `Value.Base.expr`: the setter re-labelled all parts of a value at every evaluation of `array[i]`:
  quadratic, and it changed values that several nodes share. Now it labels the value alone; an error
  inside a compound value is reported at the outer expression.
- The `wdl` loggers are held at WARNING: at INFO every node's values are rendered.
"""

from __future__ import annotations

import importlib.metadata
import logging
import re
from collections.abc import Callable, Iterable
from typing import Any

from WDL import Env, Expr, Tree, Type, Value
from WDL._util import WDLVersion, byte_size_units, parse_byte_size, wdl_version_geq
from WDL.Expr import String as _StringExpr
from WDL.Expr import _meta_value_to_json

from orchestrator.wdl import miniwdl_hints as miniwdl_hints  # changes the parser when imported

TESTED = "1.16"

_version = importlib.metadata.version("miniwdl")
if not re.fullmatch(re.escape(TESTED) + r"\..*", _version + "."):
    raise ImportError(
        f"miniwdl {_version} is installed; this release works with {TESTED}.x: "
        f"pip install 'miniwdl~={TESTED}.0'"
    )


def _get_expr(value: Any) -> Any:
    return value._expr


def _set_expr(value: Any, expression: Any) -> None:
    value._expr = expression


Value.Base.expr = property(_get_expr, _set_expr)  # type: ignore[method-assign,assignment]
logging.getLogger("wdl").setLevel(logging.WARNING)

BYTES_PER_UNIT: dict[str, int] = byte_size_units

# Tree._calls: the calls of a workflow, those in sections included.
calls: Callable[[Any], Iterable[Any]] = Tree._calls


def is_at_least(version: str, minimum: str) -> bool:
    """Whether a document's WDL version is this one (`1.1`, `1.2`) or later."""
    return bool(wdl_version_geq(version, {"1.1": WDLVersion.V1_1, "1.2": WDLVersion.V1_2}[minimum]))


def in_dependency_order(declarations: Iterable[Any]) -> list[Any]:
    """Declarations of a task, each after those it refers to, else in source order.

    miniwdl's own sort differs from process to process: it walks sets of names. Paths of inputs
    depend on the order, and a restart must come to the same.
    """
    by_id = {decl.workflow_node_id: decl for decl in declarations}
    ordered: dict[str, Any] = {}
    for start in by_id:
        todo = [start]
        while todo:
            node_id = todo[-1]
            lacking = [
                other
                for other in sorted(by_id[node_id].workflow_node_dependencies)
                if other in by_id and other not in ordered
            ]
            if lacking and node_id not in ordered:
                todo += lacking  # no circle: the type checker refused those
            else:
                ordered.setdefault(node_id, by_id[node_id])
                todo.pop()
    return list(ordered.values())


def dedented(command: Any) -> list[Any]:
    """The parts of a task's command (texts and placeholders) without common leading blanks."""
    # Files that were written on Windows: a shell would take the \r for a part of its words.
    parts = [p.replace("\r\n", "\n") if isinstance(p, str) else p for p in command.parts]
    return list(_StringExpr._dedent(parts))


def mentions(expression: Any, name: str) -> bool:
    """Whether an expression refers to this name, or to a member of it."""
    if isinstance(expression, Expr.Ident):
        return bool(expression.name == name or expression.name.startswith(f"{name}."))
    return any(mentions(child, name) for child in expression.children)


def meta_json(meta: Any) -> Any:
    """A `meta` section as plain JSON values."""
    return _meta_value_to_json(meta)


def holds_paths(type_: Any) -> bool:
    """Whether values of this type may hold a File or Directory."""
    if isinstance(type_, Type.File | Type.Directory | Type.Any | Type.Object):
        return True
    if isinstance(type_, Type.StructInstance):
        members = type_.members
        return members is None or any(holds_paths(member) for member in members.values())
    return any(holds_paths(parameter) for parameter in type_.parameters)


def rewrite_paths(value: Any, rewrite: Callable[[Any], str | None]) -> Any:
    """`Value.rewrite_paths`, but a value that cannot hold a path is not copied."""
    return Value.rewrite_paths(value, rewrite) if holds_paths(value.type) else value


def parse_bytes(value: Any, default: int) -> int:
    """`"2 GiB"` or a number as bytes; the default for what is not understood."""
    if isinstance(value, str):
        try:
            return int(parse_byte_size(value))
        except (ValueError, TypeError):
            return default
    return int(value) if isinstance(value, int | float) else default


class Environment(Env.Bindings[Any]):
    """Values by name in a dict: miniwdl's own environments are lists that are searched."""

    def __init__(self, values: dict[str, Any]) -> None:
        super().__init__()
        self.values = values

    def resolve(self, name: str) -> Any:
        return self.values[name]

    __getitem__ = resolve

    def has_binding(self, name: str) -> bool:
        return name in self.values
