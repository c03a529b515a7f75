"""The environment variables of a job.

Three layers, later ones win: this AWS's address and credentials (a job on AWS needs neither: it has
the real endpoints, and AWS_CONTAINER_CREDENTIALS_RELATIVE_URI from the ECS agent); the job
definition's and the submission's; Batch's own AWS_BATCH_*, which nothing overrides.

Credentials are given as plain keys, because that is what boto3, the AWS CLI and s5cmd all take from
a local endpoint without a link-local address. They are good for nothing but this AWS.
"""

from __future__ import annotations

from orchestrator.local_aws.batch.jobs import Attempt, Job

ACCESS_KEY = "local-aws-job"


def of(job: Job, attempt: Attempt, endpoint: str) -> dict[str, str]:
    """All variables of one attempt."""
    submission = job.submission
    variables = {
        "AWS_ENDPOINT_URL": endpoint,
        "S3_ENDPOINT_URL": endpoint,  # s5cmd's name for it
        "AWS_REGION": submission.region,
        "AWS_DEFAULT_REGION": submission.region,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": ACCESS_KEY,
        **submission.container.environment,
        "AWS_BATCH_JOB_ID": job.id,
        "AWS_BATCH_JQ_NAME": submission.queue_name,
        "AWS_BATCH_CE_NAME": attempt.environment_name,
        "AWS_BATCH_JOB_ATTEMPT": str(attempt.number),
    }
    if job.index is not None:
        variables["AWS_BATCH_JOB_ARRAY_INDEX"] = str(job.index)
        variables["AWS_BATCH_JOB_ARRAY_SIZE"] = str(submission.size)
    return variables
