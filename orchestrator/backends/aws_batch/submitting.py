"""SubmitJob: at the pace that AWS bears, and again where it certainly did not take effect.

Whatever may have started a job is never repeated here: that is for who can look it up.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import structlog
from botocore.exceptions import BotoCoreError, ClientError

from orchestrator import errors
from orchestrator.backends.aws_batch import refusals
from orchestrator.backends.aws_batch.pace import Pace

if TYPE_CHECKING:
    from types_boto3_batch import BatchClient

_log = structlog.get_logger(__name__)

# Seconds between tries. In all far less than a lease lasts; who asks again later pays for new
# bundles and a new submission.
_PAUSES = (0.5, 1.0, 2.0, 4.0)


def submit_job(
    client: BatchClient,
    request: Mapping[str, Any],
    pace: Pace,
    *,
    before: Callable[[], None],
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """The job's id. `before` is called directly before each try, and may raise.

    Raises `errors.Ambiguous`, TryLater (after several tries), and what refuses for good.
    """
    for pause in (*_PAUSES, None):
        pace.wait()
        before()
        try:
            answer = client.submit_job(**request)
        except (BotoCoreError, ClientError) as error:
            meaning = refusals.of_submission(error)
            if not isinstance(meaning, errors.TryLater) or isinstance(meaning, errors.Ambiguous):
                raise meaning from error
            pace.refused()
            if pause is None:
                raise meaning from error
            _log.info("SubmitJob is tried again", seconds=pause, reason=meaning.message)
            sleep(pause)
        else:
            pace.taken()
            return answer["jobId"]
    raise AssertionError("the last try returns or raises")
