"""What orchestrator and jobs ask of AWS: recorded in the acceptance tests, which check that nothing
is missing here, and what failures make them ask besides."""

from __future__ import annotations

from typing import NamedTuple


class Recorded(NamedTuple):
    """A call. `place` is where in S3: the bucket, or below its root or scratch prefix."""

    role: str
    service: str
    action: str
    place: str = ""


_READ = ("GetObject", "HeadObject")
_WRITTEN = (
    "AbortMultipartUpload",
    "CompleteMultipartUpload",
    "CreateMultipartUpload",
    "PutObject",
    "UploadPart",
)

RECORDED: tuple[Recorded, ...] = (
    *(Recorded("job", "s3", action, place) for action in _READ for place in ("root", "scratch")),
    *(Recorded("job", "s3", action, "root") for action in _WRITTEN),
    Recorded("job", "s3", "ListObjectsV2", "bucket"),
    *(
        Recorded("orchestrator", "s3", action, place)
        for action in (*_READ, *_WRITTEN, "CopyObject", "UploadPartCopy")
        for place in ("root", "scratch")
    ),
    Recorded("orchestrator", "s3", "DeleteObjects", "bucket"),
    Recorded("orchestrator", "s3", "ListObjectsV2", "bucket"),
    Recorded("orchestrator", "batch", "DescribeComputeEnvironments"),
    Recorded("orchestrator", "batch", "DescribeJobDefinitions"),
    Recorded("orchestrator", "batch", "DescribeJobQueues"),
    Recorded("orchestrator", "batch", "DescribeJobs"),
    Recorded("orchestrator", "batch", "ListJobs"),
    Recorded("orchestrator", "batch", "RegisterJobDefinition"),
    Recorded("orchestrator", "batch", "SubmitJob"),
    Recorded("orchestrator", "batch", "TerminateJob"),
    Recorded("orchestrator", "logs", "GetLogEvents"),
    Recorded("orchestrator", "sqs", "DeleteMessageBatch"),
    Recorded("orchestrator", "sqs", "ReceiveMessage"),
    # `orchestrator jobs clean`, and `status` of a job that waits.
    Recorded("orchestrator", "batch", "DeregisterJobDefinition"),
    Recorded("orchestrator", "batch", "GetJobQueueSnapshot"),
    # The host renders its configuration at boot. The password is asked for where the settings say
    # that the database is logged in to with one.
    Recorded("orchestrator", "ssm", "GetParameter"),
    Recorded("orchestrator", "secretsmanager", "GetSecretValue"),
)
