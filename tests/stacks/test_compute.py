from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from aws_cdk.assertions import Template

from stacks.settings import from_context
from tests.stacks.text import mime_parts, render

EVERY_POOL = {
    "set.compute.priority_max_vcpus": "32",
    "set.compute.spot_falls_back": "true",
    "set.compute.spot_max_price_percent": "70",
    "set.compute.update_drain_minutes": "90",
    "set.compute.warm_minutes": "0",
    "set.compute.capacity_limit_minutes": "0",
    "set.compute.fuse_mount": "true",
    "set.compute.fair_share.decay_seconds": "60",
    "set.compute.fair_share.reserve_percent": "10",
    "set.compute.fair_share.weights": "{urgent = 0.5}",
    "set.compute.images": '{gpu = "ami-0a1b2c3d", arm64 = "/images/of/ours"}',
    "set.compute.arm64": '{instance_types = ["m7g"], spot_max_vcpus = 64}',
    "set.compute.gpu": '{instance_types = ["g5.2xlarge"], on_demand_max_vcpus = 8}',
    "set.registries.host_secret": "arn:aws:secretsmanager:us-east-1:111122223333:secret:r-abcdef",
    "set.encryption.kms_key": "create",
}


@pytest.fixture(scope="module")
def every_pool(synthesise: Callable[..., Mapping[str, Template]]) -> Template:
    return synthesise(**EVERY_POOL)["compute"]


def _launch_templates(template: Template) -> dict[str, dict[str, Any]]:
    found = template.find_resources("AWS::EC2::LaunchTemplate")
    return {name: dict(entry["Properties"]) for name, entry in found.items()}


def _user_data(template: Template) -> list[str]:
    return [
        render(entry["LaunchTemplateData"]["UserData"])
        for entry in _launch_templates(template).values()
    ]


def _environments(template: Template) -> list[dict[str, Any]]:
    found = template.find_resources("AWS::Batch::ComputeEnvironment").values()
    return [entry["Properties"] for entry in found]


def _queues(template: Template) -> dict[str, dict[str, Any]]:
    found = template.find_resources("AWS::Batch::JobQueue").values()
    return {entry["Properties"]["JobQueueName"]: entry["Properties"] for entry in found}


# --- Hosts ----------------------------------------------------------------------------------------


def test_hosts_have_encrypted_disks_and_only_the_second_metadata_version(
    templates: Mapping[str, Template], every_pool: Template
) -> None:
    for template in (templates["compute"], every_pool):
        for entry in _launch_templates(template).values():
            data = entry["LaunchTemplateData"]
            assert data["MetadataOptions"] == {
                "HttpEndpoint": "enabled",
                "HttpPutResponseHopLimit": 1,
                "HttpTokens": "required",
            }
            disks = data["BlockDeviceMappings"]
            assert [d["DeviceName"] for d in disks] == ["/dev/xvda", "/dev/xvdb"]
            for disk in disks:
                assert disk["Ebs"]["Encrypted"]
                assert disk["Ebs"]["DeleteOnTermination"]
                assert disk["Ebs"]["VolumeType"] == "gp3"
                assert ("KmsKeyId" in disk["Ebs"]) == (template is every_pool)
            assert (disks[1]["Ebs"]["VolumeSize"], disks[1]["Ebs"]["Throughput"]) == (200, 250)
            assert "KeyName" not in data


def test_volumes_are_tagged_so_that_their_cost_and_their_hosts_are_known(
    templates: Mapping[str, Template],
) -> None:
    (entry,) = _launch_templates(templates["compute"]).values()
    tags = {
        one["ResourceType"]: one["Tags"] for one in entry["LaunchTemplateData"]["TagSpecifications"]
    }
    for kind in ("instance", "volume"):
        assert {"Key": "orchestrator:environment", "Value": "dev"} in tags[kind]


def test_nobody_comes_in(every_pool: Template) -> None:
    for group in every_pool.find_resources("AWS::EC2::SecurityGroup").values():
        assert "SecurityGroupIngress" not in group["Properties"]
    every_pool.resource_count_is("AWS::EC2::SecurityGroupIngress", 0)


