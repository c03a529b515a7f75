"""One call of a task: from its inputs to what has to run, from the manifest to its outputs.

No file of the task is ever opened here: File values are paths in the attempt's directory while the
command is evaluated, and URIs outside it. Paths stand in commands, so every attempt is evaluated
anew; the same attempt with the same facts gives the same script.
"""

from __future__ import annotations

import dataclasses
import functools
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from WDL import Expr, Tree, Value

from orchestrator import errors
from orchestrator.model import runtime
from orchestrator.model.job import InlineFile, InputFile, OutputPlan, WorkDir
from orchestrator.model.manifest import Manifest
from orchestrator.wdl import miniwdl_private, outputs, staging
from orchestrator.wdl.facts import Facts
from orchestrator.wdl.library import Collector, Library
from orchestrator.wdl.localization import Layout, Localizer
from orchestrator.wdl.outputs import Attempt
from orchestrator.wdl.rules import Rules
from orchestrator.wdl.scopes import CommandScope
from orchestrator.wdl.staging import Staging

_OVERRIDES = ("runtime.", "requirements.", "hints.")
_LOCALIZATION_OPTIONAL = ("localization_optional", "localizationOptional")
_threads = threading.local()


@dataclass(frozen=True, slots=True)
class PreparedTask:
    """What to run, and how to read what it leaves. `runtime` holds plain JSON values of the
    runtime (requirements) section, overrides from the inputs applied."""

    script: str
    runtime: dict[str, Any]
    inputs: tuple[InputFile, ...]
    inline_files: tuple[InlineFile, ...]
    outputs: OutputPlan
    _attempt: Attempt = field(repr=False)
    _compiled: _Compiled = field(repr=False)
    _rules: Rules = field(repr=False)

    @property
    def is_empty(self) -> bool:
        """Nothing to run: `result` works with a manifest of nothing."""
        return not self.script.strip() and not self.inline_outputs

    @property
    def inline_outputs(self) -> bool:
        """Whether a file that an expression wrote is an output, so that a job has to keep it."""
        written = {inline.path for inline in self.inline_files}
        return not written.isdisjoint(self.outputs.files)

    def result(self, manifest: Manifest, facts: Facts) -> dict[str, Any]:
        """Outputs as JSON values by unqualified names, files as URIs.

        Raises OutputMissing naming output and path, NeedFacts for contents that the manifest does
        not carry, EvaluationFailed.
        """
        attempt = self._attempt
        if self._compiled.uses_task:
            code = manifest.return_code or 0
            info = self._compiled.task_info(attempt.values["task"], return_code=code)
            values = {**attempt.values, "task": info}
            attempt = dataclasses.replace(attempt, values=values)
        return outputs.result(attempt, manifest, facts, self._compiled.library(self._rules))


class TaskCall:
    """A call of a task whose inputs are known."""

    __slots__ = ("_call_id", "_compiled", "_inputs", "_rules", "_staging_place", "meta", "name")

    def __init__(
        self,
        call_id: str,
        task: Any,
        inputs: Any,
        rules: Rules | None = None,
        staging_place: str = "",
    ) -> None:
        """`inputs`: Env.Bindings of values, files as URIs; `runtime.x` overrides an attribute.

        `staging_place`: what comes from web servers is copied below it.
        """
        self._call_id = call_id
        self._rules = rules or Rules()
        self._staging_place = staging_place
        self._compiled = _compile(task)
        self._inputs = inputs
        self.name: str = task.name
        self.meta: dict[str, Any] = self._compiled.meta

    @property
    def is_volatile(self) -> bool:
        """Whether `meta` says that the same inputs may give other outputs: never reuse them."""
        return self.meta.get("volatile") is True

    def prepare(self, work_dir: WorkDir, attempt: int, facts: Facts) -> PreparedTask:
        """What this attempt runs. `attempt` counts from 1.

        Raises NeedFacts with everything that can be told to be lacking, among it the identity of
        every input file; EvaluationFailed with its place, also for an input that is not there.
        """
        return _Preparation(
            self._call_id,
            self._compiled,
            work_dir,
            attempt,
            facts,
            self._compiled.library(self._rules),
            self._staging_place,
        ).run(self._inputs)


