"""The files among the outputs of a call or of a workflow, by their types."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import WDL.Tree
from WDL import Value

from orchestrator.wdl import miniwdl_private


def files(
    workflow: Any, path: tuple[str, ...], outputs: Mapping[str, Any]
) -> Iterator[tuple[str, bool]]:
    """(URI, whether it is a directory) of every file in a call's outputs.

    `path`: names of calls from the root workflow down to the call. `outputs` by unqualified names.
    What the document does not know (it was another release's) has no files.
    """
    callee: Any = workflow
    for name in path:
        calls = {} if isinstance(callee, WDL.Tree.Task) else _calls(callee)
        if name not in calls:
            return
        callee = calls[name]
    types = _types(callee)
    for name, value in outputs.items():
        type_ = types.get(name)
        if type_ is None or value is None or not miniwdl_private.holds_paths(type_):
            continue
        found: list[tuple[str, bool]] = []

        def note(path_: Any, found: list[tuple[str, bool]] = found) -> str:
            found.append((str(path_.value), isinstance(path_, Value.Directory)))
            return str(path_.value)

        miniwdl_private.rewrite_paths(Value.from_json(type_, value), note)
        yield from found


def _calls(workflow: Any) -> dict[str, Any]:
    return {call.name: call.callee for call in miniwdl_private.calls(workflow)}


def _types(callee: Any) -> dict[str, Any]:
    if isinstance(callee, WDL.Tree.Task):
        return {decl.name: decl.type for decl in callee.outputs}
    return {binding.name: binding.value for binding in callee.effective_outputs}
