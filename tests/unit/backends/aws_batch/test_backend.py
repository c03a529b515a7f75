"""The backend where no jobs are needed: places, sizes, requests, errors, looking up."""

from __future__ import annotations

import dataclasses
import gzip
import io
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from botocore import exceptions as sdk
from botocore.exceptions import ClientError

from orchestrator import errors
from orchestrator.backends.aws_batch import AwsBatchBackend, Settings, refusals, stage
from orchestrator.backends.aws_batch.bundles import Bundles
from orchestrator.backends.aws_batch.job_definitions import container_properties
from orchestrator.deployment import Database, Deployment, Queue
from orchestrator.model.attempt import AttemptRef
from orchestrator.model.job import OutputPlan, Shape
from orchestrator.model.manifest import Manifest, OutputFile

from .conftest import submission

ARN = "arn:aws:batch:us-east-1:123456789012:job-queue"
DEPLOYMENT = Deployment(
    environment="test",
    account="123456789012",
    region="us-east-1",
    bucket="b",
    root="s3://b/root/",
    scratch_root="s3://b/scratch",
    queues=(
        Queue(name="spot", arn=f"{ARN}/spot", kind="spot", max_vcpus=16, max_memory_mib=60_000),
        Queue(name="big", arn=f"{ARN}/big", kind="on-demand", max_vcpus=96, max_memory_mib=700_000),
        Queue(
            name="gpu",
            arn=f"{ARN}/gpu",
            kind="spot",
            max_vcpus=8,
            max_memory_mib=30_000,
            max_gpus=4,
            max_disk_gib=200,
        ),
    ),
    default_queue_arn=f"{ARN}/spot",
    job_role_arn="arn:job",
    execution_role_arn="arn:execution",
    log_group="/jobs",
    job_definition_prefix="test_orchestrator",
    tools_path="/opt/tools",
    scratch_path="/mnt/scratch",
    database=Database(host="h", port=1, name="n", secret_arn="s"),
)


class Fake:
    """Clients that answer from a table: name of the method -> function."""

    def __init__(self, **methods: Callable[..., Any]) -> None:
        for name, method in methods.items():
            setattr(self, name, method)
        self.batch = self.submitting = self.s3 = self.logs = self


def make(clients: Any = None, **more: Any) -> AwsBatchBackend:
    settings = more.pop("settings", Settings())
    return AwsBatchBackend(DEPLOYMENT, cast(Any, clients or Fake()), settings, **more)


def test_an_attempt_lies_where_cromwell_would_put_it() -> None:
    backend = make()
    attempt = AttemptRef("w", "w", "flow/w", "call-align-3", "align", (3,), attempt=2)
    where = backend.work_dir(attempt)
    base = "s3://b/root/flow/w/call-align/shard-3/attempt-2"
    assert where.path == f"/mnt/scratch/{attempt.token}/execution"
    assert where.uri == base
    assert where.stdout == f"{base}/align-3-stdout.log"
    assert where.stderr == f"{base}/align-3-stderr.log"
    assert where.return_code == f"{base}/align-3-rc.txt"
    assert where.script == f"{base}/script"
    assert where.manifest == f"{base}/manifest.json"
    assert make(settings=Settings(root="s3://o/x")).work_dir(attempt).uri.startswith("s3://o/x/")


@pytest.mark.parametrize(
    ("shape", "says"),
    [
        (Shape(image="i", cpu=16, memory_mib=60_000), None),
        (Shape(image="i", cpu=16.5), "17 vCPUs"),
        (Shape(image="i", cpu=17), "it would fit big"),
        (Shape(image="i", cpu=17, queue=f"{ARN}/big"), None),
        (Shape(image="i", memory_mib=60_001), "60001 MiB"),
        (Shape(image="i", cpu=97), "nor does it fit the largest, big, with 96 vCPUs"),
        (Shape(image="i", cpu=97, queue=f"{ARN}/big"), "no other queue is larger"),
        (Shape(image="i", queue=f"{ARN}/none"), "no queue of this environment"),
        (Shape(image="i", gpu_count=1), "1 GPUs, 0 GiB of disk, but a job on queue spot"),
        (Shape(image="i", gpu_count=1, queue=f"{ARN}/gpu"), None),
        (Shape(image="i", gpu_count=5), "nor does it fit the largest, gpu,"),
        (Shape(image="i", disk_gib=201, queue=f"{ARN}/gpu"), "4 GPUs, 200 GiB of disk"),
    ],
)
def test_what_no_queue_can_hold_is_said_before_anything_is_submitted(
    shape: Shape, says: str | None
) -> None:
    failure = make().fits(shape)
    if says is None:
        assert failure is None
    else:
        assert failure is not None
        assert says in failure.message