def test_images_are_ids_or_parameters_that_nobody_else_moves(every_pool: Template) -> None:
    parameters = every_pool.to_json()["Parameters"]
    images = {}
    for environment in _environments(every_pool):
        (one,) = environment["ComputeResources"]["Ec2Configuration"]
        image = one["ImageIdOverride"]
        if isinstance(image, dict):
            parameter = parameters[image["Ref"]]
            assert parameter["Type"] == "AWS::SSM::Parameter::Value<AWS::EC2::Image::Id>"
            image = parameter["Default"]
        images[image] = one["ImageType"]
    assert images == {
        "/orchestrator/dev/images/x86_64": "ECS_AL2023",
        "/images/of/ours": "ECS_AL2023",
        "ami-0a1b2c3d": "ECS_AL2023_NVIDIA",
    }
    for parameter in parameters.values():
        assert not parameter["Default"].startswith("/aws/"), parameter


def test_a_changed_launch_template_reaches_hosts(every_pool: Template) -> None:
    environments = _environments(every_pool)
    assert len(environments) == 5
    for environment in environments:
        template = environment["ComputeResources"]["LaunchTemplate"]
        name = template["LaunchTemplateId"]["Ref"]
        assert template["Version"] == {"Fn::GetAtt": [name, "LatestVersionNumber"]}
        # In place, which needs the service-linked role and a strategy that allows it.
        assert environment["ReplaceComputeEnvironment"] is False
        assert "ServiceRole" not in environment


def test_running_jobs_get_their_time_when_hosts_are_replaced(
    templates: Mapping[str, Template], every_pool: Template
) -> None:
    for template, minutes in ((templates["compute"], 7200), (every_pool, 90)):
        for environment in _environments(template):
            assert environment["UpdatePolicy"] == {
                "TerminateJobsOnUpdate": False,
                "JobExecutionTimeoutMinutes": minutes,
            }


def test_idle_hosts_stay_warm_for_as_long_as_is_set(
    templates: Mapping[str, Template], every_pool: Template
) -> None:
    for template, minutes in ((templates["compute"], 20), (every_pool, 0)):
        for environment in _environments(template):
            scaling = environment["ComputeResources"]["ScalingPolicy"]
            assert scaling == {"MinScaleDownDelayMinutes": minutes}


def test_pools_are_spot_and_on_demand_and_shrink_to_nothing(
    templates: Mapping[str, Template], every_pool: Template
) -> None:
    compute = [e["ComputeResources"] for e in _environments(templates["compute"])]
    assert {(c["Type"], c["AllocationStrategy"], c["MaxvCpus"]) for c in compute} == {
        ("SPOT", "SPOT_PRICE_CAPACITY_OPTIMIZED", 256),
        ("EC2", "BEST_FIT_PROGRESSIVE", 64),
    }
    for one in compute:
        assert one["MinvCpus"] == 0
        assert one["InstanceTypes"] == ["c6i", "m6i", "r6i", "c6a", "m6a", "r6a"]
        assert "BidPercentage" not in one
        assert "SpotIamFleetRole" not in one
    for one in (e["ComputeResources"] for e in _environments(every_pool)):
        assert one.get("BidPercentage") == (70 if one["Type"] == "SPOT" else None)


# --- Queues ---------------------------------------------------------------------------------------


def test_queues_have_stable_names_and_hosts_of_their_own(
    templates: Mapping[str, Template], every_pool: Template
) -> None:
    assert set(_queues(templates["compute"])) == {"dev-spot", "dev-on-demand"}
    queues = _queues(every_pool)
    assert set(queues) == {
        "dev-spot",
        "dev-on-demand",
        "dev-priority",
        "dev-spot-arm64",
        "dev-on-demand-gpu",
    }
    first = [q["ComputeEnvironmentOrder"][0]["ComputeEnvironment"] for q in queues.values()]
    assert len({str(one) for one in first}) == 5


