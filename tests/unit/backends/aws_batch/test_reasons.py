"""What AWS Batch says, in the failure codes of this project."""

from __future__ import annotations

import pytest

from orchestrator.backends.aws_batch.reasons import CANCELLED, Ended, classify, why_stopped
from orchestrator.backends.wrapper.exit_codes import WrapperExit
from orchestrator.model.failures import FailureCode

EXITED = "Essential container in task exited"


@pytest.mark.parametrize(
    ("ended", "code"),
    [
        (Ended(False, "Host EC2 (instance i-08efb1) terminated."), FailureCode.SPOT_LOSS),
        (
            Ended(False, EXITED, "OutOfMemoryError: Container killed due to memory usage", 137),
            FailureCode.OUT_OF_MEMORY,
        ),
        (Ended(False, "Job attempt duration exceeded timeout", "", 137), FailureCode.TIMEOUT),
        (
            Ended(False, "Task failed to start", "CannotStartContainerError: no such file"),
            FailureCode.CONTAINER_START_FAILED,
        ),
        (
            Ended(False, "Task failed to start", "DockerTimeoutError: Could not transition"),
            FailureCode.CONTAINER_START_FAILED,
        ),
        (
            Ended(False, "x", "CannotPullContainerError: write /a: no space left on device"),
            FailureCode.IMAGE_PULL_FAILED,
        ),
        (
            Ended(False, EXITED, "write /data/x: no space left on device", 1),
            FailureCode.DISK_FULL,
        ),
        (Ended(False, CANCELLED, "", 143), FailureCode.ABORTED),
        (Ended(False, "stopped by ann"), FailureCode.ABORTED),
        (
            Ended(False, "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - too much"),
            FailureCode.SUBMIT_REFUSED,
        ),
        (Ended(False, EXITED, "", WrapperExit.REVOKED), FailureCode.LOST),
        (Ended(False, EXITED, "", WrapperExit.ALREADY_BEGUN), FailureCode.LOST),
        (Ended(False, EXITED, "", WrapperExit.TOOLS_MISSING), FailureCode.TOOLS_MISSING),
        (
            Ended(False, EXITED, "", WrapperExit.LOCALIZATION_FAILED),
            FailureCode.LOCALIZATION_FAILED,
        ),
        (
            Ended(False, EXITED, "", WrapperExit.MANIFEST_NOT_WRITTEN),
            FailureCode.DELOCALIZATION_FAILED,
        ),
        (Ended(False, EXITED, "", 137), FailureCode.LOST),
        (Ended(False, EXITED, "", 1), FailureCode.LOST),
        (Ended(True, EXITED, "", 0), FailureCode.LOST),
        (Ended(False, vanished=True), FailureCode.LOST),
        (Ended(False), FailureCode.LOST),
    ],
)
def test_classification_without_a_manifest(ended: Ended, code: FailureCode) -> None:
    failure = classify(ended)
    assert failure.code is code
    for detail in (ended.status_reason, ended.container_reason):
        assert detail in failure.message


def test_an_ordinary_end_does_not_say_why_the_wrapper_was_stopped() -> None:
    assert why_stopped(Ended(False, EXITED, "", 143)) is None
    failure = why_stopped(Ended(False, "stopped by ann", "", 143))
    assert failure is not None
    assert "stopped by ann" in failure.message


STARTING = "Task failed to start"
PULL = "CannotPullContainerError: Error response from daemon: "