def test_a_task_without_an_image_makes_no_sense_here() -> None:
    with pytest.raises(errors.InvalidRuntimeAttribute, match="no image"):
        make().fits(Shape())


def test_a_request_asks_for_whole_vcpus_and_stays_small() -> None:
    backend = make()
    shape = Shape(image="i", cpu=1.5, memory_mib=100, gpu_count=1, timeout_seconds=90)
    job = submission(backend, *["true"] * 3, shape=shape)
    request = backend._request(job, "arn:definition")
    overrides = request["containerOverrides"]
    assert overrides["resourceRequirements"] == [
        {"type": "VCPU", "value": "2"},
        {"type": "MEMORY", "value": "100"},
        {"type": "GPU", "value": "1"},
    ]
    assert len(str(overrides)) < 1500
    assert request["arrayProperties"] == {"size": 3}
    assert request["timeout"] == {"attemptDurationSeconds": 90}
    assert request["jobQueue"] == DEPLOYMENT.default_queue_arn
    single = backend._request(submission(backend, "true"), "arn:definition")
    assert "arrayProperties" not in single
    assert "timeout" not in single


def test_definitions_differ_only_by_what_submitting_cannot_change() -> None:
    base = Shape(image="i")
    same = Shape(image="i", cpu=8, memory_mib=9, gpu_count=1, timeout_seconds=99, queue="q")
    assert container_properties(DEPLOYMENT, base) == container_properties(DEPLOYMENT, same)
    for other in (Shape(image="j"), Shape(image="i", shared_memory_mib=64)):
        assert container_properties(DEPLOYMENT, base) != container_properties(DEPLOYMENT, other)


def test_the_stage_is_a_valid_script_of_moderate_size() -> None:
    shell, flag, text, *arguments = stage.command("/opt/tools", "/mnt/scratch")
    assert (shell, flag, arguments) == ("/opt/tools/sh", "-c", ["/opt/tools", "/mnt/scratch"])
    assert len(text) < 3000
    assert "Ref::" not in text
    for interpreter in ("/bin/sh", "/bin/bash"):
        subprocess.run([interpreter, "-n", "-c", text], check=True)


@pytest.mark.parametrize("shell", ["/bin/bash", "/bin/busybox"])
def test_the_stage_on_a_host_without_tools_or_disk(shell: str, tmp_path: Path) -> None:
    if not Path(shell).exists():
        pytest.skip(f"{shell} is not installed")
    command = [shell, "sh"] if "busybox" in shell else [shell]
    text = stage.command("x", "y")[2]
    for tools, scratch in (("/none", str(tmp_path)), (str(tmp_path), "/none")):
        run = subprocess.run([*command, "-c", text, tools, scratch], capture_output=True)
        assert run.returncode == 91
        assert b"this host lacks" in run.stderr


@pytest.mark.parametrize("tar", [["tar"], ["/bin/busybox", "tar"]])
def test_bundles_hold_a_hundred_attempts_each_and_any_tar_opens_them(
    tar: list[str], tmp_path: Path
) -> None:
    if tar[0].startswith("/") and not Path(tar[0]).exists():
        pytest.skip(f"{tar[0]} is not installed")
    backend = make()
    job = submission(
        backend, *[f"echo {i}" for i in range(120)], outputs=OutputPlan(files=("out",))
    )
    packed = dict(Bundles(Fake(), "s3://b/scratch").pack(job))  # type: ignore[arg-type]
    assert packed == dict(Bundles(Fake(), "s3://b/scratch/").pack(job))  # type: ignore[arg-type]
    prefix = f"s3://b/scratch/submissions/{job.handle.id}"
    assert list(packed) == [f"{prefix}/bundle-0.tar.gz", f"{prefix}/bundle-1.tar.gz"]
    for index in (1, 10, 99, 100, 119):
        data = packed[f"{prefix}/bundle-{index // 100}.tar.gz"]
        target = tmp_path / str(index)
        target.mkdir()
        subprocess.run([*tar, "-xzf", "-", "-C", target, str(index)], input=data, check=True)
        assert [path.name for path in target.iterdir()] == [str(index)]
        assert (target / str(index) / "script").read_text() == f"echo {index}"
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(data))) as archive:
        assert all(member.uid == 0 and member.mtime == 0 for member in archive)


