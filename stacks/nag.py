"""cdk-nag on this app: `cdk synth -c nag=true` runs AwsSolutions, accepting what has a reason.

A wildcard of a policy is accepted by the Sid of its statement: the reason is about what that
statement allows. One without a Sid that stands here stays a finding.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from aws_cdk import Acknowledgment, App, CfnResource, Stack, Validations
from aws_cdk import aws_iam as iam
from constructs import IConstruct

_NO_RESOURCES = "these actions know no resources (Service Authorization Reference)"
_OWN_DATA = "all keys of the environment's own bucket, or of those that the settings name"
_STREAMS = "the streams of one log group; their names come with jobs and hosts"

WILDCARDS: Final[Mapping[str, str]] = {
    "AttachToItself": "by condition only the instance whose credentials are used",
    "ChangeOwnVolumes": "by condition only volumes with the tag of the own instance",
    "ClaimVolumes": "by condition only unclaimed volumes of this environment, for itself",
    "EndJobs": "ids of jobs are made by Batch; they carry no name",
    "FindEndpoint": _NO_RESOURCES,
    "LetVolumesGoWithItself": "by condition only the instance whose credentials are used",
    "HearOfBatch": "one queue of this environment",
    "JoinCluster": "Batch names its clusters, when it makes them",
    "List": "keys of the environment's own bucket",
    "LogInToRegistry": _NO_RESOURCES,
    "MakeDefinitions": "definitions of this environment's prefix, made when a job needs them",
    "MakeVolumes": "by condition only encrypted ones that it claims for itself",
    "NothingThatHostsExecute": "a Deny, which cannot be too wide",
    "OpenSessions": "by condition only hosts with the tag of this environment",
    "OwnSessions": "ids of sessions begin with the name of whoever opened them",
    "PullImages": "workflows name images; it is reading only",
    "PullThroughCache": "repositories below the prefixes of the cache, made at a first pull",
    "Read": _OWN_DATA,
    "ReadJobLogs": _STREAMS,
    "ReadLogs": _STREAMS,
    "RemoveDefinitions": "definitions of this environment's prefix",
    "RemoveObjects": "the two prefixes that workflows write",
    "Report": "Batch names its clusters and instances, when it makes them",
    "SayThatItIsReady": "the id at the end of its own stack's ARN is made by CloudFormation",
    "SeeDashboard": "dashboards of this environment's prefix",
    "SeeVolumes": _NO_RESOURCES,
    "SeeWhoWaits": _NO_RESOURCES,
    "SessionManager": _NO_RESOURCES,
    "SubmitJobs": "definitions of this environment's prefix, made when a job needs them",
    "TagJobs": "what SubmitJob and RegisterJobDefinition tag, within this environment's prefix",
    "TagNewVolumes": "by condition only while a volume is made",
    "TagOnJoining": "by condition only while an instance joins",
    "Watch": _NO_RESOURCES,
    "WatchJobs": _NO_RESOURCES,
    "Write": "the prefixes that workflows write",
    "WriteHostLogs": _STREAMS,
    "WriteLogs": _STREAMS,
}

# By the path below the stack's name. One that begins so is meant too.
OTHERS: Final[tuple[tuple[str, str, str], ...]] = (
    (
        "registries/DockerHub",
        "AwsSolutions-SMG4",
        "Docker Hub's tokens are made by people; the orchestrator writes the one of its "
        "configuration",
    ),
    (
        "host/Orchestrator/Group",
        "AwsSolutions-AS3",
        "a group of one scales never; CloudFormation hears of its replacement, alarms of its loss",
    ),
    (
        "network/Endpoints/SecurityGroup",
        "AwsSolutions-EC23",
        "its one rule names the VPC's own range, which is a reference",
    ),
)


def is_wanted(app: App) -> bool:
    """Whether somebody asked: `-c nag=true`."""
    return str(app.node.try_get_context("nag")).lower() == "true"


def check(app: App) -> None:
    """Synthesise an app once more, with AwsSolutions. Raises what CDK raises on a finding.

    Only after the first time do policies name what is in other stacks as the templates do.
    """
    import cdk_nag  # only those who ask need it

    acknowledge(app)
    Validations.of(app).add_plugins(cdk_nag.AwsSolutionsChecks(app))
    app.synth(force=True)


def acknowledge(scope: IConstruct) -> None:
    """Tell cdk-nag of all that is accepted, and why."""
    for construct in scope.node.find_all():
        for id, reason in {**_of_place(construct), **_of_policy(construct)}.items():
            Validations.of(construct).acknowledge(Acknowledgment(id=id, reason=reason))


def _of_place(construct: IConstruct) -> dict[str, str]:
    if not isinstance(construct, CfnResource):
        return {}
    part, _, below = construct.node.path.partition("/")
    path = f"{part.rpartition('-')[2]}/{below}/"
    return {id: reason for place, id, reason in OTHERS if path.startswith(f"{place}/")}


def _of_policy(construct: IConstruct) -> dict[str, str]:
    """Each wildcard of a policy with the reasons of all statements that have it."""
    if not isinstance(construct, iam.CfnPolicy | iam.CfnManagedPolicy):
        return {}
    found: dict[str, set[str]] = {}
    document = Stack.of(construct).resolve(construct.policy_document)
    for statement in _list(document["Statement"]):
        reason = WILDCARDS.get(statement.get("Sid", ""))
        if reason:
            for wildcard in _wildcards(statement):
                found.setdefault(f"AwsSolutions-IAM5[{wildcard}]", set()).add(reason)
    return {id: "; ".join(sorted(reasons)) for id, reasons in found.items()}


def _wildcards(statement: Mapping[str, Any]) -> Iterator[str]:
    for kind in ("Action", "Resource"):
        for value in _list(statement.get(kind, [])):
            text = _flat(value)
            if "*" in text:
                yield f"{kind}::{text}"


def _flat(value: Any) -> str:
    """A value of a template as cdk-nag writes it in an id."""
    if isinstance(value, str):
        return re.sub(r"\$\{([^}]*)\}", r"<\1>", value)
    ((function, argument),) = value.items()
    if function == "Ref":
        return f"<{argument}>"
    if function == "Fn::GetAtt":
        return f"<{'.'.join(argument)}>"
    if function == "Fn::Join":
        return str(argument[0]).join(_flat(part) for part in argument[1])
    return _flat(argument)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
