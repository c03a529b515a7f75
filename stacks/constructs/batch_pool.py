"""A queue, and the managed compute environment that serves it first."""

from __future__ import annotations

from aws_cdk import Duration
from aws_cdk import aws_batch as batch
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from constructs import Construct

from stacks import queues
from stacks.settings.schema import Compute

# What a queue's jobs are worth where two queues share hosts (`spot_falls_back`).
_PRIORITY = {"spot": 1, "on-demand": 10, "priority": 1000}
_NEVER_PLACED = Duration.minutes(30)


class BatchPool(Construct):
    """Hosts come when jobs wait and go when none do.

    The environment is updated in place: running jobs keep their hosts for a set time, and the
    queue, whose name is stable, never loses its environment.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        plan: queues.Plan,
        compute: Compute,
        image: ec2.IMachineImage,
        launch_template: ec2.LaunchTemplate,
        role: iam.IRole,
        security_group: ec2.ISecurityGroup,
        vpc: ec2.IVpc,
        subnets: ec2.SubnetSelection,
    ) -> None:
        super().__init__(scope, id)
        self.plan = plan
        types = plan.pool.instance_types
        self.environment = batch.ManagedEc2EcsComputeEnvironment(
            self,
            "Environment",
            vpc=vpc,
            vpc_subnets=subnets,
            security_groups=[security_group],
            instance_role=role,
            launch_template=launch_template,
            images=[batch.EcsMachineImage(image=image, image_type=_image_type(plan))],
            use_optimal_instance_classes=False,
            instance_types=[ec2.InstanceType(t) for t in types if "." in t],
            instance_classes=[ec2.InstanceClass[t.upper()] for t in types if "." not in t],
            spot=plan.spot,
            spot_bid_percentage=compute.spot_max_price_percent if plan.spot else None,
            allocation_strategy=(
                batch.AllocationStrategy.SPOT_PRICE_CAPACITY_OPTIMIZED
                if plan.spot
                else batch.AllocationStrategy.BEST_FIT_PROGRESSIVE
            ),
            minv_cpus=0,
            maxv_cpus=plan.max_vcpus,
            replace_compute_environment=False,
            terminate_on_update=False,
            update_timeout=Duration.minutes(compute.update_drain_minutes),
        )
        resource = self.environment.node.default_child
        assert isinstance(resource, batch.CfnComputeEnvironment)
        # Without a version Batch takes $Default, which CloudFormation never moves: a change of the
        # launch template would not reach any host.
        resource.add_property_override(
            "ComputeResources.LaunchTemplate.Version", launch_template.latest_version_number
        )
        # Always there: leaving it out would not undo what was set before, 0 does.
        resource.add_property_override(
            "ComputeResources.ScalingPolicy.MinScaleDownDelayMinutes", compute.warm_minutes
        )

    def add_queue(
        self,
        policy: batch.FairshareSchedulingPolicy,
        compute: Compute,
        fallback: BatchPool | None = None,
    ) -> None:
        """The queue of this pool; jobs that find no host here may go to those of `fallback`.

        It has its scheduling policy from the start: a queue that was made without one can never
        get one.
        """
        environments = [self.environment, *([fallback.environment] if fallback else [])]
        batch.JobQueue(
            self,
            "Queue",
            job_queue_name=self.plan.name,
            priority=_PRIORITY[self.plan.kind],
            scheduling_policy=policy,
            compute_environments=[
                batch.OrderedComputeEnvironment(compute_environment=environment, order=order)
                for order, environment in enumerate(environments, start=1)
            ],
            job_state_time_limit_actions=[
                batch.JobStateTimeLimitAction(
                    max_time=limit,
                    reason=reason,
                    state=batch.JobStateTimeLimitActionsState.RUNNABLE,
                    action=batch.JobStateTimeLimitActionsAction.CANCEL,
                )
                for reason, limit in _limits(compute).items()
            ],
        )


def _limits(compute: Compute) -> dict[batch.JobStateTimeLimitActionsReason, Duration]:
    """A job at the head of its queue that can never be placed would block all behind it."""
    reasons = batch.JobStateTimeLimitActionsReason
    limits = {
        reasons.COMPUTE_ENVIRONMENT_MAX_RESOURCE: _NEVER_PLACED,
        reasons.JOB_RESOURCE_REQUIREMENT: _NEVER_PLACED,
    }
    if compute.capacity_limit_minutes:
        limits[reasons.INSUFFICIENT_INSTANCE_CAPACITY] = Duration.minutes(
            compute.capacity_limit_minutes
        )
    return limits


def _image_type(plan: queues.Plan) -> batch.EcsMachineImageType:
    if plan.image == "gpu":
        return batch.EcsMachineImageType.ECS_AL2023_NVIDIA
    return batch.EcsMachineImageType.ECS_AL2023
