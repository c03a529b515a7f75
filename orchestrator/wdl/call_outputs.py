"""The outputs of calls by their types, and the files among them."""

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
    types = output_types(callee)
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


def output_types(callee: Any) -> dict[str, Any]:
    """`callee.effective_outputs` by name; it is built anew at every access, so it is kept."""
    known: dict[str, Any] | None = getattr(callee, "_orchestrator_outputs", None)
    if known is None:
        known = {binding.name: binding.value for binding in callee.effective_outputs}
        callee._orchestrator_outputs = known
    return known
