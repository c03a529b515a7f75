"""What is known of an environment, as metrics of CloudWatch: for alarms and for the dashboard."""

from __future__ import annotations

from dataclasses import dataclass

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_logs as logs
from constructs import Construct

from stacks import naming

# Fewer jobs than this make no rate worth waking anybody for.
_ENOUGH_JOBS = 10


@dataclass(frozen=True, slots=True)
class HostReadings:
    """What only the orchestrator's host can say: Batch does not tell CloudWatch."""

    healthy: cloudwatch.Metric
    runnable_minutes: cloudwatch.Metric
    invalid_environments: cloudwatch.Metric
    disk_used: cloudwatch.Metric


class Readings(Construct):
    """Percent, minutes and counts. What hosts report is read from their log groups, by filters: it
    is all that hosts may write.
    """

    def __init__(
        self, scope: Construct, id: str, *, environment: str, database: str, has_host: bool
    ) -> None:
        super().__init__(scope, id)
        self._environment = environment
        self.blocked = self.events("BLOCKED", Duration.minutes(5))
        self.failed_percent = self._failed_percent(Duration.hours(1))
        self.database_used = cloudwatch.Metric(
            namespace="AWS/RDS",
            metric_name="ACUUtilization",
            dimensions_map={"DBClusterIdentifier": database},
            statistic="Average",
            period=Duration.minutes(5),
        )
        workers = naming.worker_log_group(environment)
        self.worker_disk_used = self._reported("WorkerDiskUsed", workers, "disk_used_percent")
        self.host = self._host() if has_host else None

    def events(self, what: str, period: Duration, label: str | None = None) -> cloudwatch.Metric:
        """How often Batch said it: each kind of event has a rule, which counts its matches."""
        return cloudwatch.Metric(
            namespace="AWS/Events",
            metric_name="TriggeredRules",
            dimensions_map={"RuleName": naming.event_rule(self._environment, what)},
            statistic="Sum",
            period=period,
            label=label,
        )

    def _failed_percent(self, period: Duration) -> cloudwatch.MathExpression:
        ended = "(FILL(f, 0) + FILL(s, 0))"
        return cloudwatch.MathExpression(
            expression=f"IF({ended} >= {_ENOUGH_JOBS}, 100 * FILL(f, 0) / {ended}, 0)",
            using_metrics={
                "f": self.events("FAILED", period),
                "s": self.events("SUCCEEDED", period),
            },
            label="failed jobs, %",
            period=period,
        )

    def _host(self) -> HostReadings:
        group = naming.host_log_group(self._environment)
        return HostReadings(
            healthy=self._reported("Healthy", group, "healthy", minutes=1),
            runnable_minutes=self._reported("RunnableMinutes", group, "runnable_minutes"),
            invalid_environments=self._reported(
                "InvalidComputeEnvironments", group, "invalid_compute_environments"
            ),
            disk_used=self._reported("HostDiskUsed", group, "disk_used_percent"),
        )

    def _reported(
        self, name: str, log_group: str, field: str, minutes: int = 5
    ) -> cloudwatch.Metric:
        """The highest that any host said (assets/worker/report.sh, assets/host/report.py)."""
        namespace = naming.metrics(self._environment)
        logs.CfnMetricFilter(
            self,
            name,
            log_group_name=log_group,
            filter_pattern=f"{{ $.{field} = * }}",
            metric_transformations=[
                logs.CfnMetricFilter.MetricTransformationProperty(
                    metric_namespace=namespace, metric_name=name, metric_value=f"$.{field}"
                )
            ],
        )
        return cloudwatch.Metric(
            namespace=namespace,
            metric_name=name,
            statistic="Maximum",
            period=Duration.minutes(minutes),
        )
