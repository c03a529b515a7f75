"""Alarms: one a thing that can go wrong, each saying what it means and what to do next."""

from __future__ import annotations

from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_sns as sns
from constructs import Construct

from stacks.constructs.readings import HostReadings, Readings
from stacks.settings.schema import Monitoring

_MISSING = cloudwatch.TreatMissingData
_OPERATORS = cloudwatch.ComparisonOperator


class Alarms(Construct):
    """Of an environment; all of them, with what they look at, in `all`."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        environment: str,
        monitoring: Monitoring,
        readings: Readings,
        topic: sns.ITopic,
    ) -> None:
        super().__init__(scope, id)
        self._environment, self._tell = environment, actions.SnsAction(topic)
        self.all: list[cloudwatch.Alarm] = []
        self._add(
            "QueueBlocked",
            readings.blocked,
            "The job at the head of a queue cannot run, and all behind it wait. The notice that "
            "came with this says which job and why. It is cancelled in the end: then see to its "
            "resources, or to the capacity of its queue.",
            threshold=1,
        )
        failed = monitoring.failed_jobs_percent
        self._add(
            "FailedJobs",
            readings.failed_percent,
            f"{failed} % or more of the jobs that ended within an hour failed: lost spot hosts "
            "count too, whose jobs the engine runs again. `orchestrator status` says of which "
            "workflows they are.",
            threshold=failed,
        )
        used = monitoring.database_used_percent
        self._add(
            "DatabaseCapacity",
            readings.database_used,
            f"The database uses {used} % or more of its largest capacity. Raise "
            "database.max_acu and deploy.",
            threshold=used,
            periods=3,
        )
        self._add(
            "WorkerDisk",
            readings.worker_disk_used,
            f"The data disk of a worker host is {monitoring.disk_used_percent} % full or more: "
            "its jobs are about to fail. It may have grown as far as it may: raise "
            "worker.data_volume_max_gib and deploy. The log streams */disk say what hinders it.",
            threshold=monitoring.disk_used_percent,
        )
        if readings.host is not None:
            self._about_the_host(readings.host, monitoring)

    def _about_the_host(self, host: HostReadings, monitoring: Monitoring) -> None:
        self._add(
            "ComputeEnvironmentInvalid",
            host.invalid_environments,
            "AWS Batch can start no hosts in a compute environment. Its statusReason says why: "
            "aws batch describe-compute-environments.",
            threshold=1,
        )
        minutes = monitoring.runnable_minutes
        self._add(
            "RunnableTooLong",
            host.runnable_minutes,
            f"The first job of a queue has waited for {minutes} minutes or more: the queue is at "
            "its largest, there is no capacity, or no host fits the job. Its statusReason says "
            "which: aws batch describe-jobs.",
            threshold=minutes,
        )
        self._add(
            "HostDisk",
            host.disk_used,
            f"The disk of the orchestrator's host is {monitoring.disk_used_percent} % full or "
            "more. Raise host.volume_gib and deploy.",
            threshold=monitoring.disk_used_percent,
        )
        self._add(
            "Heartbeat",
            host.healthy,
            f"The orchestrator has not answered for {monitoring.heartbeat_minutes} minutes. Jobs "
            "run on, nothing new is submitted. A lost host is replaced by its group; else see "
            "the stream `server` in the host's log group.",
            threshold=1,
            below=True,
            periods=monitoring.heartbeat_minutes,
        )

    def _add(
        self,
        name: str,
        metric: cloudwatch.IMetric,
        meaning: str,
        *,
        threshold: int,
        below: bool = False,
        periods: int = 1,
    ) -> None:
        alarm = cloudwatch.Alarm(
            self,
            name,
            alarm_name=f"{self._environment}-{name}",
            alarm_description=meaning,
            metric=metric,
            threshold=threshold,
            comparison_operator=(
                _OPERATORS.LESS_THAN_THRESHOLD
                if below
                else _OPERATORS.GREATER_THAN_OR_EQUAL_TO_THRESHOLD
            ),
            evaluation_periods=periods,
            datapoints_to_alarm=periods,
            # No hosts, no jobs: nothing is wrong. A server that says nothing is.
            treat_missing_data=_MISSING.BREACHING if below else _MISSING.NOT_BREACHING,
        )
        alarm.add_alarm_action(self._tell)
        alarm.add_ok_action(self._tell)
        self.all.append(alarm)
