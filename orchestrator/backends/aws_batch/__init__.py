"""The AWS Batch backend: submissions as jobs and arrays on the queues of a deployment.

Knows Batch's API, its arrays, its reasons, and how the job wrapper gets its work. Knows no WDL, and
not why a job exists. Used through the port `backends.base`; made by `assembly`.

    several         the port over several environments, by queue
    backend         the port: submit, find, revoke, cancel, logs, fits
    poller          changes: few calls for many jobs
    event_queue     hints that a job has ended, from SQS
    manifests       a finished job's manifest, or the failure in its place
    settler         a finished job, until its manifest is fetched
    reports         what Batch's answers say of one job
    reasons         what Batch says of its end -> failure codes
    refusals        what an error of the SDK means: refused, later, or nobody knows
    bundles         what wrappers are told, on S3
    job_definitions one for each distinct container
    definitions_cleaning   removes those that nothing needs
    stage           the few lines a container begins with
    foreign_hosts   the lines before it, on hosts that lack our tools
    logs            a job's log in CloudWatch, read forwards
    queues          which queue a job is for, and what each can ever hold
    names           job names and tags
    submitting      SubmitJob, again where it certainly had no effect
    pace            how fast SubmitJob is called
    images          names of images, taken apart
    registries      the name under which a host pulls an image, and the login
    clients, settings, explanation
"""

from __future__ import annotations

from orchestrator.backends.aws_batch.backend import AwsBatchBackend
from orchestrator.backends.aws_batch.clients import Clients
from orchestrator.backends.aws_batch.settings import Settings
from orchestrator.backends.aws_batch.several import SeveralEnvironments

__all__ = ["AwsBatchBackend", "Clients", "Settings", "SeveralEnvironments"]