class Named(Fake):
    """ListJobs that shows a job only after so many look-ups."""

    def __init__(self, handle_id: str, shown_after: int) -> None:
        super().__init__()
        self.handle_id, self.shown_after, self.looks = handle_id, shown_after, 0

    def get_paginator(self, _: str) -> Named:
        return self

    def paginate(self, jobQueue: str, filters: list[Any]) -> list[Any]:
        self.looks += 1
        name = filters[0]["values"][0]
        found = [
            {"jobName": name, "jobId": "foreign", "createdAt": 1},
            {"jobName": name, "jobId": "ours", "createdAt": 2},
            {"jobName": name.upper(), "jobId": "other", "createdAt": 0},
        ]
        return [{"jobSummaryList": found if self.looks > self.shown_after else []}]

    def describe_jobs(self, jobs: list[str]) -> Any:
        assert jobs == ["foreign", "ours"]
        tag = {"orchestrator:submission": self.handle_id}
        return {"jobs": [{"jobId": "foreign", "tags": {}}, {"jobId": "ours", "tags": tag}]}


def test_a_submission_is_looked_up_until_listing_has_settled() -> None:
    job = submission(make(), "true")
    now = [job.handle.created_at]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    clients = Named(job.handle.id, shown_after=7)
    backend = make(clients, clock=lambda: now[0], sleep=sleep)
    assert backend.find(job.handle) == "ours"
    clients = Named(job.handle.id, shown_after=10**6)
    now[0] = job.handle.created_at
    backend = make(clients, clock=lambda: now[0], sleep=sleep)
    assert backend.find(job.handle) is None
    assert now[0] - job.handle.created_at >= 30
    assert backend.find(job.handle) is None
    assert clients.looks < 20


def test_a_submission_that_batch_may_have_forgotten_is_found_by_its_manifests() -> None:
    """Nobody was there for days after SubmitJob: its jobs are not run once more."""
    job = submission(make(), "true", "true", "true")
    handle = job.handle
    asked: list[str] = []

    class Manifests:
        def read(self, submission_id: str, attempt: AttemptRef, inputs: object) -> object:
            asked.append(attempt.token)
            if attempt != handle.attempts[2]:
                return None
            log = OutputFile("stdout", "s3://b/stdout", 0)
            return Manifest(submission_id, attempt.token, "parent:2", 0, log, log)

    def backend(days: float) -> AwsBatchBackend:
        now = [handle.created_at + days * 86400]

        def sleep(seconds: float) -> None:
            now[0] += seconds

        clients = Named(handle.id, shown_after=10**6)
        made = make(clients, clock=lambda: now[0], sleep=sleep)
        made._manifests = Manifests()  # type: ignore[assignment]
        return made

    assert backend(8).find(handle) == "parent"
    assert len(asked) == 3
    assert backend(0.1).find(handle) is None  # of so young a one Batch itself knows
    assert len(asked) == 3


