"""Create, update, roll back and delete, in the order of dependencies.

    create   resources in order; one fails: those made are deleted again (ROLLBACK_COMPLETE)
    update   new template in order: create, change in place, or make a replacement beside the old
             one; then, in the reverse of the old order, delete what was removed or replaced.
             One fails: every step taken is undone (UPDATE_ROLLBACK_COMPLETE)
    delete   reverse order; what cannot be deleted stays, and what it depends on

Over 400 lines, as the three share how one resource is made, changed and dropped.

Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-updating-stacks-update-behaviors.html
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

from botocore.exceptions import BotoCoreError, ClientError

from orchestrator.local_aws.cloudformation import intrinsics, resources
from orchestrator.local_aws.cloudformation.errors import ResourceFailed, ValidationError
from orchestrator.local_aws.cloudformation.plan import Plan, Region, Scope
from orchestrator.local_aws.cloudformation.resources.base import (
    Made,
    Properties,
    Request,
    ResourceType,
)
from orchestrator.local_aws.cloudformation.stack import Output, Resource, Stack
from orchestrator.local_aws.cloudformation.template import Declaration, Template

_log = logging.getLogger("orchestrator.local_aws.cloudformation")

_KEPT = {"Retain", "RetainExceptOnCreate"}


@dataclass(frozen=True)
class _Step:
    """One step of an update, to be taken back when a later one fails."""

    kind: Literal["same", "created", "changed", "replaced"]
    after: Resource
    before: Resource | None


class Engine:
    """Brings stacks to what their plans say. One operation a stack at a time: the caller's care."""

    def __init__(self, region: Region) -> None:
        self._region = region

    def create(self, stack: Stack, plan: Plan, *, on_failure: str = "ROLLBACK") -> None:
        """`on_failure`: ROLLBACK, DO_NOTHING or DELETE. Failures end in the stack's status."""
        _adopt(stack, plan)
        stack.become("CREATE_IN_PROGRESS", "User Initiated")
        scope = Scope(stack, plan, self._region, stack.resources)
        try:
            for declaration in _wanted(plan.template, scope):
                self._create_one(stack, plan, scope, declaration)
            stack.outputs = self._outputs(plan.template, scope, stack)
            stack.imports = scope.imported
        except ResourceFailed as error:
            stack.outputs = {}
            if on_failure == "DO_NOTHING":
                stack.become("CREATE_FAILED", str(error))
                return
            stack.become("ROLLBACK_IN_PROGRESS", f"{error} Rollback requested by user.")
            failed = self._delete_all(stack, stack.resources.values(), keep={"Retain"})
            if failed:
                stack.become("ROLLBACK_FAILED", _failed_to_delete(failed))
            else:
                stack.become("ROLLBACK_COMPLETE")
            if on_failure == "DELETE" and not failed:
                self.delete(stack)
        else:
            stack.become("CREATE_COMPLETE")

    def update(self, stack: Stack, plan: Plan, *, rollback: bool = True) -> None:
        """Raises ValidationError when nothing would change. Failures end in the stack's status."""
        if not self.differs(stack, plan):
            raise ValidationError("No updates are to be performed.")
        stack.become("UPDATE_IN_PROGRESS", "User Initiated")
        stack.updated = datetime.now(UTC)
        done: list[_Step] = []
        before = dict(stack.resources)
        now: dict[str, Resource] = {}  # what exists as the new template sees it
        scope = Scope(stack, plan, self._region, now)
        try:
            for declaration in _wanted(plan.template, scope):
                name = declaration.logical_id
                step = self._bring_to(stack, plan, scope, declaration, before.get(name), done)
                now[name] = stack.resources[name] = step.after
                done.append(step)
            outputs = self._outputs(plan.template, scope, stack)
        except ResourceFailed as error:
            if not rollback:
                stack.become("UPDATE_FAILED", str(error))
                return
            self._roll_back_update(stack, done, str(error))
            return
        replaced = [s.before for s in done if s.kind == "replaced" and s.before is not None]
        _adopt(stack, plan)
        stack.outputs, stack.imports = outputs, scope.imported
        stack.become("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS")
        removed = [old for name, old in before.items() if name not in now]
        stack.resources = now
        failed = self._delete_all(stack, [*removed, *replaced], keep=_KEPT)
        if failed:  # AWS: the update is complete all the same; what is left is only reported
            _log.warning("stack %s: %s", stack.name, _failed_to_delete(failed))
        stack.become("UPDATE_COMPLETE")

    def delete(self, stack: Stack, *, retain: Collection[str] = ()) -> None:
        """`retain` names resources to leave alone. Failures end in the stack's status."""
        stack.become("DELETE_IN_PROGRESS", "User Initiated")
        left = [r for name, r in stack.resources.items() if name not in retain]
        failed = self._delete_all(stack, left, keep=_KEPT)
        if failed:
            stack.become("DELETE_FAILED", _failed_to_delete(failed))
            return
        stack.outputs, stack.imports, stack.resources = {}, set(), {}
        stack.deleted = datetime.now(UTC)
        stack.become("DELETE_COMPLETE")

    def changes(self, stack: Stack, plan: Plan) -> list[dict[str, Any]]:
        """What an update would do, as far as it can be known before: a change set's Changes."""
        scope = Scope(stack, plan, self._region, stack.resources)
        wanted = {d.logical_id: d for d in _wanted(plan.template, scope)}
        found = []
        for name, declaration in wanted.items():
            old = stack.resources.get(name)
            if old is None:
                found.append(_change("Add", declaration))
            elif old.declaration != declaration:
                found.append(_change("Modify", declaration, old.physical_id))
        for name, old in stack.resources.items():
            if name not in wanted:
                found.append(_change("Remove", old.declaration, old.physical_id))
        return found

    def differs(self, stack: Stack, plan: Plan) -> bool:
        """Whether an update would have anything to do."""
        assert stack.template is not None
        return (
            stack.template.document != plan.template.document
            or dict(stack.parameters) != dict(plan.parameters)
            or dict(stack.tags) != dict(plan.tags)
        )

    # One resource

    def _create_one(
        self, stack: Stack, plan: Plan, scope: Scope, declaration: Declaration
    ) -> Resource:
        stack.resource_became(declaration, "", "CREATE_IN_PROGRESS")
        with _reported(stack, declaration, "", "CREATE_FAILED"):
            properties = _evaluated(declaration, scope)
            kind = resources.find(declaration.type)
            kind.check(properties)
            kind.check_update_policy(declaration.update_policy)
            request = self._request(stack, plan.tags, declaration, properties)
            made = self._make(kind, self._resolved(request))
        resource = _resource(declaration, properties, made, plan.template)
        stack.resources[declaration.logical_id] = resource
        stack.resource_became(declaration, made.physical_id, "CREATE_COMPLETE")
        return resource

    @staticmethod
    def _make(kind: ResourceType, request: Request) -> Made:
        try:
            return kind.create(request)
        except Exception:
            for physical_id in request.begun:  # made, but not finished
                with contextlib.suppress(Exception):
                    kind.delete(replace(request, physical_id=physical_id))
            raise

    def _bring_to(
        self,
        stack: Stack,
        plan: Plan,
        scope: Scope,
        declaration: Declaration,
        old: Resource | None,
        done: list[_Step],
    ) -> _Step:
        if old is None:
            return _Step("created", self._create_one(stack, plan, scope, declaration), None)
        with _reported(stack, declaration, old.physical_id, "UPDATE_FAILED"):
            properties = _evaluated(declaration, scope)
            kind = resources.find(declaration.type)
            same = old.type == declaration.type and old.properties == properties
            if same and (dict(stack.tags) == dict(plan.tags) or not kind.updatable):
                return _Step("same", _redeclared(old, declaration, plan.template), old)
            kind.check(properties)
            kind.check_update_policy(declaration.update_policy)
            replaces = old.type != declaration.type or kind.replaces(old.properties, properties)
            if replaces:
                self._check_name_is_free(kind, old, properties)
            else:
                kind.check_change(old.properties, properties)
        if replaces:
            stack.resource_became(
                declaration,
                old.physical_id,
                "UPDATE_IN_PROGRESS",
                "Requested update requires the creation of a new physical resource; hence "
                "creating one.",
            )
            return _Step("replaced", self._create_one(stack, plan, scope, declaration), old)
        # A change that fails half way is taken back too.
        done.append(_Step("changed", replace(old, properties=properties), old))
        changed = self._change(stack, plan, declaration, properties, old)
        done.pop()
        return _Step("changed", changed, old)

    def _change(
        self, stack: Stack, plan: Plan, declaration: Declaration, new: Properties, old: Resource
    ) -> Resource:
        stack.resource_became(declaration, old.physical_id, "UPDATE_IN_PROGRESS")
        with _reported(stack, declaration, old.physical_id, "UPDATE_FAILED"):
            request = self._request(stack, plan.tags, declaration, new, old=old)
            made = resources.find(declaration.type).update(self._resolved(request))
        stack.resource_became(declaration, made.physical_id, "UPDATE_COMPLETE")
        return _resource(declaration, new, made, plan.template)

    @staticmethod
    def _check_name_is_free(kind: ResourceType, old: Resource, new: Properties) -> None:
        name = kind.name_property
        if name is None or old.type != kind.type or new.get(name) is None:
            return
        if new[name] == old.properties.get(name):
            raise ResourceFailed(
                "CloudFormation cannot update a stack when a custom-named resource requires "
                f"replacing. Rename {new[name]} and update the stack again."
            )

    def _delete_all(
        self, stack: Stack, unwanted: Iterable[Resource], *, keep: Collection[str]
    ) -> list[str]:
        """Dependants first. Returns the logical ids of what could not be deleted.

        What something undeletable depends on is left alone, and reported too.
        """
        pending = list(unwanted)
        failed: list[str] = []
        needed: set[str] = set()
        while pending:
            ready = [r for r in pending if not _needed_by(r, pending)]
            for resource in ready or pending[:1]:
                pending.remove(resource)
                if resource.logical_id in needed or not self._delete_one(stack, resource, keep):
                    failed.append(resource.logical_id)
                    needed |= resource.dependencies
        return failed

    def _delete_one(self, stack: Stack, resource: Resource, keep: Collection[str]) -> bool:
        """Delete, snapshot or keep it as its policy says. False when it cannot be deleted."""
        declaration, physical_id = resource.declaration, resource.physical_id
        live = stack.resources.get(resource.logical_id)
        replaced = live is not None and live is not resource
        policy = declaration.update_replace_policy if replaced else declaration.deletion_policy
        if policy in keep:
            stack.resource_became(declaration, physical_id, "DELETE_SKIPPED")
        else:
            stack.resource_became(declaration, physical_id, "DELETE_IN_PROGRESS")
            snapshot = policy == "Snapshot" and stack.status != "ROLLBACK_IN_PROGRESS"
            try:
                self._drop(stack, resource, snapshot=snapshot)
            except ResourceFailed:
                return False
        if live is None or not replaced:
            stack.resources.pop(resource.logical_id, None)
        else:  # the replacement lives on under that name
            stack.resource_became(live.declaration, live.physical_id, "UPDATE_COMPLETE")
        return True

    def _drop(self, stack: Stack, resource: Resource, *, snapshot: bool = False) -> None:
        declaration, physical_id = resource.declaration, resource.physical_id
        kind = resources.find(resource.type)
        with _reported(stack, declaration, physical_id, "DELETE_FAILED"):
            request = self._request(
                stack, stack.tags, declaration, resource.properties, old=resource
            )
            if snapshot and kind.snapshots:
                kind.snapshot(request)
            kind.delete(request)
        stack.resource_became(declaration, physical_id, "DELETE_COMPLETE")

    def _roll_back_update(self, stack: Stack, done: list[_Step], reason: str) -> None:
        stack.become("UPDATE_ROLLBACK_IN_PROGRESS", reason)
        assert stack.template is not None
        old_plan = Plan(stack.template, stack.parameters, stack.tags)
        failed: list[str] = []
        for step in reversed(done):
            name, before = step.after.logical_id, step.before
            try:
                if step.kind in ("created", "replaced"):
                    self._drop(stack, step.after)
                if before is None:
                    stack.resources.pop(name, None)
                elif step.kind == "changed":
                    stack.resources[name] = self._change(
                        stack, old_plan, before.declaration, before.properties, step.after
                    )
                else:
                    stack.resources[name] = before
            except ResourceFailed:
                failed.append(name)
        if failed:
            stack.become(
                "UPDATE_ROLLBACK_FAILED",
                f"The following resource(s) failed to update: [{', '.join(failed)}].",
            )
            return
        stack.become("UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS")
        stack.become("UPDATE_ROLLBACK_COMPLETE")

    # What requests and outputs are made of

    def _request(
        self,
        stack: Stack,
        tags: Mapping[str, str],
        declaration: Declaration,
        properties: Properties,
        *,
        old: Resource | None = None,
    ) -> Request:
        return Request(
            clients=self._region.client,
            account=self._region.account,
            region=self._region.name,
            stack_name=stack.name,
            stack_tags=tags,
            logical_id=declaration.logical_id,
            properties=properties,
            physical_id=old.physical_id if old else "",
            old=old.properties if old else None,
            old_stack_tags=stack.tags,
            update_policy=declaration.update_policy,
        )

    def _resolved(self, request: Request) -> Request:
        """With the values of dynamic references: only for the moment of acting."""
        return replace(
            request,
            properties=intrinsics.resolve_dynamic(request.properties, self._dynamic),
            old=intrinsics.resolve_dynamic(request.old, self._dynamic),
        )

    def _dynamic(self, service: str, reference: str) -> str:
        """The value behind `{{resolve:...}}`.

        Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/dynamic-references.html
        """
        if service.startswith("ssm"):
            answer = self._region.client("ssm").get_parameter(Name=reference, WithDecryption=True)
            return str(answer["Parameter"]["Value"])
        secret, _, rest = reference.partition(":SecretString")
        key, stage, version = [*rest.removeprefix(":").split(":"), "", ""][:3]
        chosen = {"VersionStage": stage} if stage else {"VersionId": version} if version else {}
        client = self._region.client("secretsmanager")
        text = str(client.get_secret_value(SecretId=secret, **chosen)["SecretString"])
        if not key:
            return text
        value = json.loads(text)
        if key not in value:
            raise ResourceFailed(f"Could not find a value associated with JSONKey {key} in secret")
        return str(value[key])

    def _outputs(self, template: Template, scope: Scope, stack: Stack) -> dict[str, Output]:
        outputs = {}
        taken = self._region.exports()
        for name, declared in template.section("Outputs").items():
            try:
                if "Condition" in declared and not scope.condition(declared["Condition"]):
                    continue
                value = intrinsics.evaluate(declared["Value"], scope)
                export = declared.get("Export")
                export = None if export is None else intrinsics.evaluate(export["Name"], scope)
            except ValidationError as error:
                raise ResourceFailed(f"Output {name}: {error.message}") from None
            if isinstance(value, list | dict):
                raise ResourceFailed(f"Output {name}: the value must be a string")
            if export is not None and export in taken and export not in stack.exports:
                raise ResourceFailed(f"Export with name {export} is already exported by a stack.")
            if export in stack.exports and stack.exports[export] != str(value):
                users = [user for user in self._region.importing(export) if user != stack.name]
                if users:
                    raise ResourceFailed(
                        f"Export {export} cannot be updated as it is in use by {', '.join(users)}"
                    )
            outputs[name] = Output(name, str(value), declared.get("Description"), export)
        return outputs


