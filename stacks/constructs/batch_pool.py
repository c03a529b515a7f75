"""A queue with the managed compute environment that serves it."""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import Duration
from aws_cdk import aws_batch as batch
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from constructs import Construct

from stacks import naming


class BatchPool(Construct):
    """Hosts come when jobs wait and go when none do.

    The environment is updated in place: running jobs keep their hosts for a while, and the queue,
    whose name is stable, never loses its environment.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        environment: str,
        kind: naming.QueueKind,
        max_vcpus: int,
        instance_types: Sequence[str],
        launch_template: ec2.LaunchTemplate,
        role: iam.IRole,
        security_group: ec2.ISecurityGroup,
        vpc: ec2.IVpc,
        subnets: ec2.SubnetSelection,
    ) -> None:
        super().__init__(scope, id)
        compute = batch.ManagedEc2EcsComputeEnvironment(
            self,
            "Environment",
            vpc=vpc,
            vpc_subnets=subnets,
            security_groups=[security_group],
            instance_role=role,
            launch_template=launch_template,
            images=[batch.EcsMachineImage(image_type=batch.EcsMachineImageType.ECS_AL2023)],
            use_optimal_instance_classes=False,
            instance_types=[ec2.InstanceType(t) for t in instance_types if "." in t],
            instance_classes=[ec2.InstanceClass[t.upper()] for t in instance_types if "." not in t],
            spot=kind == "spot",
            allocation_strategy=(
                batch.AllocationStrategy.SPOT_PRICE_CAPACITY_OPTIMIZED
                if kind == "spot"
                else batch.AllocationStrategy.BEST_FIT_PROGRESSIVE
            ),
            minv_cpus=0,
            maxv_cpus=max_vcpus,
            replace_compute_environment=False,
            terminate_on_update=False,
            update_timeout=Duration.hours(24),
        )
        resource = compute.node.default_child
        assert isinstance(resource, batch.CfnComputeEnvironment)
        # Without a version Batch takes $Default, which CloudFormation never moves: a change of the
        # launch template would not reach any host.
        resource.add_property_override(
            "ComputeResources.LaunchTemplate.Version", launch_template.latest_version_number
        )
        self.queue = batch.JobQueue(
            self,
            "Queue",
            job_queue_name=naming.queue(environment, kind),
            priority=1,
            compute_environments=[
                batch.OrderedComputeEnvironment(compute_environment=compute, order=1)
            ],
            # A job that can never be placed would block all behind it, for ever.
            job_state_time_limit_actions=[
                batch.JobStateTimeLimitAction(
                    max_time=Duration.minutes(30),
                    reason=reason,
                    state=batch.JobStateTimeLimitActionsState.RUNNABLE,
                    action=batch.JobStateTimeLimitActionsAction.CANCEL,
                )
                for reason in (
                    batch.JobStateTimeLimitActionsReason.COMPUTE_ENVIRONMENT_MAX_RESOURCE,
                    batch.JobStateTimeLimitActionsReason.JOB_RESOURCE_REQUIREMENT,
                )
            ],
        )
