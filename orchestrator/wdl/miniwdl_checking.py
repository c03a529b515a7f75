# mypy: disable-error-code="no-untyped-call"
"""Checking as Cromwell does where miniwdl is stricter. Uses miniwdl's private names.

`Tree.Document.typecheck`, of which the parts are called here one by one. Each task and the workflow
are first checked by miniwdl's own rules; only what fails is parsed again with nodes that adapt
values, and checked once more, quantifiers aside. So a document that needs no leniency is read by
miniwdl alone, and what was lenient about another one is what the first check said: every leniency
has a place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from WDL import Error, Expr, Tree, Type, Walker

from orchestrator.errors import Finding
from orchestrator.wdl import diagnostics
from orchestrator.wdl.miniwdl_dialect import Member, Notes, written

MOST_MEMBERS = 10_000
MOST_INPUTS = 10_000
_INPUTS_BELOW = "_orchestrator_inputs_below"


class _Redeclared(Tree.Decl):
    """An output with the name of an input: its own expression sees the input, others the output."""

    shadowed: Any

    def add_to_type_env(self, struct_types: Any, type_env: Any, collision_ok: bool = False) -> Any:
        return super().add_to_type_env(struct_types, type_env, collision_ok=True)

    def typecheck(self, type_env: Any, *arguments: Any, **more: Any) -> None:
        inner = type_env.bind(self.name, self.shadowed.type, self.shadowed)
        super().typecheck(inner, *arguments, **more)


_Redeclared.__name__ = "Decl"  # Expr.Ident goes by this name


def check(document: Any, again: Callable[[Notes], Any], notes: Notes, *, strict: bool) -> None:
    """Typecheck a document whose imports are checked. `again` parses it anew, leniently.

    As `Tree.Document.typecheck`. Raises miniwdl's errors.
    """
    _import_structs(document, notes)
    for binding in document.struct_typedefs:
        document._struct_types = document._struct_types.bind(binding.name, binding.value.members)
    _bound_structs(document)
    Tree._initialize_struct_typedefs(document.struct_typedefs, document._struct_types)
    spare: list[Any] = []

    def parsed_again() -> Any:
        if not spare:
            spare.append(again([]))  # the notes are those of the first time
        return spare[0]

    with Error.multi_context() as found:
        seen: set[str] = set()
        for index, task in enumerate(document.tasks):
            if task.name in seen:
                found.append(Error.MultipleDefinitions(task, f"Multiple tasks named {task.name}"))
            seen.add(task.name)
            document.tasks[index] = found.try1(
                lambda task=task, index=index: _checked_task(  # type: ignore[misc]
                    document, task, lambda: parsed_again().tasks[index], notes, strict
                )
            )
    if document.workflow is not None:
        _checked_workflow(document, lambda: parsed_again().workflow, notes, strict)


def _checked_task(
    document: Any, task: Any, spare: Callable[[], Any], notes: Notes, strict: bool
) -> Any:
    def attempt(task: Any, notes: Notes, *, check_quant: bool) -> Any:
        task.effective_wdl_version = document.effective_wdl_version
        _let_outputs_redeclare(task, notes)
        task.typecheck(document._struct_types, check_quant=check_quant)
        return task

    try:
        return attempt(task, notes, check_quant=True)
    except (Error.ValidationError, Error.MultipleValidationErrors) as error:
        if strict:
            raise
        lenient = attempt(spare(), [], check_quant=False)
        notes += _tolerated(error)
        return lenient


def _checked_workflow(document: Any, spare: Callable[[], Any], notes: Notes, strict: bool) -> None:
    def attempt(notes: Notes, *, check_quant: bool) -> None:
        _resolve_calls(document, notes)
        _bound_inputs(document.workflow)
        _let_workflow_outputs_redeclare(document.workflow, notes)
        document.workflow.typecheck(document, check_quant=check_quant)

    try:
        attempt(notes, check_quant=True)
    except (Error.ValidationError, Error.MultipleValidationErrors) as error:
        if strict:
            raise
        document.workflow = spare()
        document.workflow.effective_wdl_version = document.effective_wdl_version
        attempt([], check_quant=False)
        notes += _tolerated(error)


def _tolerated(error: BaseException) -> Notes:
    return [
        Finding(f"tolerated, as Cromwell does: {finding.message}", finding.place)
        for finding in diagnostics.findings(error)
    ]


def _import_structs(document: Any, notes: Notes) -> None:
    """As `Tree._import_structs`; where two of one name differ, the document's own counts, then the
    last import's."""
    own = {binding.name for binding in document.struct_typedefs}
    namespaces: set[str] = set()
    for item in document.imports:
        if item.namespace in namespaces:
            raise Error.MultipleDefinitions(
                item.pos, f"Multiple imports with namespace {item.namespace}"
            )
        namespaces.add(item.namespace)
        imported = {b.name: b.value for b in item.doc.struct_typedefs}
        for name, alias in item.aliases:
            if name not in imported:
                raise Error.NoSuchMember(item.pos, name)
            if alias != name:
                if alias in imported:
                    raise Error.MultipleDefinitions(
                        item.pos, f"struct type alias {alias} collides with another struct"
                    )
                imported[alias] = imported.pop(name)
        for name, struct in imported.items():
            known = document.struct_typedefs.get(name)
            if known is not None:
                if written(known) == written(struct):
                    continue
                wins = "this document's" if name in own else "the last import's"
                notes.append(
                    Finding(
                        f"struct {name} is declared differently elsewhere; {wins} counts here",
                        diagnostics.place(item.pos),
                        f"`alias {name} as OtherName` on the import keeps both",
                    )
                )
                if name in own:
                    continue
            definition = Tree.StructTypeDef(
                item.pos,
                name,
                struct.members,
                struct.parameter_meta,
                struct.meta,
                imported=(item.doc, struct),
            )
            document.struct_typedefs = document.struct_typedefs.filter(
                lambda b, name=name: b.name != name
            ).bind(name, definition)


