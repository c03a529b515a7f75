"""What may be chosen about the backend. Times are in seconds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from orchestrator.backends.aws_batch.registries import Login


@dataclass(frozen=True, slots=True)
class Settings:
    """Defaults suit both a few jobs and tens of thousands.

    `root` overrides the contract's execution root (`s3://bucket/prefix`). AWS allows about 50 Batch
    API calls a second in an account (Service quotas): the intervals stay far below.
    """

    root: str = ""
    shared_mounts: tuple[str, ...] = ()  # of EFS and FSx: what jobs may mount of their hosts
    job_environment: tuple[tuple[str, str], ...] = ()  # how jobs reach S3
    upload_flags: tuple[str, ...] = ()  # of the s5cmd that jobs write objects with
    tools_directory: Path | None = None  # hosts are not ours: see `foreign_hosts`
    cli_path: str = "/usr/local/aws-cli"  # where such hosts have the AWS CLI, as Cromwell expects
    docker_mirror: str = ""  # takes the place of docker.io in the names of images
    docker_hub: Login | None = None
    submissions_per_second: float = 45.0  # of all workflows of this process; AWS allows 50
    connections: int = 32  # at the same time, to S3

    # How often a job is looked at: at first, then at this part of its age, at most.
    first_interval_seconds: float = 1.0
    interval_of_age: float = 0.05
    longest_interval_seconds: float = 5.0
    # Arrays that ListJobs reports on: they cost a page for every thousand children.
    array_first_interval_seconds: float = 2.0
    array_interval_of_age: float = 0.5
    array_longest_interval_seconds: float = 10.0
    list_children_after_seconds: float = 20.0  # ... however few have finished
    list_children_part: float = 0.125  # ... or as soon as this part of the array has
    described_children: int = 20  # arrays up to this size: each child by DescribeJobs
    seconds_per_call: float = 0.2  # a sweep of n calls is followed by a pause of n times this

    # Events heard of SQS, where the environment has a queue of them.
    event_wait_seconds: int = 20  # a long poll; SQS knows no longer one
    event_hidden_seconds: int = 2  # until a message that is not ours comes back, to anybody
    event_receptions: int = 3  # ... so often. The queue's own limit is 5
    event_retry_seconds: float = 300.0  # no queue, or no right to read it
    longest_event_pause_seconds: float = 60.0  # throttled, or no connection
    gather_hints_seconds: float = 0.2  # jobs that end together are asked for together

    settle_seconds: float = 30.0  # ListJobs shows a new job within this time
    vanished_after_seconds: float = 60.0  # DescribeJobs does not know it for so long: it is gone
    second_look_seconds: float = 2.0  # a finished job without a manifest is looked at again


LONGEST_BACKOFF_SECONDS = 60.0