def client_error(code: str, status: int) -> ClientError:
    return ClientError(
        {"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": status}},  # type: ignore[typeddict-item]
        "SubmitJob",
    )


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (sdk.ReadTimeoutError(endpoint_url="u"), errors.Ambiguous),
        (sdk.ConnectionClosedError(endpoint_url="u"), errors.Ambiguous),
        (sdk.HTTPClientError(error="broken"), errors.Ambiguous),
        (client_error("ServerException", 500), errors.Ambiguous),
        (client_error("ServiceUnavailable", 503), errors.Ambiguous),
        (client_error("Unknown", 0), errors.Ambiguous),
        (sdk.ConnectTimeoutError(endpoint_url="u"), errors.TryLater),
        (sdk.EndpointConnectionError(endpoint_url="u"), errors.TryLater),
        (client_error("TooManyRequestsException", 429), errors.TryLater),
        (client_error("ThrottlingException", 400), errors.TryLater),
        (client_error("ClientException", 400), errors.Invalid),
        (client_error("AccessDeniedException", 403), errors.NotAllowed),
        (sdk.NoCredentialsError(), errors.BackendUnavailable),
        (sdk.ParamValidationError(report="r"), errors.Invalid),
    ],
)
def test_what_an_error_of_submit_job_means(
    error: Exception, kind: type[errors.OrchestratorError]
) -> None:
    assert type(refusals.of_submission(error)) is kind


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (sdk.ReadTimeoutError(endpoint_url="u"), errors.TryLater),
        (client_error("ServerException", 500), errors.TryLater),
        (client_error("SlowDown", 503), errors.TryLater),
        (client_error("NoSuchKey", 404), errors.NotFound),
        (client_error("ClientException", 400), errors.Invalid),
        (client_error("ExpiredToken", 400), errors.NotAllowed),
    ],
)
def test_what_an_error_of_another_call_means(
    error: Exception, kind: type[errors.OrchestratorError]
) -> None:
    assert type(refusals.of_call(error, "reading")) is kind


def test_what_a_container_is_given_by_runtime_attributes() -> None:
    shape = Shape(
        image="ubuntu",
        mounts=("/mnt/data", "/mnt/efs"),
        shared_mounts=("/mnt/efs",),
        ulimits=(("nofile", 1024, 4096),),
        fuse=True,
        log_group="/team/jobs",
        job_role_arn="arn:other",
        shared_memory_mib=64,
    )
    found = container_properties(DEPLOYMENT, shape)
    assert found["volumes"][2:] == [
        {"name": "disk-0", "host": {}},
        {"name": "disk-1", "host": {"sourcePath": "/mnt/efs"}},
    ]
    assert [m["containerPath"] for m in found["mountPoints"][2:]] == ["/mnt/data", "/mnt/efs"]
    assert found["ulimits"] == [{"name": "nofile", "softLimit": 1024, "hardLimit": 4096}]
    assert found["privileged"] is True
    assert found["linuxParameters"] == {
        "sharedMemorySize": 64,
        "devices": [{"hostPath": "/dev/fuse", "containerPath": "/dev/fuse"}],
    }
    assert found["logConfiguration"]["options"]["awslogs-group"] == "/team/jobs"
    assert found["jobRoleArn"] == "arn:other"
    assert "privileged" not in container_properties(DEPLOYMENT, Shape(image="ubuntu"))


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        (Shape(image="i", job_role_arn="arn:admin"), "is not one that jobs may have"),
        (Shape(image="i", fuse=True), "privileged container"),
        (Shape(image="i", mounts=("/etc",), shared_mounts=("/etc",)), "shared-mounts"),
    ],
)
def test_what_would_open_the_host_to_a_job_is_refused(shape: Shape, sentence: str) -> None:
    failure = make().fits(shape)
    assert failure is not None
    assert sentence in failure.message
    allowed = DEPLOYMENT.model_copy(update={"fuse_mount": True, "job_role_arns": ("arn:admin",)})
    settings = Settings(shared_mounts=("/etc",))
    assert AwsBatchBackend(allowed, cast(Any, Fake()), settings).fits(shape) is None


def test_a_lost_spot_host_has_an_on_demand_queue_to_go_to() -> None:
    backend = make()
    there = backend.lasting(Shape(image="i"))
    assert there is not None
    assert there.queue == f"{ARN}/big"
    assert backend.lasting(there) is None
    assert backend.lasting(Shape(image="i", queue=f"{ARN}/gpu", gpu_count=1)) is None
    assert backend.lasting(Shape(image="i", memory_mib=800_000)) is None


def test_a_job_names_its_share_where_the_queue_divides_its_room() -> None:
    queues = tuple(q.model_copy(update={"fair_share": q.name == "big"}) for q in DEPLOYMENT.queues)
    backend = AwsBatchBackend(
        DEPLOYMENT.model_copy(update={"queues": queues}), cast(Any, Fake()), Settings()
    )
    asked = submission(backend, "true")
    assert "shareIdentifier" not in backend._request(asked, "definition")
    there = dataclasses.replace(asked, shape=Shape(image="i", queue=f"{ARN}/big"), share="team7")
    assert backend._request(there, "definition")["shareIdentifier"] == "team7"