def test_spot_falls_back_to_on_demand_where_that_is_wanted(
    templates: Mapping[str, Template], every_pool: Template
) -> None:
    queues = _queues(every_pool)
    second = queues["dev-spot"]["ComputeEnvironmentOrder"][1]
    on_demand = queues["dev-on-demand"]["ComputeEnvironmentOrder"][0]
    assert second["ComputeEnvironment"] == on_demand["ComputeEnvironment"]
    assert (on_demand["Order"], second["Order"]) == (1, 2)
    assert queues["dev-spot"]["Priority"] < queues["dev-on-demand"]["Priority"]
    for name, queue in {**_queues(templates["compute"]), **queues}.items():
        expected = 2 if name == "dev-spot" and queue is queues["dev-spot"] else 1
        assert len(queue["ComputeEnvironmentOrder"]) == expected, name


def test_every_queue_has_a_fair_share_policy_from_the_start(
    templates: Mapping[str, Template], every_pool: Template
) -> None:
    for template in (templates["compute"], every_pool):
        policies = template.find_resources("AWS::Batch::SchedulingPolicy")
        for queue in _queues(template).values():
            assert queue["SchedulingPolicyArn"]["Fn::GetAtt"][0] in policies
    every_pool.has_resource_properties(
        "AWS::Batch::SchedulingPolicy",
        {
            "FairsharePolicy": {
                "ShareDecaySeconds": 60,
                "ComputeReservation": 10,
                "ShareDistribution": [{"ShareIdentifier": "urgent", "WeightFactor": 0.5}],
            }
        },
    )


def test_queues_drop_what_can_never_run(
    templates: Mapping[str, Template], every_pool: Template
) -> None:
    never = {
        "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE": 1800,
        "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT": 1800,
    }
    capacity = {"CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY": 240 * 60}
    for template, wanted in ((templates["compute"], never | capacity), (every_pool, never)):
        for queue in _queues(template).values():
            actions = queue["JobStateTimeLimitActions"]
            assert {a["Reason"]: a["MaxTimeSeconds"] for a in actions} == wanted
            assert {(a["State"], a["Action"]) for a in actions} == {("RUNNABLE", "CANCEL")}


def test_a_pool_of_no_vcpus_is_not_built(
    synthesise: Callable[..., Mapping[str, Template]],
) -> None:
    compute = synthesise(**{"set.compute.on_demand_max_vcpus": "0"})["compute"]
    compute.resource_count_is("AWS::Batch::ComputeEnvironment", 1)
    compute.has_resource_properties("AWS::Batch::JobQueue", {"JobQueueName": "dev-spot"})


def test_logs_do_not_stay_for_ever(templates: Mapping[str, Template]) -> None:
    for name in ("jobs", "workers"):
        templates["compute"].has_resource_properties(
            "AWS::Logs::LogGroup",
            {"LogGroupName": f"/orchestrator/dev/{name}", "RetentionInDays": 30},
        )


def test_events_of_these_queues_reach_the_orchestrators_queue(
    templates: Mapping[str, Template],
) -> None:
    compute = templates["compute"]
    compute.has_resource_properties(
        "AWS::SQS::Queue", {"QueueName": "dev-batch-events", "SqsManagedSseEnabled": True}
    )
    for queue in compute.find_resources("AWS::SQS::Queue").values():
        assert "KmsMasterKeyId" not in queue["Properties"]  # alias/aws/sqs: EventBridge cannot
    rules = [r["Properties"] for r in compute.find_resources("AWS::Events::Rule").values()]
    patterns = {rule["Name"]: rule["EventPattern"] for rule in rules}
    assert set(patterns) == {"dev-jobs-running", "dev-jobs-succeeded", "dev-jobs-failed"}
    for name, pattern in patterns.items():
        assert pattern["source"] == ["aws.batch"]
        assert pattern["detail-type"] == ["Batch Job State Change"]
        assert pattern["detail"]["status"] == [name.rpartition("-")[2].upper()]
        assert [render(arn).rpartition("/")[2] for arn in pattern["detail"]["jobQueue"]] == [
            "dev-spot",
            "dev-on-demand",
        ]
    # Each rule may send, and nobody without TLS.
    statements = [
        statement
        for policy in compute.find_resources("AWS::SQS::QueuePolicy").values()
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
    ]
    senders = [s for s in statements if s["Effect"] == "Allow"]
    assert len(senders) == 3
    assert all(s["Principal"] == {"Service": "events.amazonaws.com"} for s in senders)
    assert [s["Condition"] for s in statements if s["Effect"] == "Deny"] == [
        {"Bool": {"aws:SecureTransport": "false"}}
    ] * 2