def _bound_structs(document: Any) -> None:
    """Structs of structs of structs double with every line; miniwdl writes them out in full."""
    sizes: dict[int, int] = {}

    def size(members: Any, depth: int) -> int:
        if id(members) in sizes:
            return sizes[id(members)]
        sizes[id(members)] = 0  # circles are miniwdl's to tell
        if depth > 100:
            raise RecursionError
        total = 0
        todo = list(members.values())
        while todo:
            type_ = todo.pop()
            total += 1
            if isinstance(type_, Type.StructInstance):
                inner = type_.members
                if inner is None and type_.type_name in document._struct_types:
                    inner = document._struct_types[type_.type_name]
                total += size(inner, depth + 1) if inner is not None else 0
            elif not isinstance(type_, Type.Object):
                todo += type_.parameters
        sizes[id(members)] = total
        return total

    for binding in document.struct_typedefs:
        if size(binding.value.members, 0) > MOST_MEMBERS:
            raise Error.ValidationError(
                binding.value.pos,
                f"struct {binding.name} has more than {MOST_MEMBERS} members, with those inside it",
            )


def _bound_inputs(workflow: Any) -> None:
    """Sub-workflows called twice by sub-workflows called twice: so do inputs."""
    total = len(workflow.inputs or workflow.body)
    for call in Tree._calls(workflow):
        callee: Any = call.callee
        if isinstance(callee, Tree.Workflow):
            total += getattr(callee, _INPUTS_BELOW)
        else:
            total += len(callee.inputs if callee.inputs is not None else callee.postinputs) + 2
    if total > MOST_INPUTS:
        raise Error.ValidationError(
            workflow, f"workflow {workflow.name} takes more than {MOST_INPUTS} inputs"
        )
    setattr(workflow, _INPUTS_BELOW, total)


