"""The stacks of one region, and what may be done to them when."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from orchestrator.local_aws.cloudformation import engine, errors, parameters, template
from orchestrator.local_aws.cloudformation import plan as plans
from orchestrator.local_aws.cloudformation.errors import ValidationError
from orchestrator.local_aws.cloudformation.stack import Stack

_UPDATABLE = frozenset(
    {
        "CREATE_COMPLETE",
        "IMPORT_COMPLETE",
        "UPDATE_COMPLETE",
        "UPDATE_FAILED",
        "UPDATE_ROLLBACK_COMPLETE",
    }
)
_IN_REVIEW = frozenset({"REVIEW_IN_PROGRESS"})
_DELETABLE = _UPDATABLE | frozenset(
    {
        "CREATE_FAILED",
        "DELETE_FAILED",
        "REVIEW_IN_PROGRESS",
        "ROLLBACK_COMPLETE",
        "ROLLBACK_FAILED",
        "UPDATE_ROLLBACK_FAILED",
    }
)
_NAMED = {"AWS::IAM::Role": "RoleName", "AWS::IAM::ManagedPolicy": "ManagedPolicyName",
          "AWS::IAM::InstanceProfile": "InstanceProfileName"}  # fmt: skip
_NO_CHANGES = (
    "The submitted information didn't contain changes. "
    "Submit different information to create a change set."
)


@dataclass(frozen=True)
class Wish:
    """What a request asks a stack to become."""

    template_text: str
    parameters: list[Mapping[str, Any]]
    tags: Mapping[str, str] | None
    capabilities: list[str]
    notification_arns: list[str] = field(default_factory=list)
    role_arn: str | None = None
    client_token: str | None = None


@dataclass
class ChangeSet:
    """A prepared creation or update."""

    id: str
    name: str
    kind: str
    description: str | None
    stack: Stack
    wish: Wish
    plan: plans.Plan
    changes: list[dict[str, Any]]
    status: str = "CREATE_COMPLETE"
    status_reason: str | None = None
    execution_status: str = "AVAILABLE"
    on_failure: str | None = None
    created: datetime = field(default_factory=lambda: datetime.now(UTC))


class Stacks:
    """All stacks of a region. An operation is over when its method returns."""

    def __init__(self, region: plans.Region) -> None:
        self._region = region
        self._engine = engine.Engine(region)
        self._stacks: dict[str, Stack] = {}
        self.change_sets: dict[str, ChangeSet] = {}
        self._lock = threading.RLock()

    def exports(self) -> dict[str, str]:
        """Values by name, of all stacks that are there."""
        return {
            name: value
            for stack in list(self._stacks.values())
            for name, value in stack.exports.items()
        }

    def exporting(self) -> list[dict[str, str]]:
        return [
            {"ExportingStackId": stack.id, "Name": name, "Value": value}
            for stack in self.live()
            for name, value in sorted(stack.exports.items())
        ]

    def importing(self, export: str) -> list[str]:
        """Names of the stacks that import it."""
        return [stack.name for stack in self.live() if export in stack.imports]

    def live(self) -> list[Stack]:
        return [stack for stack in list(self._stacks.values()) if stack.deleted is None]

    def all(self) -> list[Stack]:
        return list(self._stacks.values())

    def find(self, name_or_id: str) -> Stack:
        """By name among those that are there; by id deleted ones too. Raises ValidationError."""
        if name_or_id in self._stacks:
            return self._stacks[name_or_id]
        for stack in self.live():
            if stack.name == name_or_id:
                return stack
        raise ValidationError(f"Stack with id {name_or_id} does not exist")

    def create(
        self,
        name: str,
        wish: Wish,
        *,
        on_failure: str = "ROLLBACK",
        termination_protection: bool = False,
    ) -> Stack:
        """Raises ValidationError, AlreadyExists; a failing resource ends in the stack's status."""
        parsed = _parse(wish)
        with self._lock:
            if any(stack.name == name for stack in self.live()):
                raise errors.AlreadyExists(f"Stack [{name}] already exists")
            stack = self._new(name, "CREATE_IN_PROGRESS")
            plan = self._plan(stack, wish, parsed)
            stack.termination_protection = termination_protection
            self._stacks[stack.id] = stack
        _about(stack, wish)
        stack.disable_rollback = on_failure == "DO_NOTHING"
        with _Taken(self._lock, stack, None):
            self._engine.create(stack, plan, on_failure=on_failure)
        return stack

    def update(self, name: str, wish: Wish, *, rollback: bool = True) -> Stack:
        """Raises ValidationError; a failing resource ends in the stack's status."""
        parsed = _parse(wish)
        stack = self.find(name)
        with _Taken(self._lock, stack, _UPDATABLE):
            plan = self._plan(stack, wish, parsed)
            self._check_imports(stack, plan)
            stack.client_token = wish.client_token
            self._engine.update(stack, plan, rollback=rollback)
            _about(stack, wish)
        return stack

    def delete(self, name: str, *, retain: list[str], token: str | None = None) -> None:
        """No such stack is no error. Raises ValidationError for a protected one."""
        try:
            stack = self.find(name)
        except ValidationError:
            return
        if stack.deleted is not None:
            return
        if stack.termination_protection:
            raise ValidationError(
                f"Stack [{stack.name}] cannot be deleted while TerminationProtection is enabled"
            )
        if retain and stack.status != "DELETE_FAILED":
            raise ValidationError(
                f"Invalid operation on stack [{stack.id}]. RetainResources is for stacks in the "
                "DELETE_FAILED state"
            )
        with _Taken(self._lock, stack, _DELETABLE):
            stack.client_token = token
            for export in sorted(stack.exports):
                users = [user for user in self.importing(export) if user != stack.name]
                if users:
                    stack.become(
                        "DELETE_FAILED",
                        f"Export {export} cannot be deleted as it is in use by {', '.join(users)}",
                    )
                    return
            self._engine.delete(stack, retain=retain)
            if stack.deleted is not None:
                self._forget_change_sets(stack)

    def create_change_set(
        self,
        stack_name: str,
        name: str,
        wish: Wish,
        *,
        kind: str,
        description: str | None,
        on_failure: str | None,
    ) -> ChangeSet:
        """Raises ValidationError, AlreadyExists. One without changes has status FAILED."""
        parsed = _parse(wish)
        with self._lock:
            stack = self._stack_of_change_set(stack_name, kind)
            if any(c.stack is stack and c.name == name for c in self.change_sets.values()):
                raise errors.AlreadyExists(f"ChangeSet {name} already exists")
            plan = self._plan(stack, wish, parsed)
            changes = self._engine.changes(stack, plan)
            unique = uuid.uuid4()
            made = ChangeSet(
                id=f"arn:aws:cloudformation:{self._region.name}:{self._region.account}:changeSet/"
                f"{name}/{unique}",
                name=name,
                kind=kind,
                description=description,
                stack=stack,
                wish=wish,
                plan=plan,
                changes=changes,
                on_failure=on_failure,
            )
            if kind == "UPDATE" and not self._engine.differs(stack, plan):
                made.status, made.status_reason = "FAILED", _NO_CHANGES
                made.execution_status = "UNAVAILABLE"
            self.change_sets[made.id] = made
            return made

    def find_change_set(self, name: str, stack_name: str | None) -> ChangeSet:
        """Raises ChangeSetNotFound."""
        for made in self.change_sets.values():
            if made.id == name:
                return made
            if made.name == name and stack_name in (made.stack.name, made.stack.id):
                return made
        raise errors.ChangeSetNotFound(f"ChangeSet [{name}] does not exist")

    def delete_change_set(self, name: str, stack_name: str | None) -> None:
        """No such change set is no error."""
        try:
            made = self.find_change_set(name, stack_name)
        except errors.ChangeSetNotFound:
            return
        self.change_sets.pop(made.id, None)

    def execute_change_set(
        self, name: str, stack_name: str | None, *, rollback: bool, token: str | None
    ) -> None:
        """Raises InvalidChangeSetStatus; a failing resource ends in the stack's status."""
        made = self.find_change_set(name, stack_name)
        with self._lock:
            if made.execution_status != "AVAILABLE":
                raise errors.InvalidChangeSetStatus(
                    f"ChangeSet [{made.id}] cannot be executed in its current status of "
                    f"[{made.status}]"
                )
            made.execution_status = "EXECUTE_IN_PROGRESS"
        stack = made.stack
        states = _IN_REVIEW if made.kind == "CREATE" else _UPDATABLE
        with _Taken(self._lock, stack, states):
            stack.client_token = token
            if made.kind == "CREATE":
                chosen = made.on_failure or ("ROLLBACK" if rollback else "DO_NOTHING")
                self._engine.create(stack, made.plan, on_failure=chosen)
            else:
                self._check_imports(stack, made.plan)
                self._engine.update(stack, made.plan, rollback=rollback)
            _about(stack, made.wish)
        good = stack.status in ("CREATE_COMPLETE", "UPDATE_COMPLETE")
        made.execution_status = "EXECUTE_COMPLETE" if good else "EXECUTE_FAILED"
        for other in list(self.change_sets.values()):
            if other.stack is stack and other is not made:
                other.execution_status = "OBSOLETE"

    def _stack_of_change_set(self, name: str, kind: str) -> Stack:
        if kind == "UPDATE":
            stack = self.find(name)
            if stack.status not in _UPDATABLE:
                raise ValidationError(
                    f"Stack:{stack.id} is in {stack.status} state and can not be updated."
                )
            return stack
        if kind != "CREATE":
            raise ValidationError(f"the local AWS does not support change sets of type {kind}")
        for stack in self.live():
            if stack.name == name:
                if stack.status != "REVIEW_IN_PROGRESS":
                    raise ValidationError(
                        f"Stack [{name}] already exists and cannot be created again with the "
                        f"changeSet."
                    )
                return stack
        stack = self._new(name, "REVIEW_IN_PROGRESS")
        self._stacks[stack.id] = stack
        stack.become("REVIEW_IN_PROGRESS", "User Initiated")
        return stack

    def _forget_change_sets(self, stack: Stack) -> None:
        for made in [m for m in self.change_sets.values() if m.stack is stack]:
            del self.change_sets[made.id]

    def _plan(self, stack: Stack, wish: Wish, parsed: template.Template) -> plans.Plan:
        _check_capabilities(parsed, wish.capabilities)
        values = parameters.given(wish.parameters, stack.parameters)
        tags = stack.tags if wish.tags is None else wish.tags
        return plans.make(stack, parsed, values, tags, self._region)

    def _check_imports(self, stack: Stack, plan: plans.Plan) -> None:
        """An export that another stack imports may not go (nor change: engine.py)."""
        declared = plan.template.section("Outputs")
        kept = {
            output.export
            for name, output in stack.outputs.items()
            if name in declared and "Export" in declared[name]
        }
        for export in sorted(stack.exports.keys() - kept):
            users = [user for user in self.importing(export) if user != stack.name]
            if users:
                raise ValidationError(
                    f"Export {export} cannot be deleted as it is in use by {', '.join(users)}"
                )

    def _new(self, name: str, status: str) -> Stack:
        where = f"arn:aws:cloudformation:{self._region.name}:{self._region.account}"
        return Stack(id=f"{where}:stack/{name}/{uuid.uuid4()}", name=name, status=status)


