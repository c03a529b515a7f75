"""AWS Batch's jobs on this machine: a job engine put in place of moto's.

moto keeps compute environments, queues, scheduling policies and tags. `install` replaces, in moto's
server and in `mock_aws()` alike, these verbs of `moto.batch.responses.BatchResponse`:

    SubmitJob                                                               (submitting.py)
    DescribeJobs ListJobs TerminateJob CancelJob GetJobQueueSnapshot        (verbs.py)
    RegisterJobDefinition DescribeJobDefinitions DeregisterJobDefinition    (definitions.py)

and completes, because jobs depend on it:

    CreateJobQueue UpdateJobQueue DescribeJobQueues   jobStateTimeLimitActions
    UpdateComputeEnvironment                          computeResources (maxvCpus ...)
    BatchBackend.delete_job_queue, .reset             end the jobs that are concerned

The modules:

    submitting.py     SubmitJob
    verbs.py          the other job verbs
    definitions.py    job definitions
    engine.py         takes jobs in, starts what the scheduler places, records how they end
    jobs.py           jobs, attempts, states; the table of them
    scheduler.py      which job starts next and where: queues, capacity, shares
    queues.py         what Batch refuses of queues and scheduling policies
    infrastructure.py what moto knows of queues and environments
    listing.py        what ListJobs sees, late if wished
    retry.py          retryStrategy, evaluateOnExit
    environment.py    a job's environment variables
    logs.py           log streams
    detail.py         a job as DescribeJobs and events show it
    notices.py        events of state changes and blocked queues
    runners/          processes or containers
    installing.py     the patching; leftovers of a killed server

Not offered, and refused by name: dependsOn (with N_TO_N and SEQUENTIAL), multi-node, EKS, ECS task
properties, Fargate, secrets, EFS, consumable resources, log drivers other than awslogs.

Different from AWS, knowingly: SubmitJob makes an array's children at once; an environment never
exceeds its maxvCpus (AWS may, by an instance); private registries' credentials are the Docker
engine's own; jobs get their credentials as plain variables (environment.py).
"""

from __future__ import annotations

from orchestrator.local_aws.batch.definitions import register as register_job_definition
from orchestrator.local_aws.batch.installing import (
    Installation,
    StateDirInUse,
    end_orphans,
    install,
    shutdown,
)
from orchestrator.local_aws.batch.runners.docker import EngineUnavailable

__all__ = [
    "EngineUnavailable",
    "Installation",
    "StateDirInUse",
    "end_orphans",
    "install",
    "register_job_definition",
    "shutdown",
]