class _reported:
    """Turns what a resource type raises into its status and one ResourceFailed."""

    def __init__(
        self, stack: Stack, declaration: Declaration, physical_id: str, status: str
    ) -> None:
        self._about = (stack, declaration, physical_id, status)

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if error is None or not isinstance(error, Exception):
            return
        stack, declaration, physical_id, status = self._about
        if isinstance(error, ClientError):
            answer = error.response["Error"]
            reason = f"{answer.get('Message')} (Service: {error.operation_name}, {answer['Code']})"
        elif isinstance(error, ResourceFailed | ValidationError | BotoCoreError):
            reason = str(getattr(error, "message", error))
        else:
            _log.exception("resource %s of type %s", declaration.logical_id, declaration.type)
            reason = f"{type(error).__name__}: {error}"
        stack.resource_became(declaration, physical_id, status, reason)
        raise ResourceFailed(
            f"The following resource(s) failed to {_verb(status)}: [{declaration.logical_id}]. "
            f"{reason}"
        ) from error


def _verb(status: str) -> str:
    return {"CREATE_FAILED": "create", "UPDATE_FAILED": "update"}.get(status, "delete")


def _failed_to_delete(names: list[str]) -> str:
    return f"The following resource(s) failed to delete: [{', '.join(names)}]."