class _Taken:
    """One operation at a time on a stack, begun in one of `states` (None: it is new).

    A refused operation leaves the status as it was; a defect of ours leaves no stack in progress.
    """

    def __init__(self, lock: Any, stack: Stack, states: frozenset[str] | None) -> None:
        self._lock, self._stack, self._states = lock, stack, states
        self._before = stack.status

    def __enter__(self) -> None:
        with self._lock:
            stack, self._before = self._stack, self._stack.status
            states = {stack.status} if self._states is None else self._states
            if stack.taken or stack.status not in states:
                verb = "deleted" if self._states is _DELETABLE else "updated"
                raise ValidationError(
                    f"Stack:{stack.id} is in {stack.status} state and can not be {verb}."
                )
            stack.taken = True

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        stack = self._stack
        stack.taken = False
        if error is None:
            return
        if isinstance(error, ValidationError):
            stack.status = self._before
        else:
            failed = stack.status.partition("_")[0]
            stack.become(f"{failed}_FAILED", f"defect of the local AWS: {error!r}")


def _parse(wish: Wish) -> template.Template:
    return template.parse(wish.template_text)


def _about(stack: Stack, wish: Wish) -> None:
    stack.capabilities = wish.capabilities
    stack.notification_arns = wish.notification_arns
    stack.role_arn = wish.role_arn or stack.role_arn
    stack.client_token = wish.client_token


def _check_capabilities(parsed: template.Template, given: list[str]) -> None:
    iam = [d for d in parsed.resources.values() if d.type.startswith("AWS::IAM::")]
    if any(d.properties.get(_NAMED.get(d.type, "")) for d in iam):
        needed = {"CAPABILITY_NAMED_IAM"}
    elif iam:
        needed = {"CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"}
    else:
        return
    if not needed & set(given):
        raise errors.InsufficientCapabilities(f"Requires capabilities : [{min(needed, key=len)}]")
