# mypy: disable-error-code="no-untyped-call"
"""Reading a document as Cromwell does where miniwdl is stricter. Uses miniwdl's private names.

Apart from `miniwdl_private` this is the only module that does. What it leans on: the transformer of
syntax trees (`_parser._DocTransformer`), and the typecheck of a `Tree.Document`, of which the parts
are called here one by one.

A document is parsed with `parse`. What the syntax allows only Cromwell is noted on the way. Each
task and the workflow are then checked by miniwdl's own rules; only what fails is parsed again with
nodes that adapt values as Cromwell would (`lenient`), and checked once more, quantifiers aside. So
a document that needs no leniency is read by miniwdl alone, and what was lenient about another one
is what the first check said: every leniency has a place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lark
from WDL import Error, Expr, Tree, Type, Value, Walker, _grammar, _parser

from orchestrator.errors import Finding
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


class _Member(Expr.Get):
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
    """Of `scatter`: a map is an array of pairs."""

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


class _Redeclared(Tree.Decl):
    """An output with the name of an input: its own expression sees the input, others the output."""

    shadowed: Any

    def add_to_type_env(self, struct_types: Any, type_env: Any, collision_ok: bool = False) -> Any:
        return super().add_to_type_env(struct_types, type_env, collision_ok=True)

    def typecheck(self, type_env: Any, *arguments: Any, **more: Any) -> None:
        inner = type_env.bind(self.name, self.shadowed.type, self.shadowed)
        super().typecheck(inner, *arguments, **more)


_Redeclared.__name__ = "Decl"  # Expr.Ident goes by this name


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
        return _Member(got.pos, got.expr, got.member)

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
    def document(self, meta: Any, items: Any) -> Any:
        kept: list[Any] = []
        structs: dict[str, Any] = {}
        for item in items:
            if isinstance(item, Tree.StructTypeDef):
                known = structs.setdefault(item.name, item)
                if known is not item and _written(known) == _written(item):
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
        if self._lenient and items[0] == "write_tsv" and len(items) > 1:
            items = [items[0], _Rows(items[1]), *items[2:]]
        return super().apply(meta, items)

    @_with_meta
    def placeholder(self, meta: Any, items: Any) -> Any:
        made = super().placeholder(meta, items)
        return _Placeholder(made.pos, made.options, made.expr) if self._lenient else made


def _written(struct: Any) -> dict[str, str]:
    return {name: str(type_) for name, type_ in struct.members.items()}


def parse(text: str, name: str, notes: Notes, *, lenient: bool = False) -> Any:
    """A `Tree.Document`, not checked yet, its imports not loaded.

    As `_parser.parse_document`. Raises miniwdl's errors; RecursionError.
    """
    if not text.strip():
        return _parser.parse_document(text, uri=name, abspath=name)
    declared = None
    for line in text.split("\n"):
        line = line.strip()
        if line and not line.startswith("#"):
            declared = line[8:] if line.startswith("version ") else None
            break
    version = declared or "draft-2"
    at = {"uri": name, "abspath": name}
    try:
        grammar, keywords = _grammar.get(version)
    except KeyError:
        known = ", ".join(_grammar.versions)
        raise Error.SyntaxError(
            _position(at), f"unknown WDL version {version}; choices: {known}", version, declared
        ) from None
    try:
        tree, comments = _parser.parse(grammar, text, "document")
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


def _position(at: dict[str, str], error: Any = None) -> Any:
    line, column = (max(1, getattr(error, n, 1) or 1) for n in ("line", "column"))
    return Error.SourcePosition(**at, line=line, column=column, end_line=line, end_column=column)


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
                if _written(known) == _written(struct):
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


MOST_MEMBERS = 10_000
_INPUTS_BELOW = "_orchestrator_inputs_below"
MOST_INPUTS = 10_000


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
        value = _Member(
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
