"""Compute: where jobs wait, and the hosts that run them."""

from __future__ import annotations

from aws_cdk import RemovalPolicy
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from constructs import Construct

from orchestrator import deployment
from stacks import naming
from stacks.constructs import retention
from stacks.constructs.batch_pool import BatchPool
from stacks.constructs.environment_stack import EnvironmentStack
from stacks.constructs.worker_launch_template import WorkerLaunchTemplate
from stacks.settings import Settings


class ComputeStack(EnvironmentStack):
    """Spot and on-demand pools of one launch template, and the jobs' log group."""

    def __init__(
        self,
        scope: Construct,
        *,
        settings: Settings,
        vpc: ec2.IVpc,
        subnets: ec2.SubnetSelection,
        worker_role: iam.IRole,
    ) -> None:
        super().__init__(scope, "compute", settings=settings, description="AWS Batch")
        environment, compute = settings.environment, settings.compute
        template = WorkerLaunchTemplate(
            self,
            "Worker",
            worker=settings.worker,
            architecture=compute.architecture,
            role=worker_role,
        )
        security_group = ec2.SecurityGroup(
            self, "WorkerSecurityGroup", vpc=vpc, description="Batch workers: nobody comes in"
        )
        limits: dict[naming.QueueKind, int] = {
            "spot": compute.spot_max_vcpus,
            "on-demand": compute.on_demand_max_vcpus,
        }
        queues = []
        for kind, max_vcpus in limits.items():
            if max_vcpus == 0:
                continue
            pool = BatchPool(
                self,
                "Spot" if kind == "spot" else "OnDemand",
                environment=environment,
                kind=kind,
                max_vcpus=max_vcpus,
                instance_types=compute.instance_types,
                launch_template=template.launch_template,
                role=worker_role,
                security_group=security_group,
                vpc=vpc,
                subnets=subnets,
            )
            # A host that starts before it may read the tools never takes a job.
            pool.node.add_dependency(template.boot_policy)
            vcpus, memory_mib = compute.largest_job(max_vcpus)
            name = naming.queue(environment, kind)
            queues.append(
                deployment.Queue(
                    name=name,
                    arn=f"arn:{self.partition}:batch:{self.region}:{self.account}:job-queue/{name}",
                    kind=kind,
                    architecture=compute.architecture,
                    max_vcpus=vcpus,
                    max_memory_mib=memory_mib,
                )
            )
        self.queues = tuple(queues)
        self.job_log_group = naming.job_log_group(environment)
        logs.LogGroup(
            self,
            "JobLogs",
            log_group_name=self.job_log_group,
            retention=retention.log_days(settings.log_retention_days),
            removal_policy=RemovalPolicy.DESTROY,
        )