@pytest.mark.parametrize(
    ("container_reason", "code"),
    [
        (
            f"{PULL}manifest for ubuntu:99 not found: manifest unknown: manifest unknown",
            FailureCode.IMAGE_NOT_FOUND,
        ),
        (
            f"{PULL}pull access denied for a/b, repository does not exist or may require "
            "'docker login': denied: requested access to the resource is denied",
            FailureCode.IMAGE_NOT_FOUND,
        ),
        (
            "CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to "
            "resolve ref docker.io/library/x:y: not found",
            FailureCode.IMAGE_NOT_FOUND,
        ),
        (
            "CannotPullECRContainerError: AccessDeniedException: User: x is not authorized to "
            "perform: ecr:BatchGetImage",
            FailureCode.IMAGE_NOT_FOUND,
        ),
        (
            f"{PULL}no matching manifest for linux/arm64/v8 in the manifest list entries",
            FailureCode.IMAGE_NOT_FOUND,
        ),
        (
            f"{PULL}toomanyrequests: You have reached your pull rate limit. You may increase the "
            "limit by authenticating and upgrading",
            FailureCode.IMAGE_PULL_FAILED,
        ),
        (
            f"{PULL}Get https://registry-1.docker.io/v2/: net/http: request canceled while waiting "
            "for connection",
            FailureCode.IMAGE_PULL_FAILED,
        ),
        (
            "CannotPullContainerError: failed to register layer: write /a: no space left on device",
            FailureCode.IMAGE_PULL_FAILED,
        ),
        (
            "DockerTimeoutError: Could not transition to started; timed out after waiting 3m0s",
            FailureCode.CONTAINER_START_FAILED,
        ),
        (
            "DockerTimeoutError: Could not transition to stopped; timed out after waiting 30s",
            FailureCode.LOST,
        ),
        (
            "CannotInspectContainerError: Could not transition to inspecting; timed out after "
            "waiting 30s",
            FailureCode.LOST,
        ),
        (
            "CannotStartContainerError: Error response from daemon: OCI runtime create failed: "
            'exec: "/opt/orchestrator/tools/sh": stat /opt/orchestrator/tools/sh: no such file or '
            "directory: unknown",
            FailureCode.TOOLS_MISSING,
        ),
        (
            "CgroupError: Agent could not create task's platform resources",
            FailureCode.CONTAINER_START_FAILED,
        ),
        (
            "ResourceInitializationError: unable to pull secrets or registry auth",
            FailureCode.CONTAINER_START_FAILED,
        ),
    ],
)
def test_what_the_container_service_says_of_a_container_that_did_not_run(
    container_reason: str, code: FailureCode
) -> None:
    assert classify(Ended(False, STARTING, container_reason)).code is code


@pytest.mark.parametrize(
    ("status_reason", "code"),
    [
        (
            "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE - CE(s) associated with the job "
            "queue cannot meet the job requirement.",
            FailureCode.SUBMIT_REFUSED,
        ),
        (
            "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - The job resource requirement "
            "(vCPU/memory/GPU) is higher than that can be met by the CE(s) attached to the job "
            "queue.",
            FailureCode.SUBMIT_REFUSED,
        ),
        (
            "MISCONFIGURATION:SERVICE_ROLE_PERMISSIONS - Batch service role lacks a permission.",
            FailureCode.SUBMIT_REFUSED,
        ),
        (
            "UNDETERMINED - Batch job is blocked, root cause is undetermined.",
            FailureCode.SUBMIT_REFUSED,
        ),
        (
            "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY - All compute environments have insufficient "
            "capacity to service the job.",
            FailureCode.SPOT_LOSS,
        ),
        ("Host EC2 (instance i-0b5ff9a2) terminated.", FailureCode.SPOT_LOSS),
        ("Dependent Job failed", FailureCode.SUBMIT_REFUSED),
    ],
)
def test_a_job_that_was_stuck_or_lost_fails_with_batchs_own_reason(
    status_reason: str, code: FailureCode
) -> None:
    failure = classify(Ended(False, status_reason))
    assert failure.code is code
    assert status_reason in failure.message


@pytest.mark.parametrize(
    "reason",
    ["Host EC2 (instance i-1) terminated.", "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY - none"],
)
def test_a_host_that_is_not_of_spot_is_lost_without_being_taken_away(reason: str) -> None:
    assert classify(Ended(False, reason, on_spot=False)).code is FailureCode.LOST
