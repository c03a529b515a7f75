"""What AWS Batch refuses of job queues and scheduling policies, which moto takes.

Sources: the API reference of CreateJobQueue, UpdateJobQueue, JobStateTimeLimitAction and
FairsharePolicy: https://docs.aws.amazon.com/batch/latest/APIReference/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from moto.batch.models import BatchBackend

from orchestrator.local_aws.batch.refusals import refuse, refuse_unsupported

_MOST_ENVIRONMENTS = 3
_MOST_SHARES = 500
_LONGEST_DECAY_SECONDS = 604_800
_SHARE = re.compile(r"[A-Za-z0-9]{1,255}\*?")
_REASONS = (
    "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY",
    "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE",
    "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT",
)


def check_queue(backend: BatchBackend, request: Mapping[str, Any], existing: Any) -> None:
    """A CreateJobQueue, or an UpdateJobQueue of an `existing` one. Raises ClientException."""
    order = request.get("computeEnvironmentOrder")
    if order is not None and len(order) > _MOST_ENVIRONMENTS:
        refuse(f"computeEnvironmentOrder has {len(order)} entries, at most {_MOST_ENVIRONMENTS}")
    if len({entry.get("order") for entry in order or ()}) != len(order or ()):
        refuse("computeEnvironmentOrder gives two compute environments the same order")
    policy = request.get("schedulingPolicyArn")
    if policy:
        if backend._scheduling_policies.get(policy) is None:
            refuse(f"SchedulingPolicy {policy} does not exist")
        if existing is not None and not existing.schedule_policy:
            refuse(f"JobQueue {existing.name} has no scheduling policy and cannot get one any more")
    for action in request.get("jobStateTimeLimitActions") or ():
        _check_time_limit(action)


def _check_time_limit(action: Mapping[str, Any]) -> None:
    # The API takes the whole text of a reason too: "REASON - All compute environments ...".
    reason = str(action.get("reason", "")).partition(" ")[0]
    if reason not in _REASONS:
        refuse(f"jobStateTimeLimitActions: reason must be one of {', '.join(_REASONS)}")
    if action.get("state") != "RUNNABLE":
        refuse("jobStateTimeLimitActions: state must be RUNNABLE")
    if action.get("action") == "TERMINATE":
        refuse_unsupported("jobStateTimeLimitActions with action TERMINATE")
    if action.get("action") != "CANCEL":
        refuse("jobStateTimeLimitActions: action must be CANCEL")
    if not 600 <= int(action.get("maxTimeSeconds", 0)) <= 86_400:
        refuse("jobStateTimeLimitActions: maxTimeSeconds must be between 600 and 86400")


def check_policy(request: Mapping[str, Any]) -> None:
    """A CreateSchedulingPolicy or UpdateSchedulingPolicy. Raises ClientException."""
    if request.get("quotaSharePolicy"):
        refuse_unsupported("quotaSharePolicy")
    fair: Mapping[str, Any] = request.get("fairsharePolicy") or {}
    if not 0 <= fair.get("shareDecaySeconds", 0) <= _LONGEST_DECAY_SECONDS:
        refuse(f"shareDecaySeconds must be between 0 and {_LONGEST_DECAY_SECONDS}")
    if not 0 <= fair.get("computeReservation", 0) <= 99:
        refuse("computeReservation must be between 0 and 99")
    shares = fair.get("shareDistribution") or ()
    if len(shares) > _MOST_SHARES:
        refuse(f"shareDistribution has {len(shares)} entries, at most {_MOST_SHARES}")
    for share in shares:
        name = share.get("shareIdentifier", "")
        if not _SHARE.fullmatch(name):
            refuse(f"shareIdentifier {name!r} is not valid: up to 255 letters and digits")
        if not 0.0001 <= share.get("weightFactor", 1.0) <= 999.9999:
            refuse(f"weightFactor of {name} must be between 0.0001 and 999.9999")
    names = [share["shareIdentifier"] for share in shares]
    for name in names:
        # "If a share identifier ends in *, no other may begin as it does": they must not overlap.
        if name.endswith("*") and sum(n.startswith(name[:-1]) for n in names) > 1:
            refuse(f"shareIdentifier {name} overlaps with another one")