class _Compiled:
    """What is the same for all calls of a task."""

    def __init__(self, task: Any) -> None:
        self.task = task
        self.declared = [*(task.inputs or []), *task.postinputs]
        self.declarations = miniwdl_private.in_dependency_order(self.declared)
        self.outputs = tuple(miniwdl_private.in_dependency_order(task.outputs))
        self.command = miniwdl_private.dedented(task.command)
        self.placeholders = [part for part in self.command if not isinstance(part, str)]
        self.version: str = task.effective_wdl_version
        self.defaulted = {
            decl.name
            for decl in self.declarations
            if decl.expr is not None and not decl.type.optional
        }
        self.is_1_2 = miniwdl_private.is_at_least(self.version, "1.2")
        self.uses_task = self.is_1_2 and any(
            miniwdl_private.mentions(expression, "task")
            for expression in (*self.placeholders, *(decl.expr for decl in self.outputs))
        )
        self.meta: dict[str, Any] = miniwdl_private.meta_json(task.meta)
        self.not_localized = frozenset(_not_localized(task))

    def library(self, rules: Rules) -> Library:
        """The functions of this WDL version, one set a thread."""
        libraries: dict[str, Library] = _threads.__dict__.setdefault("libraries", {})
        library = libraries.get(self.version)
        if library is None or library.rules is not rules:
            library = libraries[self.version] = Library(self.version, rules=rules)
        return library

    def task_info(self, info: Any, **more: Any) -> Any:
        """The `task` struct of WDL 1.2, with or without a return code."""
        known = info if isinstance(info, dict) else info.json
        type_ = self.task.task_runtime_info_struct_type(output_section="return_code" in more)
        return Value.from_json(type_, {**known, **more})


def _not_localized(task: Any) -> Iterator[str]:
    """Inputs that the command reads by their URIs: `parameter_meta { x: {localization_optional:
    true} }`; with `localization_optional: true` in the runtime or hints section, all of them."""
    of_task = any(
        isinstance(expression := task.runtime.get(name), Expr.Boolean) and expression.value
        for name in _LOCALIZATION_OPTIONAL
    )
    described = miniwdl_private.meta_json(task.parameter_meta)
    for decl in task.inputs or task.postinputs:
        about = described.get(decl.name)
        if of_task or (
            isinstance(about, dict) and any(about.get(n) is True for n in _LOCALIZATION_OPTIONAL)
        ):
            yield decl.name


def _compile(task: Any) -> _Compiled:
    compiled: _Compiled | None = getattr(task, "_orchestrator_compiled", None)
    if compiled is None:
        compiled = task._orchestrator_compiled = _Compiled(task)
    return compiled


