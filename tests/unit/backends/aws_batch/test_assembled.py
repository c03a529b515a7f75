"""What a configuration says of rates and limits reaches the backend and the engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from orchestrator import assembly, deployment
from orchestrator.config import settings
from orchestrator.engine.admission import JobLimit
from tests.batch_cloud import batch_configuration

from .test_backend import ARN, DEPLOYMENT


@contextmanager
def assembled(
    folder: Path, monkeypatch: pytest.MonkeyPatch, config: str, *, shares: bool
) -> Iterator[assembly.Assembly]:
    queues = tuple(queue.model_copy(update={"fair_share": shares}) for queue in DEPLOYMENT.queues)
    contract = DEPLOYMENT.model_copy(update={"queues": queues})
    monkeypatch.setattr(deployment, "read", lambda ssm, environment: contract)
    path = batch_configuration(
        folder, f"{ARN}/spot", f"""root = "s3://root-bucket/root"\n{config}"""
    )
    made = assembly.assemble(settings.load(path))
    yield made
    made.close()


def limit(made: assembly.Assembly) -> JobLimit:
    return made._engine_settings.admission.limits["B"]


def rate(made: assembly.Assembly) -> float:
    backend: Any = made.backends["B"]
    found: float = backend._pace.rate
    return found


def test_by_itself_it_stays_below_awss_rate_and_shares_need_no_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with assembled(tmp_path, monkeypatch, "", shares=True) as made:
        assert rate(made) == 45
        assert limit(made) == JobLimit()


def test_queues_without_shares_are_not_filled_by_one_workflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with assembled(tmp_path, monkeypatch, "", shares=False) as made:
        assert limit(made) == JobLimit(5000, step=500)


def test_both_can_be_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = "submissions-per-second = 20, unshared-job-limit = 800, concurrent-job-limit = 300"
    with assembled(tmp_path, monkeypatch, config, shares=False) as made:
        assert rate(made) == 20
        assert limit(made) == JobLimit(300)
