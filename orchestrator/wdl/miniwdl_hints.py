"""What a `hints` section (WDL 1.2) asks for, which miniwdl's parser leaves out of its tree.

Hints become runtime expressions of their task, behind those of its runtime or requirements section:
they are checked, positioned and evaluated like these. `hints` objects become objects; hints about
single inputs and outputs, and those that share a name with a requirement but mean something else,
are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import lark
from WDL import Expr
from WDL._parser import _DocTransformer

# As hints these are wishes of other types (WDL 1.2, "Hints"): never a requirement's value.
_OTHER_MEANING = frozenset({"disks", "gpu", "fpga", "inputs", "outputs"})

_task = _DocTransformer.task.base_func  # type: ignore[attr-defined]


def _task_with_hints(self: Any, meta: Any, items: Any) -> Any:
    task = _task(self, meta, items)
    for item in items:
        if isinstance(item, dict) and "hints" in item:
            for name, value in _members(self, item["hints"]):
                if name not in _OTHER_MEANING:
                    task.runtime.setdefault(name, value)
    return task


def _members(transformer: Any, tree: Any) -> Iterator[tuple[str, Any]]:
    """(name, expression) of the hints that have one."""
    for pair in tree.children:
        if not isinstance(pair, lark.Tree) or pair.data != "hint_kv":
            continue
        name, value = pair.children
        if isinstance(value, Expr.Base):
            yield str(name), value
        elif value.data == "hints_object":
            members = list(_members(transformer, value))
            yield str(name), Expr.Struct(transformer._sp(value.meta), members)


_DocTransformer.task = lark.v_args(meta=True)(_task_with_hints)  # type: ignore[method-assign]
