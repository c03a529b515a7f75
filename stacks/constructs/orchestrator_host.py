"""The machine that the orchestrator runs on."""

from __future__ import annotations

from aws_cdk import Duration, RemovalPolicy, Stack
from aws_cdk import aws_autoscaling as autoscaling
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3_assets as s3_assets
from constructs import Construct

from orchestrator import deployment
from stacks import assets, naming
from stacks.assets import bundle
from stacks.constructs import boot, retention
from stacks.settings import Settings

_NOT_SHIPPED = ["**/__pycache__", "**/*.pyc", "**/.*"]
# What a boot may take before the server is waited for, and CloudFormation is told in time.
_MARGIN_SECONDS = 120


class OrchestratorHost(Construct):
    """A group of one. Cattle: all it knows is in the database and the bucket.

    A host that dies is replaced; one whose server does not answer `/health` is not taken, and the
    deployment that brought it is rolled back. Nobody comes in from the network; people use Session
    Manager.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        settings: Settings,
        image: ec2.IMachineImage,
        vpc: ec2.IVpc,
        subnets: ec2.SubnetSelection,
        public: bool,
        role: iam.IRole,
        key: kms.IKey | None,
    ) -> None:
        super().__init__(scope, id)
        host, environment = settings.host, settings.environment
        stack = Stack.of(self)
        self.security_group = ec2.SecurityGroup(
            self, "SecurityGroup", vpc=vpc, description="Orchestrator: nobody comes in"
        )
        group = logs.LogGroup(
            self,
            "Logs",
            log_group_name=naming.host_log_group(environment),
            retention=retention.log_days(settings.log_retention_days),
            removal_policy=RemovalPolicy.DESTROY,
        )
        archives = {
            "lib": s3_assets.Asset(self, "Packages", path=str(bundle.find(host.architecture))),
            "app/orchestrator": self._source("orchestrator"),
            "app/config_templates": self._source("config_templates"),
        }
        files = {
            "/opt/orchestrator/report.py": s3_assets.Asset(
                self, "Report", path=str(assets.SCRIPTS / "host" / "report.py")
            ),
            "/opt/orchestrator/reporting.sh": boot.assembled(
                self, "Reporting", "report.sh", "host/report.sh"
            ),
        }
        user_data = ec2.MultipartUserData()
        launch_template = ec2.LaunchTemplate(
            self,
            "LaunchTemplate",
            machine_image=image,
            instance_type=ec2.InstanceType(host.instance_type),
            role=role,
            security_group=self.security_group,
            associate_public_ip_address=True if public else None,
            user_data=user_data,
            require_imdsv2=True,
            http_endpoint=True,
            http_put_response_hop_limit=1,
            detailed_monitoring=True,
            block_devices=[
                ec2.BlockDevice(
                    device_name="/dev/xvda",
                    volume=ec2.BlockDeviceVolume.ebs(
                        host.volume_gib,
                        volume_type=ec2.EbsDeviceVolumeType.GP3,
                        encrypted=True,
                        kms_key=key,
                        delete_on_termination=True,
                    ),
                )
            ],
        )
        limit = Duration.minutes(host.health_minutes)
        self.group = autoscaling.AutoScalingGroup(
            self,
            "Group",
            vpc=vpc,
            vpc_subnets=subnets,
            launch_template=launch_template,
            min_capacity=1,
            max_capacity=1,
            signals=autoscaling.Signals.wait_for_count(1, timeout=limit),
            # The old host goes first. Jobs run on in Batch meanwhile; the new host takes over what
            # the old one held.
            update_policy=autoscaling.UpdatePolicy.rolling_update(
                max_batch_size=1,
                min_instances_in_service=0,
                pause_time=limit,
                wait_on_resource_signals=True,
                suspend_processes=[
                    autoscaling.ScalingProcess.ALARM_NOTIFICATION,
                    autoscaling.ScalingProcess.AZ_REBALANCE,
                    autoscaling.ScalingProcess.HEALTH_CHECK,
                    autoscaling.ScalingProcess.REPLACE_UNHEALTHY,
                    autoscaling.ScalingProcess.SCHEDULED_ACTIONS,
                ],
            ),
        )
        resource = self.group.node.default_child
        assert isinstance(resource, autoscaling.CfnAutoScalingGroup)
        variables = {
            "ENVIRONMENT": environment,
            "HEALTH_SECONDS": str(host.health_minutes * 60 - _MARGIN_SECONDS),
            "LOG_GROUP": group.log_group_name,
            "STACK": stack.stack_name,
            "RESOURCE": stack.get_logical_id(resource),
            "ARCHIVES": _rows(archives),
            "FILES": _rows(files),
        }
        for content_type, body in (
            (boot.CONFIG, boot.config(_FILES)),
            (boot.SCRIPT, boot.script(stack, variables, "fetch.sh", "host/install.sh")),
        ):
            user_data.add_part(boot.part(content_type, body))
        policy = iam.Policy(
            self,
            "Policy",
            roles=[role],
            statements=[
                iam.PolicyStatement(
                    sid="ReadOrchestrator",
                    actions=["s3:GetObject"],
                    resources=[
                        asset.bucket.arn_for_objects(asset.s3_object_key)
                        for asset in (*archives.values(), *files.values())
                    ],
                ),
                iam.PolicyStatement(
                    sid="ReadContract",
                    actions=["ssm:GetParameter"],
                    resources=[
                        f"arn:{stack.partition}:ssm:{stack.region}:{stack.account}:parameter"
                        f"{deployment.parameter_name(environment)}"
                    ],
                ),
                iam.PolicyStatement(
                    sid="SayThatItIsReady",
                    actions=["cloudformation:SignalResource"],
                    resources=[
                        f"arn:{stack.partition}:cloudformation:{stack.region}:{stack.account}"
                        f":stack/{stack.stack_name}/*"
                    ],
                ),
            ],
        )
        self.group.node.add_dependency(policy, group)

    def _source(self, package: str) -> s3_assets.Asset:
        return s3_assets.Asset(
            self, f"Source-{package}", path=str(assets.ROOT / package), exclude=_NOT_SHIPPED
        )


def _rows(fetched: dict[str, s3_assets.Asset]) -> str:
    return "\n".join(f"{name} {a.s3_bucket_name} {a.s3_object_key}" for name, a in fetched.items())


_FILES = (
    {
        "path": "/etc/systemd/system/orchestrator.service",
        "content": assets.script("host/orchestrator.service"),
    },
    {"path": "/etc/logrotate.d/orchestrator", "content": assets.script("host/logrotate.conf")},
)
