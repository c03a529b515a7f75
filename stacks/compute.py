"""Compute: where jobs wait, and the hosts that run them."""

from __future__ import annotations

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_batch as batch
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from constructs import Construct

from stacks import identity, naming, queues
from stacks.constructs import machine_image, published, retention
from stacks.constructs.batch_events import BatchEvents
from stacks.constructs.batch_pool import BatchPool
from stacks.constructs.environment_stack import EnvironmentStack
from stacks.constructs.worker_launch_template import WorkerLaunchTemplate
from stacks.settings import Settings
from stacks.settings.schema import FairShare


class ComputeStack(EnvironmentStack):
    """The queues, a compute environment for each, and the log groups of jobs and hosts."""

    def __init__(
        self,
        scope: Construct,
        *,
        settings: Settings,
        vpc: ec2.IVpc,
        subnets: ec2.SubnetSelection,
        key: kms.IKey | None,
    ) -> None:
        super().__init__(scope, "compute", settings=settings, description="AWS Batch")
        environment = settings.environment
        role = published.role(self, environment, identity.WORKER)
        security_group = ec2.SecurityGroup(
            self, "WorkerSecurityGroup", vpc=vpc, description="Batch workers: nobody comes in"
        )
        plans = queues.planned(settings)
        templates = {
            kind: WorkerLaunchTemplate(
                self,
                f"Worker-{kind}",
                settings=settings,
                architecture="arm64" if kind == "arm64" else "x86_64",
                role=role,
                key=key,
            )
            for kind in dict.fromkeys(plan.image for plan in plans)
        }
        pools = {}
        for plan in plans:
            template = templates[plan.image]
            pool = BatchPool(
                self,
                f"{plan.pool_name}-{plan.kind}",
                plan=plan,
                compute=settings.compute,
                image=machine_image.of(settings, plan.image),
                launch_template=template.launch_template,
                role=role,
                security_group=security_group,
                vpc=vpc,
                subnets=subnets,
            )
            # A host that starts before it may read the tools never takes a job.
            pool.node.add_dependency(template.boot_policy)
            pools[plan.pool_name, plan.kind] = pool
        policy = _fair_share(self, settings.compute.fair_share)
        for (pool_name, kind), pool in pools.items():
            falls_back = kind == "spot" and settings.compute.spot_falls_back
            fallback = pools.get((pool_name, "on-demand")) if falls_back else None
            pool.add_queue(policy, settings.compute, fallback)
        BatchEvents(
            self,
            "Events",
            environment=environment,
            job_queues=[
                f"arn:{self.partition}:batch:{self.region}:{self.account}:job-queue/{plan.name}"
                for plan in plans
            ],
        )
        for name, group in {
            "JobLogs": naming.job_log_group(environment),
            "WorkerLogs": naming.worker_log_group(environment),
        }.items():
            logs.LogGroup(
                self,
                name,
                log_group_name=group,
                retention=retention.log_days(settings.log_retention_days),
                removal_policy=RemovalPolicy.DESTROY,
            )


def _fair_share(scope: Construct, fair_share: FairShare) -> batch.FairshareSchedulingPolicy:
    return batch.FairshareSchedulingPolicy(
        scope,
        "FairShare",
        share_decay=Duration.seconds(fair_share.decay_seconds),
        compute_reservation=fair_share.reserve_percent,
        shares=[
            batch.Share(share_identifier=group, weight_factor=weight)
            for group, weight in sorted(fair_share.weights.items())
        ],
    )