class _Preparation:
    """One evaluation of one attempt, up to its command."""

    def __init__(
        self,
        call_id: str,
        compiled: _Compiled,
        where: WorkDir,
        attempt: int,
        facts: Facts,
        library: Library,
        staging_place: str,
    ) -> None:
        self._call_id = call_id
        self._compiled = compiled
        self._where = where
        self._attempt = attempt
        self._facts = facts
        self._layout = Layout(where.path)
        self._localizer = Localizer(self._layout)
        self._written: dict[str, bytes] = {}
        self._library = library
        self._staging = Staging(facts, staging_place)
        self._staging_place = staging_place
        self._env = miniwdl_private.Environment({})
        self._collector = Collector(self._library, self._env)
        self._scope = CommandScope(
            self._layout, self._localizer, self._written, facts, self._staging
        )

    def run(self, given: Any) -> PreparedTask:
        compiled, values = self._compiled, self._env.values
        self._library.scope = self._scope
        overrides = self._take(given)
        for decl in compiled.declarations:
            if decl.name not in values:
                value = self._evaluate(decl, lambda decl=decl: self._declared(decl))
                if value is not None:
                    values[decl.name] = value
        runtime = self._runtime(overrides)
        if compiled.uses_task:
            values["task"] = compiled.task_info(self._task_info(runtime))
        script = "".join(
            part if isinstance(part, str) else str(self._placeholder(part))
            for part in compiled.command
        )
        inputs = self._inputs()
        self._collector.raise_wants()
        attempt = Attempt(
            compiled.task,
            compiled.outputs,
            self._where,
            self._layout,
            self._localizer,
            self._written,
            values,
            self._staging_place,
        )
        plan = self._plan(attempt)
        return PreparedTask(
            script=script,
            runtime=runtime,
            inputs=inputs,
            inline_files=tuple(InlineFile(p, content) for p, content in self._written.items()),
            outputs=plan,
            _attempt=attempt,
            _compiled=compiled,
            _rules=self._library.rules,
        )

    def _take(self, given: Any) -> dict[str, Any]:
        """Bind the call's inputs, files localized; the answer is the overrides among them."""
        overrides: dict[str, Any] = {}
        by_name = {binding.name: binding.value for binding in given}
        # In source order: paths are numbered as files come.
        declared = [d.name for d in self._compiled.declared if d.name in by_name]
        for name in dict.fromkeys([*declared, *sorted(by_name)]):
            value = by_name[name]
            if name.startswith(_OVERRIDES):
                overrides[name.partition(".")[2]] = value.json
            elif isinstance(value, Value.Null) and name in self._compiled.defaulted:
                continue  # null for what is not optional: the default is meant
            else:
                self._env.values[name] = miniwdl_private.rewrite_paths(
                    value, functools.partial(self._localized, name=name)
                )
        return overrides

    def _localized(self, path: Any, name: str) -> str:
        uri = str(path.value)
        if "://" not in uri and not uri.startswith("/"):
            raise errors.EvaluationFailed(
                f"input {name} of task {self._compiled.task.name}: the relative path {uri} names "
                "no file",
                hint="give files by URI or absolute path, or as outputs of calls",
            )
        if self._stays(uri, name):
            return uri
        return self._localizer.add(uri, isinstance(path, Value.Directory), name)

    def _stays(self, uri: str, name: str) -> bool:
        """Whether the command sees the URI itself. Local paths are always localized: what they name
        may not be visible where the command runs."""
        return name in self._compiled.not_localized and "://" in uri

    def _declared(self, decl: Any) -> Any:
        if decl.expr is None:
            return Value.Null()
        value = decl.expr.eval(self._env, self._library)
        value = self._library.fitted(decl.expr, decl.name, value, decl.type)
        value = miniwdl_private.rewrite_paths(value, lambda path: self._placed(path, decl))
        return self._library.checked(decl, value.coerce(decl.type))

    def _placed(self, path: Any, decl: Any) -> str | None:
        """The path of a file that an expression names.

        A URI or absolute path is an input like any other, and so is the neighbour of an input
        (`bam + ".bai"`). A relative path is left for the command to make.
        """
        text = str(path.value)
        directory = isinstance(path, Value.Directory)
        uri: str | None = text
        if self._stays(text, decl.name):
            return text
        if "://" not in text:
            if text in self._written or self._localizer.uri(text) is not None:
                return text
            if not text.startswith("/") or text.startswith(f"{self._layout.work}/"):
                return text
            if text.startswith(f"{self._layout.attempt}/"):
                uri = self._localizer.sibling(text)
                if uri is None:
                    return text
        assert uri is not None
        if not directory and self._compiled.is_1_2:
            # Since WDL 1.2 an optional file that is not there is null.
            stat = self._facts.peek(self._staging.want(uri).kind, uri)
            if stat is not None and not stat.exists and decl.type.optional:
                return None
        return self._localizer.add(uri, directory, decl.name)

    def _runtime(self, overrides: dict[str, Any]) -> dict[str, Any]:
        section: dict[str, Any] = {}
        for name, expression in self._compiled.task.runtime.items():
            value = self._evaluate(
                expression,
                lambda expression=expression: expression.eval(self._env, self._library),
            )
            if value is not None:
                section[name] = value.json
        return runtime.of_task(section, overrides)

    def _placeholder(self, part: Any) -> Any:
        value = self._evaluate(part, lambda: part.eval(self._env, self._library))
        return "" if value is None else value.value

    def _evaluate(self, node: Any, evaluate: Any) -> Any:
        expressions = [node.expr] if isinstance(node, Tree.Decl) else [node]
        return self._collector.run(
            [expr for expr in expressions if expr is not None],
            evaluate,
            self._compiled.task.name,
            node,
        )

    def _inputs(self) -> tuple[InputFile, ...]:
        """Every localized file, with its pinned identity."""
        files = []
        for item in self._localizer.all:
            if item.directory:
                files.append(InputFile(item.uri.rstrip("/"), item.path, directory=True))
                continue
            want = self._staging.want(item.uri)
            stat = self._facts.peek(want.kind, item.uri)
            if stat is None:
                self._collector.wants.add(want)
            elif not stat.exists:
                raise errors.EvaluationFailed(
                    f"input {item.name} of task {self._compiled.task.name}: there is no file "
                    f"{staging.shown(item.uri)}"
                )
            else:
                source = self._staging.source(item.uri)
                files.append(InputFile(source, item.path, size=stat.size, etag=stat.etag))
        return tuple(files)

    def _plan(self, attempt: Attempt) -> OutputPlan:
        try:
            if self._compiled.uses_task:
                info = self._compiled.task_info(attempt.values["task"], return_code=0)
                values = {**attempt.values, "task": info}
                attempt = dataclasses.replace(attempt, values=values)
            return outputs.plan(attempt, self._facts, self._library)
        except errors.EvaluationFailed as error:
            raise errors.EvaluationFailed(
                f"task {self._compiled.task.name}: {error.message}",
                place=error.place,
                hint=error.hint,
            ) from None

    def _task_info(self, runtime: dict[str, Any]) -> dict[str, Any]:
        container = runtime.get("container", runtime.get("docker"))
        if isinstance(container, list):
            container = container[0] if container else None
        return {
            "name": self._compiled.task.name,
            "id": self._call_id,
            "container": container if isinstance(container, str) else None,
            "cpu": _number(runtime.get("cpu"), 1.0),
            "memory": miniwdl_private.parse_bytes(runtime.get("memory"), 2 * 1024**3),
            "gpu": [],
            "fpga": [],
            "disks": {},
            "attempt": self._attempt - 1,
            "end_time": None,
            "meta": self._compiled.meta,
            "parameter_meta": miniwdl_private.meta_json(self._compiled.task.parameter_meta),
        }


def _number(value: Any, default: float) -> float:
    try:
        return default if value is None else float(value)
    except (TypeError, ValueError):
        return default
