"""From what AWS Batch says about a finished job to a failure, for jobs whose manifest does not say.

Sources: AWS Batch user guide (Troubleshooting; Job timeouts; Automated job retries), Amazon ECS
developer guide (Stopped tasks error messages). Where the text comes from the container's `reason`
and where from the job's `statusReason` differs between them, so both are searched.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from orchestrator.backends.wrapper.exit_codes import WrapperExit
from orchestrator.model.failures import Failure, FailureCode

# What TerminateJob is told: it comes back as the job's statusReason, also to another process.
CANCELLED = "orchestrator: the workflow was aborted"


@dataclass(frozen=True, slots=True)
class Ended:
    """How AWS Batch says that a job ended."""

    succeeded: bool
    status_reason: str = ""
    container_reason: str = ""
    exit_code: int | None = None
    vanished: bool = False  # AWS Batch does not know the job any more
    on_spot: bool = True  # its queue's hosts may be taken away


_TOOLS_MISSING = (
    "the host lacks what jobs need of it, the job's log says what. A host of the environment's own "
    "launch template: deploy its stacks again, and let Batch replace the host. Another's, such as "
    "Cromwell's: set tools-directory in the backend's config; then the host needs the AWS CLI "
    "below /usr/local/aws-cli and the data disk, and images need /bin/sh and a libc that the CLI "
    "runs on"
)

# The first that is found anywhere in the reasons. What is SPOT_LOSS here is LOST off spot.
_TABLE: tuple[tuple[re.Pattern[str], FailureCode, str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), code, message)
    for pattern, code, message in (
        (re.escape(CANCELLED), FailureCode.ABORTED, "aborted"),
        (
            r"Host EC2 .*(terminat|stopp)|spot.*(interrupt|terminat|reclaim)|instance.*terminated",
            FailureCode.SPOT_LOSS,
            "the host was taken away while the job ran",
        ),
        (
            r"CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY",
            FailureCode.SPOT_LOSS,
            "AWS had no host for the job within the time that its queue allows",
        ),
        (
            r"MISCONFIGURATION:SERVICE_ROLE_PERMISSIONS",
            FailureCode.SUBMIT_REFUSED,
            "AWS Batch may not start hosts: the environment's service role lacks permissions",
        ),
        (
            r"MISCONFIGURATION|ACTION_REQUIRED",
            FailureCode.SUBMIT_REFUSED,
            "the queue can never place this job: see cpu, memory, gpuCount and the hosts of its "
            "compute environments",
        ),
        (
            r"UNDETERMINED|Batch job is blocked",
            FailureCode.SUBMIT_REFUSED,
            "the job could not be placed within the time that its queue allows",
        ),
        (
            r"OutOfMemory|memory usage",
            FailureCode.OUT_OF_MEMORY,
            "the job used more memory than it asked for: raise `memory`",
        ),
        (
            r"Job attempt duration exceeded timeout",
            FailureCode.TIMEOUT,
            "the job ran longer than its `jobTimeout`",
        ),
        (
            r"CannotPull.*no space left on device",
            FailureCode.IMAGE_PULL_FAILED,
            "the host's disk was too full for the image",
        ),
        (r"no space left on device", FailureCode.DISK_FULL, "the host's disk was full"),
        (
            r"toomanyrequests|rate limit|CannotPull.*(429|Throttl|Rate exceeded)",
            FailureCode.IMAGE_PULL_FAILED,
            "the registry was asked for images too often; a pull-through cache or a login helps",
        ),
        (
            r"CannotPull.*(not found|manifest unknown|denied|not authorized|no basic auth|40[134]\b"
            r"|does not exist|invalid reference|no matching manifest|no match for platform)"
            r"|manifest unknown|repository does not exist|pull access denied",
            FailureCode.IMAGE_NOT_FOUND,
            "the image does not exist, not for this architecture, or may not be read: check its "
            "name, and the execution role's rights or the registry's login",
        ),
        (
            r"CannotPull|pull image manifest",
            FailureCode.IMAGE_PULL_FAILED,
            "the image could not be pulled",
        ),
        (
            r"CannotInspect|CannotStop|Could not transition to stopped",
            FailureCode.LOST,
            "the host lost sight of the container, and there is no manifest",
        ),
        (
            r"agent.*disconnected",
            FailureCode.LOST,
            "the host lost its connection to AWS",
        ),
        (
            r"(CannotStart|CannotCreate|runtime create failed).*exec:.*/sh\b.*no such file",
            FailureCode.TOOLS_MISSING,
            _TOOLS_MISSING,
        ),
        (
            r"DockerTimeoutError|ContainerRuntimeTimeout|Could not transition to",
            FailureCode.CONTAINER_START_FAILED,
            "the host's Docker did not answer in time",
        ),
        (
            r"CannotStart|CannotCreate|ContainerRuntime|CgroupError|platform resources"
            r"|ResourceInitializationError|TaskFailedToStart|Task failed to start",
            FailureCode.CONTAINER_START_FAILED,
            "the container cannot be started on its host",
        ),
        (
            r"Dependent Job failed",
            FailureCode.SUBMIT_REFUSED,
            "a job that this one depends on failed",
        ),
    )
)

_EXIT_CODES: dict[int, tuple[FailureCode, str]] = {
    WrapperExit.REVOKED: (
        FailureCode.LOST,
        "the submission was revoked or its bundle was gone when the job started: nothing was run",
    ),
    WrapperExit.TOOLS_MISSING: (
        FailureCode.TOOLS_MISSING,
        _TOOLS_MISSING,
    ),
    WrapperExit.ALREADY_BEGUN: (
        FailureCode.LOST,
        "another job had begun this attempt on the same host; this one ran nothing",
    ),
    WrapperExit.LOCALIZATION_FAILED: (
        FailureCode.LOCALIZATION_FAILED,
        "the job could not fetch what it needs from S3",
    ),
    WrapperExit.MANIFEST_NOT_WRITTEN: (
        FailureCode.DELOCALIZATION_FAILED,
        "the job could not write its manifest to S3",
    ),
    WrapperExit.PLAN_UNREADABLE: (FailureCode.LOST, "the job's bundle was broken"),
    WrapperExit.WRAPPER_MISMATCH: (
        FailureCode.LOCALIZATION_FAILED,
        "the job could not fetch the wrapper that it was submitted with",
    ),
}

# 128 + SIGKILL, 128 + SIGTERM: somebody ended the container.
_KILLED = {137, 143}


def classify(ended: Ended) -> Failure:
    """Why a job that left no manifest failed."""
    if ended.vanished:
        return Failure(
            FailureCode.LOST,
            "AWS Batch does not know the job any more (it forgets after 7 days) and there is no "
            "manifest",
        )
    known = _from_text(ended)
    if known is not None:
        return known
    if ended.exit_code in _EXIT_CODES:
        code, message = _EXIT_CODES[ended.exit_code]
        return Failure(code, _with(message, ended))
    if ended.exit_code is None and ended.status_reason:
        # No container ever ran, and the text is not one of AWS's: somebody's TerminateJob.
        return Failure(FailureCode.ABORTED, f"the job was ended from outside: {_said(ended)}")
    if ended.exit_code in _KILLED:
        return Failure(
            FailureCode.LOST, _with("the container was killed before its wrapper could end", ended)
        )
    return Failure(FailureCode.LOST, _with("the job ended without a manifest", ended))


def why_stopped(ended: Ended) -> Failure | None:
    """Why the wrapper was told to stop or the command was killed, where AWS Batch says so."""
    known = _from_text(ended)
    if known is None and not ended.succeeded and not _ordinary(ended.status_reason):
        return Failure(FailureCode.ABORTED, f"the job was ended from outside: {_said(ended)}")
    return known


def _from_text(ended: Ended) -> Failure | None:
    said = _said(ended)
    for pattern, code, message in _TABLE:
        if pattern.search(said):
            if code is FailureCode.SPOT_LOSS and not ended.on_spot:
                code = FailureCode.LOST
            return Failure(code, _with(message, ended))
    return None


def _ordinary(status_reason: str) -> bool:
    return status_reason in ("", "Essential container in task exited")


def _said(ended: Ended) -> str:
    return "; ".join(dict.fromkeys(filter(None, (ended.status_reason, ended.container_reason))))


def _with(message: str, ended: Ended) -> str:
    details = [_said(ended)]
    if ended.exit_code is not None:
        details.append(f"exit code {ended.exit_code}")
    details = [detail for detail in details if detail]
    return f"{message} ({', '.join(details)})" if details else message