# --- User data ------------------------------------------------------------------------------------


def test_hosts_start_only_after_they_may_read_their_tools(
    bodies: Mapping[str, dict[str, Any]],
) -> None:
    resources = bodies["compute"]["Resources"]
    (policy,) = [n for n, r in resources.items() if r["Type"] == "AWS::IAM::Policy"]
    for entry in resources.values():
        if entry["Type"] == "AWS::Batch::ComputeEnvironment":
            assert policy in entry["DependsOn"]


def test_user_data_is_mime_with_the_disk_before_docker_and_the_tools_after(
    templates: Mapping[str, Template], every_pool: Template
) -> None:
    """Batch makes an environment INVALID whose template has user data of another kind."""
    everything = [*_user_data(templates["compute"]), *_user_data(every_pool)]
    assert len(everything) == 4
    for user_data in everything:
        assert len(user_data.encode()) < 8_000  # EC2's limit is 16 KiB, and Batch adds a part
        (first, disk), (second, config), (third, tools) = mime_parts(user_data)
        assert (first, second, third) == (
            "text/cloud-boothook",
            "text/cloud-config",
            "text/x-shellscript",
        )
        assert "mkfs.xfs" in disk
        assert "SCRATCH_PATH=/mnt/scratch\n" in disk
        assert "/etc/ecs/ecs.config" in config
        assert "TOOLS_PATH=/opt/orchestrator/tools\n" in tools
        assert "services.sh " in tools
        assert "ebs_autoscale.zip " in tools


def test_the_agent_is_told_to_free_disk(templates: Mapping[str, Template]) -> None:
    settings = _agent(templates["compute"])
    assert settings["ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION"] == "10m"
    # Below ten minutes the agent ignores it.
    assert settings["ECS_IMAGE_CLEANUP_INTERVAL"] == "10m"
    assert "ECS_IMAGE_PULL_BEHAVIOR" not in settings  # prefer-cached keeps images for ever


def test_the_agent_refuses_privileged_containers_unless_that_is_wanted(
    templates: Mapping[str, Template], every_pool: Template
) -> None:
    assert _agent(templates["compute"])["ECS_DISABLE_PRIVILEGED"] == "true"
    assert "ECS_DISABLE_PRIVILEGED" not in _agent(every_pool)


def test_hosts_log_in_to_registries_only_where_that_is_wanted(
    templates: Mapping[str, Template], every_pool: Template
) -> None:
    assert all("REGISTRY_SECRET" not in text for text in _user_data(templates["compute"]))
    assert all("REGISTRY_SECRET=arn:aws:" in text for text in _user_data(every_pool))


def test_hosts_log_in_to_docker_hub_with_what_the_orchestrator_keeps(
    synthesise: Callable[..., Mapping[str, Template]],
) -> None:
    template = synthesise(**{"set.registries.docker_hub": "host_login"})["compute"]
    for text in _user_data(template):
        assert "REGISTRY_SECRET=orchestrator/dev/docker-hub\n" in text
        assert "log_in_to_registries" in text


def _agent(template: Template) -> dict[str, str]:
    config = mime_parts(_user_data(template)[0])[1][1]
    (file,) = json.loads(config.removeprefix("#cloud-config\n"))["write_files"]
    assert (file["path"], file["append"]) == ("/etc/ecs/ecs.config", True)
    return dict(line.split("=", 1) for line in file["content"].splitlines())


@pytest.mark.parametrize(
    ("types", "architecture"), [('["m7g"]', "arm64"), ('["m6i.xlarge", "c6a"]', "x86_64")]
)
def test_the_architecture_follows_from_the_instance_types(types: str, architecture: str) -> None:
    settings = from_context({"environment": "dev", "set.compute.instance_types": types})
    assert settings.compute.architecture == architecture
