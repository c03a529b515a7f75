"""The backend against AWS on this machine: real queues, jobs as processes, faults on demand."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from orchestrator.backends.aws_batch import AwsBatchBackend
from orchestrator.backends.base import Change, JobState
from orchestrator.model.attempt import AttemptRef
from orchestrator.model.job import (
    InputFile,
    JobSpec,
    OutputPlan,
    Shape,
    Submission,
    SubmissionHandle,
)
from tests import batch_cloud
from tests.batch_cloud import Cloud, backend_on

DEADLINE_SECONDS = 60.0


def submission(
    backend: AwsBatchBackend,
    *scripts: str,
    inputs: Sequence[InputFile] = (),
    outputs: OutputPlan | None = None,
    shape: Shape | None = None,
) -> Submission:
    """One submission; `{work}` and `{dir}` in scripts and paths stand for the attempt's own."""
    submission_id, workflow_id = uuid.uuid4().hex, str(uuid.uuid4())
    jobs = []
    for index, script in enumerate(scripts):
        shards = (index,) if len(scripts) > 1 else ()
        attempt = AttemptRef(
            workflow_id, workflow_id, f"flow/{workflow_id}", f"call-t-{index}", "t", shards
        )
        where = backend.work_dir(attempt)
        directory = where.path.rpartition("/")[0]

        def place(text: str, work: str = where.path, directory: str = directory) -> str:
            return text.replace("{work}", work).replace("{dir}", directory)

        jobs.append(
            JobSpec(
                attempt,
                where,
                place(script),
                inputs=tuple(replace(item, path=place(item.path)) for item in inputs),
                outputs=outputs or OutputPlan(),
            )
        )
    return Submission(
        handle=SubmissionHandle(
            id=submission_id,
            name=f"flow-t-{submission_id}",
            backend=backend.name,
            queue="",
            created_at=time.time(),
            attempts=tuple(job.attempt for job in jobs),
        ),
        shape=shape or Shape(image="busybox", cpu=0.25, memory_mib=64),
        jobs=tuple(jobs),
        labels=(("label", "value"),),
    )


def collect(
    backend: AwsBatchBackend,
    count: int,
    *,
    until: Callable[[Change], bool] = lambda change: change.state is JobState.FINISHED,
    seconds: float = DEADLINE_SECONDS,
) -> list[Change]:
    """Changes that `until` accepts, so many of them."""
    deadline, found = time.monotonic() + seconds, list[Change]()
    while len(found) < count:
        assert time.monotonic() < deadline, f"only {len(found)} of {count} within {seconds} s"
        found += [change for change in backend.changes(0.5) if until(change)]
    return found


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with batch_cloud.running(tmp_path_factory.mktemp("cloud")) as cloud:
        yield cloud


@pytest.fixture
def make_backend(cloud: Cloud) -> Iterator[Callable[..., AwsBatchBackend]]:
    made: list[AwsBatchBackend] = []

    def make(**settings: Any) -> AwsBatchBackend:
        made.append(backend_on(cloud, **settings))
        return made[-1]

    yield make
    cloud.clear_faults()
    for backend in made:
        backend.close()


@pytest.fixture
def backend(make_backend: Callable[..., AwsBatchBackend]) -> AwsBatchBackend:
    return make_backend()