def _resolve_calls(document: Any, notes: Notes) -> None:
    """As `Call.resolve`, which leaves alone what is resolved.

    A task may have its workflow's name, a call the name of the workflow it stands in; a workflow
    without an output section, or with inputs that its calls lack, can be called: the inputs are
    given as `workflow.call.inner_call.x`.
    """
    namespaces = {item.namespace: item.doc for item in document.imports}
    workflow = document.workflow
    tasks = {task.name: task for task in document.tasks}
    if workflow.name in tasks:
        notes.append(
            Finding(
                f"the workflow has the name of the task {workflow.name}",
                diagnostics.place(workflow.pos),
            )
        )
    with Error.multi_context() as found:
        for call in Tree._calls(workflow):
            callee: Any = None
            name = call.callee_id[-1]
            if len(call.callee_id) == 1:
                callee = tasks.get(name)
                if callee is None and name == workflow.name:
                    found.append(Error.CircularDependencies(call))
                    continue
            elif len(call.callee_id) == 2 and call.callee_id[0] in namespaces:
                other = namespaces[call.callee_id[0]]
                if other.workflow is not None and other.workflow.name == name:
                    callee = other.workflow
                else:
                    callee = next((task for task in other.tasks if task.name == name), None)
            if callee is None:
                found.append(Error.NoSuchTask(call, ".".join(call.callee_id)))
                continue
            call.callee = callee
            if call.name == workflow.name:
                notes.append(_at(call, f"call {call.name} has the name of its workflow"))
            if isinstance(callee, Tree.Workflow):
                if callee.outputs is None and callee.effective_outputs:
                    notes.append(
                        _at(call, f"workflow {name} has no output section; all of its calls' are")
                    )
                if not callee.complete_calls:
                    notes.append(
                        _at(call, f"calls of workflow {name} lack inputs; they have to be given")
                    )


def _at(node: Any, message: str) -> Finding:
    return Finding(message, diagnostics.place(node.pos))


def _let_outputs_redeclare(task: Any, notes: Notes) -> None:
    declared = {decl.name: decl for decl in [*(task.inputs or []), *task.postinputs]}
    for index, output in enumerate(task.outputs):
        if output.name in declared and not isinstance(output, _Redeclared):
            notes.append(_at(output, f"output {output.name} has the name of an input"))
            new = _Redeclared(output.pos, output.type, output.name, output.expr, "output")
            new.shadowed = declared[output.name]
            task.outputs[index] = new


def _let_workflow_outputs_redeclare(workflow: Any, notes: Notes) -> None:
    names: set[str] = set()

    def collect(nodes: Any) -> None:
        for node in nodes:
            if isinstance(node, Tree.WorkflowSection):
                collect(node.body)
            else:
                names.add(node.name)

    collect([*(workflow.inputs or []), *workflow.body])
    for output in workflow.outputs or []:
        if output.name in names:
            notes.append(_at(output, f"output {output.name} has the name of another value"))
            output._rewritten_ident = True  # miniwdl's mark of outputs that may


def set_parents(document: Any) -> None:
    """Every node of a checked document learns the one above it, which digests need."""
    Walker.SetParents(descend_imports=False)(document)


def task_as_workflow(document: Any) -> Any:
    """A document without a workflow and with one task: that task, called by a workflow of its name.

    Inputs are `task.x`, outputs `task.x`, as `miniwdl run` and Cromwell have it.
    """
    (task,) = document.tasks
    call = Tree.Call(task.pos, [task.name], None, {})
    outputs = []
    for output in task.outputs:
        value = Member(
            output.pos, Expr.Get(output.pos, Expr._LeftName(task.pos, task.name), None), output.name
        )
        outputs.append(Tree.Decl(output.pos, output.type, output.name, value))
    workflow = Tree.Workflow(
        task.pos, task.name, [], [call], outputs, task.parameter_meta, task.meta
    )
    workflow.effective_wdl_version = document.effective_wdl_version
    document.workflow = workflow
    _checked_workflow(document, lambda: workflow, [], strict=True)
    set_parents(document)
    return workflow