def _needed_by(resource: Resource, others: Iterable[Resource]) -> bool:
    return any(resource.logical_id in o.dependencies for o in others if o is not resource)


def _adopt(stack: Stack, plan: Plan) -> None:
    stack.template = plan.template
    stack.parameters, stack.tags = dict(plan.parameters), dict(plan.tags)


def _wanted(template: Template, scope: Scope) -> list[Declaration]:
    """Declarations whose condition holds, each after what it depends on."""
    declared = (template.resources[name] for name in template.order)
    return [d for d in declared if d.condition is None or scope.condition(d.condition)]


def _evaluated(declaration: Declaration, scope: Scope) -> Properties:
    properties: Properties = intrinsics.evaluate(dict(declaration.properties), scope)
    return properties


def _resource(
    declaration: Declaration, properties: Properties, made: Made, template: Template
) -> Resource:
    needs = template.dependencies(declaration.logical_id)
    return Resource(declaration, made.physical_id, properties, made.attributes, needs)


def _redeclared(old: Resource, declaration: Declaration, template: Template) -> Resource:
    """The same resource under the new template's policies and dependencies."""
    needs = template.dependencies(declaration.logical_id)
    if old.declaration == declaration and old.dependencies == needs:
        return old
    return replace(old, declaration=declaration, dependencies=needs)


def _change(action: str, declaration: Declaration, physical_id: str = "") -> dict[str, Any]:
    detail: dict[str, Any] = {
        "Action": action,
        "LogicalResourceId": declaration.logical_id,
        "ResourceType": declaration.type,
    }
    if physical_id:
        detail["PhysicalResourceId"] = physical_id
    return {"Type": "Resource", "ResourceChange": detail}
