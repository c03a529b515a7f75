"""The service's verbs on the wire: requests in, answers out. moto's protocol layer does the XML."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

from botocore.exceptions import ClientError
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.core.request import Request
from moto.core.responses import ActionResult, BaseResponse, EmptyResult
from moto.core.utils import camelcase_to_underscores
from werkzeug.wrappers import Response

from orchestrator.local_aws.cloudformation import plan, template, views
from orchestrator.local_aws.cloudformation.errors import ValidationError
from orchestrator.local_aws.cloudformation.service import ChangeSet, Stacks, Wish
from orchestrator.local_aws.cloudformation.stack import Stack
from orchestrator.local_aws.loopback import Loopback

_BODY_LIMIT = 51_200
_PAGE = 100
_REFUSED = (
    *("ResourceTypes", "StackPolicyBody", "StackPolicyURL", "StackPolicyDuringUpdateBody"),
    *("StackPolicyDuringUpdateURL", "ResourcesToImport", "RetainExceptOnCreate"),
)


class CloudFormation:
    """CloudFormation of all regions, as a WSGI application."""

    def __init__(self, loopback: Loopback) -> None:
        self._loopback = loopback
        self._regions: dict[str, Stacks] = {}
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        request = _Request(environ)
        status, headers, body = _Verbs(self)._dispatch(request)
        headers.pop("status", None)
        return Response(body, status, list(headers.items()))(environ, start_response)

    def reset(self) -> None:
        """Forget every stack, not their resources."""
        with self._lock:
            self._regions.clear()

    def stacks(self, region: str) -> Stacks:
        with self._lock:
            if region not in self._regions:
                where = plan.Region(
                    account=DEFAULT_ACCOUNT_ID,
                    name=region,
                    client=lambda service: self.client(service, region),
                    exports=lambda: self._regions[region].exports(),
                    importing=lambda export: self._regions[region].importing(export),
                )
                self._regions[region] = Stacks(where)
            return self._regions[region]

    def client(self, service: str, region: str) -> Any:
        return self._loopback.client(service, region)


class _Request(Request):
    from_wsgi_server = True


class _Verbs(BaseResponse):
    """One request. Methods are the verbs of the API, in the spelling that moto looks for."""

    def __init__(self, service: CloudFormation | None = None) -> None:
        super().__init__(service_name="cloudformation")
        self.automated_parameter_parsing = True
        self._service = service

    @property
    def _stacks(self) -> Stacks:
        assert self._service is not None
        return self._service.stacks(self.region)

    def call_action(self) -> Any:
        action = self._get_action()
        if not hasattr(_Verbs, camelcase_to_underscores(action)):
            refusal = ValidationError(f"the local AWS does not support {action} of CloudFormation")
            return self.serialized(ActionResult(refusal))
        return super().call_action()

    # Stacks

    def create_stack(self) -> ActionResult:
        on_failure = self.params.get("OnFailure")
        if self.params.get("DisableRollback"):
            if on_failure:
                raise ValidationError("You may specify OnFailure or DisableRollback, not both")
            on_failure = "DO_NOTHING"
        stack = self._stacks.create(
            self.params["StackName"],
            self._wish(None),
            on_failure=on_failure or "ROLLBACK",
            termination_protection=bool(self.params.get("EnableTerminationProtection")),
        )
        return ActionResult({"StackId": stack.id})

    def update_stack(self) -> ActionResult:
        stack = self._stacks.find(self.params["StackName"])
        rollback = not self.params.get("DisableRollback", False)
        self._stacks.update(stack.id, self._wish(stack), rollback=rollback)
        return ActionResult({"StackId": stack.id})

    def delete_stack(self) -> ActionResult:
        if self.params.get("DeletionMode") not in (None, "STANDARD"):
            raise ValidationError("the local AWS does not support DeletionMode")
        self._stacks.delete(
            self.params["StackName"],
            retain=list(self.params.get("RetainResources", [])),
            token=self.params.get("ClientRequestToken"),
        )
        return EmptyResult()

    def update_termination_protection(self) -> ActionResult:
        stack = self._stacks.find(self.params["StackName"])
        stack.termination_protection = bool(self.params["EnableTerminationProtection"])
        return ActionResult({"StackId": stack.id})

    def describe_stacks(self) -> ActionResult:
        name = self.params.get("StackName")
        stacks = [self._stacks.find(name)] if name else self._stacks.live()
        return self._page("Stacks", [views.description(stack) for stack in stacks])

    def list_stacks(self) -> ActionResult:
        wanted = self.params.get("StackStatusFilter")
        stacks = [s for s in self._stacks.all() if not wanted or s.status in wanted]
        return self._page("StackSummaries", [views.summary(stack) for stack in stacks])

    def describe_stack_events(self) -> ActionResult:
        events = list(self._stacks.find(self.params["StackName"]).events)
        return self._page("StackEvents", [views.known(event) for event in reversed(events)])

    def describe_stack_resource(self) -> ActionResult:
        stack = self._stacks.find(self.params["StackName"])
        status = stack.resource_status.get(self.params["LogicalResourceId"])
        if status is None:
            raise ValidationError(
                f"Resource {self.params['LogicalResourceId']} does not exist for stack {stack.name}"
            )
        detail = views.resource(stack, status) | {"LastUpdatedTimestamp": status.changed}
        return ActionResult({"StackResourceDetail": detail})

    def describe_stack_resources(self) -> ActionResult:
        wanted, physical = self.params.get("LogicalResourceId"), self.params.get(
            "PhysicalResourceId"
        )  # fmt: skip
        stacks = (
            [self._stacks.find(self.params["StackName"])]
            if self.params.get("StackName")
            else self._stacks.live()
        )
        found = [
            views.resource(stack, status) | {"Timestamp": status.changed}
            for stack in stacks
            for status in list(stack.resource_status.values())
            if wanted in (None, status.logical_id) and physical in (None, status.physical_id)
        ]
        return ActionResult({"StackResources": found})

    def list_stack_resources(self) -> ActionResult:
        stack = self._stacks.find(self.params["StackName"])
        found = [
            views.resource(stack, status) | {"LastUpdatedTimestamp": status.changed}
            for status in list(stack.resource_status.values())
            if status.status not in ("DELETE_COMPLETE", "DELETE_SKIPPED")
        ]
        return self._page("StackResourceSummaries", found)

    def list_exports(self) -> ActionResult:
        return self._page("Exports", self._stacks.exporting())

    def list_imports(self) -> ActionResult:
        names = self._stacks.importing(self.params["ExportName"])
        if not names:
            raise ValidationError(
                f"Export '{self.params['ExportName']}' is not imported by any stack."
            )
        return self._page("Imports", names)

    # Templates

    def get_template(self) -> ActionResult:
        if self.params.get("ChangeSetName"):
            change_set = self._change_set()
            text = change_set.wish.template_text
        else:
            stack = self._stacks.find(self.params["StackName"])
            text = stack.template.text if stack.template else ""
        return ActionResult({"TemplateBody": text, "StagesAvailable": ["Original", "Processed"]})

    def get_template_summary(self) -> ActionResult:
        if self.params.get("StackName"):
            stack = self._stacks.find(self.params["StackName"])
            if stack.template is None:
                raise ValidationError(
                    f"Stack {stack.name} is in {stack.status} and has no template"
                )
            parsed = stack.template
        else:
            parsed = template.parse(self._text())
        types = sorted({declaration.type for declaration in parsed.resources.values()})
        return ActionResult(
            views.known(
                {
                    "Parameters": views.declared_parameters(parsed, "ParameterType"),
                    "Description": parsed.description,
                    "ResourceTypes": types,
                    "Version": parsed.document.get("AWSTemplateFormatVersion"),
                    "Capabilities": views.capabilities(parsed),
                }
            )
        )

    def validate_template(self) -> ActionResult:
        parsed = template.parse(self._text())
        return ActionResult(
            views.known(
                {
                    "Parameters": views.declared_parameters(parsed, None),
                    "Description": parsed.description,
                    "Capabilities": views.capabilities(parsed),
                }
            )
        )

    # Change sets

    def create_change_set(self) -> ActionResult:
        kind = self.params.get("ChangeSetType", "UPDATE")
        stack = self._stacks.find(self.params["StackName"]) if kind == "UPDATE" else None
        made = self._stacks.create_change_set(
            self.params["StackName"],
            self.params["ChangeSetName"],
            self._wish(stack),
            kind=kind,
            description=self.params.get("Description"),
            on_failure=self.params.get("OnStackFailure"),
        )
        return ActionResult({"Id": made.id, "StackId": made.stack.id})

    def describe_change_set(self) -> ActionResult:
        made = self._change_set()
        return ActionResult(
            views.known(
                {
                    "ChangeSetName": made.name,
                    "ChangeSetId": made.id,
                    "StackId": made.stack.id,
                    "StackName": made.stack.name,
                    "Description": made.description,
                    "Parameters": [p.as_json() for p in made.plan.parameters.values()],
                    "CreationTime": made.created,
                    "ExecutionStatus": made.execution_status,
                    "Status": made.status,
                    "StatusReason": made.status_reason,
                    "Capabilities": made.wish.capabilities,
                    "Tags": views.tags(made.plan.tags),
                    "Changes": made.changes,
                    "OnStackFailure": made.on_failure,
                }
            )
        )

    def list_change_sets(self) -> ActionResult:
        stack = self._stacks.find(self.params["StackName"])
        found = [
            views.known(
                {
                    "StackId": stack.id,
                    "StackName": stack.name,
                    "ChangeSetId": made.id,
                    "ChangeSetName": made.name,
                    "ExecutionStatus": made.execution_status,
                    "Status": made.status,
                    "StatusReason": made.status_reason,
                    "CreationTime": made.created,
                    "Description": made.description,
                }
            )
            for made in list(self._stacks.change_sets.values())
            if made.stack is stack
        ]
        return self._page("Summaries", found)

    def execute_change_set(self) -> ActionResult:
        self._refuse()
        self._stacks.execute_change_set(
            self.params["ChangeSetName"],
            self.params.get("StackName"),
            rollback=not self.params.get("DisableRollback", False),
            token=self.params.get("ClientRequestToken"),
        )
        return ActionResult({})

    def delete_change_set(self) -> ActionResult:
        self._stacks.delete_change_set(self.params["ChangeSetName"], self.params.get("StackName"))
        return ActionResult({})

    def describe_events(self) -> ActionResult:
        """The events of a stack in the newer form, which the CDK asks for after failures."""
        if self.params.get("ChangeSetName") and not self.params.get("StackName"):
            stack = self._change_set().stack
        else:
            stack = self._stacks.find(self.params["StackName"])
        names = ("EventId", "StackId", "LogicalResourceId", "PhysicalResourceId", "ResourceType",
                 "Timestamp", "ResourceStatus", "ResourceStatusReason",
                 "ClientRequestToken")  # fmt: skip
        events = [
            views.known({name: event[name] for name in names}) | {"EventType": "STACK_EVENT"}
            for event in reversed(list(stack.events))
        ]
        return self._page("OperationEvents", events)

    # What requests have in common

    def _change_set(self) -> ChangeSet:
        return self._stacks.find_change_set(
            self.params["ChangeSetName"], self.params.get("StackName")
        )

    def _refuse(self) -> None:
        for name in _REFUSED:
            if self.params.get(name):
                raise ValidationError(f"the local AWS does not support the parameter {name}")
        if any((self.params.get("RollbackConfiguration") or {}).values()):
            raise ValidationError("the local AWS does not support RollbackConfiguration")

    def _wish(self, stack: Stack | None) -> Wish:
        self._refuse()
        tags = self.params.get("Tags")
        # An empty list cannot be told from none on the wire; AWS keeps the tags then.
        chosen = {tag["Key"]: tag["Value"] for tag in tags} if tags else None
        return Wish(
            template_text=self._text(stack),
            parameters=[_plain(item) for item in self.params.get("Parameters", [])],
            tags=chosen if chosen is not None or stack is not None else {},
            capabilities=list(self.params.get("Capabilities", [])),
            notification_arns=list(self.params.get("NotificationARNs", [])),
            role_arn=self.params.get("RoleARN"),
            client_token=self.params.get("ClientRequestToken") or self.params.get("ClientToken"),
        )

    def _text(self, stack: Stack | None = None) -> str:
        body, url = self.params.get("TemplateBody"), self.params.get("TemplateURL")
        previous = bool(self.params.get("UsePreviousTemplate"))
        if (body is not None) + (url is not None) + previous != 1:
            raise ValidationError("Either Template URL or Template Body must be specified.")
        if previous:
            if stack is None or stack.template is None:
                raise ValidationError("there is no previous template")
            return stack.template.text
        if body is not None:
            if len(body.encode()) > _BODY_LIMIT:
                raise ValidationError(
                    "1 validation error detected: Value at 'templateBody' failed to satisfy "
                    f"constraint: Member must have length less than or equal to {_BODY_LIMIT}"
                )
            return str(body)
        return self._fetch(str(url))

    def _fetch(self, url: str) -> str:
        """A template in a bucket of this AWS. Raises ValidationError."""
        bucket, key = _object_of(url)
        assert self._service is not None
        s3 = self._service.client("s3", self.region)
        try:
            text: bytes = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
            return text.decode()
        except ClientError as error:
            raise ValidationError(f"S3 error: {error.response['Error']['Message']}") from None
        except UnicodeDecodeError:
            raise ValidationError("Template format error: not UTF-8") from None

    def _page(self, name: str, items: Sequence[Any]) -> ActionResult:
        token = self.params.get("NextToken")
        if token is not None and not str(token).isdigit():
            raise ValidationError("Invalid NextToken")
        start = int(token or 0)
        result: dict[str, Any] = {name: items[start : start + _PAGE]}
        if len(items) > start + _PAGE:
            result["NextToken"] = str(start + _PAGE)
        return ActionResult(result)


def _object_of(url: str) -> tuple[str, str]:
    """Bucket and key of an S3 URL, in the style of a path or of a host name."""
    parts = urlsplit(url)
    host, path = parts.hostname or "", unquote(parts.path).lstrip("/")
    if parts.scheme == "s3":
        return host, path
    first = host.split(".", 1)[0]
    # cdk-assets.s3.amazonaws.com, cdk-assets.localhost: the bucket leads the host name.
    own_host = host in ("localhost", "127.0.0.1") or first == "s3" or first.startswith("s3-")
    if own_host:
        bucket, _, key = path.partition("/")
        return bucket, key
    return host.split(".s3", 1)[0].removesuffix(".localhost"), path


def _plain(item: Any) -> dict[str, Any]:
    original: Callable[[], dict[str, Any]] | None = getattr(item, "original_dict", None)
    return dict(item) if original is None else dict(original())
