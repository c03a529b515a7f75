"""What the synthesised policies allow and what they deny, evaluated as IAM evaluates them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from aws_cdk.assertions import Template

from tests.stacks.deployed import Deployed, Role
from tests.stacks.permissions import is_allowed
from tests.stacks.recorded import RECORDED, Recorded

ACCOUNT, REGION = "111122223333", "us-east-1"
Context = dict[str, str]
Request = tuple[str, str, Context]

BUCKET = "arn:aws:s3:::storage-"
ASSETS = f"arn:aws:s3:::cdk-hnb659fds-assets-{ACCOUNT}-{REGION}"
REFERENCES, RESULTS = "arn:aws:s3:::some-references", "arn:aws:s3:::some-results"
OWN_ROLE = f"arn:aws:iam::{ACCOUNT}:role/somebody-chose-it"
SECRET = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:registry-abcdef"
HUB = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:orchestrator/dev/docker-hub-a1b2c3"
KEEP_LOGIN = ("CreateSecret", "GetSecretValue", "PutSecretValue", "RestoreSecret", "TagResource")
OPERATOR = f"arn:aws:iam::{ACCOUNT}:role/people"
INSTANCE = f"arn:aws:ec2:{REGION}:{ACCOUNT}:instance/i-0a1b2c3d4e5f60718"
ANOTHER = f"arn:aws:ec2:{REGION}:{ACCOUNT}:instance/i-0ffffffffffffffff"
VOLUME = f"arn:aws:ec2:{REGION}:{ACCOUNT}:volume/vol-0a1b2c3d4e5f60718"
CLUSTER = f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/AWSBatch-spot-1b2c"
BATCH = f"arn:aws:batch:{REGION}:{ACCOUNT}"
EVENTS = f"arn:aws:sqs:{REGION}:{ACCOUNT}:dev-batch-events"
DEFINITION = f"{BATCH}:job-definition/dev_orchestrator-0a1b2c"
CONTRACT = f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/orchestrator/dev/deployment"
EC2 = f"arn:aws:ec2:{REGION}:{ACCOUNT}"
ECR = f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository"
LOGS = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/orchestrator/dev"
JOB_TAGS = {
    "aws:RequestTag/orchestrator:submission": "s",
    "aws:RequestTag/orchestrator:workflow": "w",
}
OF_DEV = {"aws:RequestTag/orchestrator:environment": "dev"}
TO_TASKS = {"iam:PassedToService": "ecs-tasks.amazonaws.com"}
ON_INSTANCE = {"ec2:SourceInstanceARN": INSTANCE}
LET_GO = {
    **ON_INSTANCE,
    "ec2:InstanceID": INSTANCE[-19:],
    "ec2:Attribute": "BlockDeviceMapping",
}

SETTINGS = {
    "set.compute.priority_max_vcpus": "16",
    "set.identity.job_roles": f'["{OWN_ROLE}"]',
    "set.identity.operators": f'["{OPERATOR}"]',
    "set.storage.read_buckets": '["some-references"]',
    "set.storage.write_buckets": '["some-results"]',
    "set.registries.job_secrets": f'{{"registry.example.org" = "{SECRET}"}}',
    "set.registries.pull_through": '[{registry = "quay.io", prefix = "quay"}]',
}


def _deployed(templates: Mapping[str, Template], region: str = REGION) -> Deployed:
    bodies = {part: dict(template.to_json()) for part, template in templates.items()}
    return Deployed(bodies, ACCOUNT, region)


@pytest.fixture(scope="module")
def deployed(synthesise: Callable[..., Mapping[str, Template]]) -> Deployed:
    return _deployed(synthesise(**SETTINGS))


def _by_duty(deployed: Deployed) -> dict[str, Role]:
    duties = {
        "WorkerRole": "worker",
        "JobRole": "job",
        "ExecutionRole": "execution",
        "OrchestratorRole": "orchestrator",
        "OperatorRole": "operator",
    }
    return {
        duty: role
        for prefix, duty in duties.items()
        for name, role in deployed.roles().items()
        if name.startswith(prefix)
    }


@pytest.fixture(scope="module")
def roles(deployed: Deployed) -> dict[str, Role]:
    return _by_duty(deployed)


@pytest.fixture(scope="module")
def bucket(deployed: Deployed) -> str:
    (name,) = [
        f"{part}-{name}".lower()
        for part, name, _ in deployed.resources("AWS::S3::Bucket")
        if name.startswith("RootBucket")
    ]
    return f"arn:aws:s3:::{name}"


# --- Recorded calls -------------------------------------------------------------------------------

_OBJECTS = {
    "AbortMultipartUpload": "s3:AbortMultipartUpload",
    "CompleteMultipartUpload": "s3:PutObject",
    "CreateMultipartUpload": "s3:PutObject",
    "DeleteObject": "s3:DeleteObject",
    "DeleteObjects": "s3:DeleteObject",
    "GetObject": "s3:GetObject",
    "HeadObject": "s3:GetObject",
    "ListParts": "s3:ListMultipartUploadParts",
    "CopyObject": "s3:PutObject",
    "PutObject": "s3:PutObject",
    "UploadPart": "s3:PutObject",
    "UploadPartCopy": "s3:PutObject",
}
_BUCKETS = {
    "GetBucketLocation": "s3:GetBucketLocation",
    "HeadBucket": "s3:ListBucket",
    "ListObjects": "s3:ListBucket",
    "ListObjectsV2": "s3:ListBucket",
}


def _requests(call: Recorded, bucket: str, deployed: Deployed) -> list[Request]:
    """What IAM is asked for when this is called."""
    if call.service == "s3":
        if call.action in _BUCKETS:
            return [(_BUCKETS[call.action], bucket, {})]
        # Several objects at once are in the body, not in the path: those of both prefixes.
        places = {"root": ["workflows"], "scratch": ["scratch"]}.get(
            call.place, ["workflows", "scratch"]
        )
        return [(_OBJECTS[call.action], f"{bucket}/{place}/a/key", {}) for place in places]
    jobs = f"{BATCH}:job/8f0c"
    requests: dict[tuple[str, str], list[Request]] = {
        ("batch", "SubmitJob"): [
            ("batch:SubmitJob", f"{BATCH}:job-queue/dev-spot", JOB_TAGS),
            ("batch:SubmitJob", DEFINITION, JOB_TAGS),
            ("batch:TagResource", jobs, {}),
        ],
        ("batch", "RegisterJobDefinition"): [
            ("batch:RegisterJobDefinition", DEFINITION, {**OF_DEV, "batch:Privileged": "false"}),
            ("batch:TagResource", DEFINITION, OF_DEV),
            *(
                ("iam:PassRole", arn, TO_TASKS)
                for arn in (_arn(deployed, "JobRole"), _arn(deployed, "ExecutionRole"))
            ),
        ],
        ("batch", "DeregisterJobDefinition"): [
            ("batch:DeregisterJobDefinition", DEFINITION, OF_DEV)
        ],
        ("batch", "GetJobQueueSnapshot"): [
            ("batch:GetJobQueueSnapshot", f"{BATCH}:job-queue/dev-spot", {})
        ],
        ("batch", "TerminateJob"): [("batch:TerminateJob", jobs, {})],
        ("sqs", "ReceiveMessage"): [("sqs:ReceiveMessage", EVENTS, {})],
        ("sqs", "DeleteMessageBatch"): [("sqs:DeleteMessage", EVENTS, {})],
        ("logs", "GetLogEvents"): [
            ("logs:GetLogEvents", f"{LOGS}/jobs:log-stream:job/default/1", {})
        ],
        ("logs", "FilterLogEvents"): [("logs:FilterLogEvents", f"{LOGS}/jobs", {})],
        ("ssm", "GetParameter"): [("ssm:GetParameter", CONTRACT, {})],
        ("secretsmanager", "GetSecretValue"): [],  # see the database's own tests
    }
    known = requests.get((call.service, call.action))
    if known is None and call.action.startswith(("Describe", "List")):
        return [(f"{call.service}:{call.action}", "*", {})]
    assert known is not None, f"say here what {call} asks for"
    return known


def _arn(deployed: Deployed, prefix: str) -> str:
    (name,) = [name for name in deployed.roles() if name.startswith(prefix)]
    return f"arn:aws:iam::{ACCOUNT}:role/{name}"


@pytest.mark.parametrize("call", RECORDED, ids=lambda call: "-".join(filter(None, call)))
def test_what_was_called_in_the_acceptance_tests_is_allowed(
    call: Recorded, roles: dict[str, Role], bucket: str, deployed: Deployed
) -> None:
    for action, resource, context in _requests(call, bucket, deployed):
        assert is_allowed(roles[call.role], action, resource, context), (action, resource)


# --- What else a duty needs -----------------------------------------------------------------------

OWN_VOLUME = {**ON_INSTANCE, "aws:ResourceTag/orchestrator:instance": INSTANCE}
FRESH_VOLUME = {**ON_INSTANCE, "aws:ResourceTag/orchestrator:environment": "dev"}
CLAIM = {"aws:RequestTag/orchestrator:instance": INSTANCE, "aws:TagKeys": "orchestrator:instance"}
CLAIM_FOR_ANOTHER = {**CLAIM, "aws:RequestTag/orchestrator:instance": ANOTHER}
MAKE = {
    **ON_INSTANCE,
    **OF_DEV,
    "aws:RequestTag/orchestrator:instance": INSTANCE,
    "ec2:Encrypted": "true",
}
NEEDED: dict[str, list[Request]] = {
    "worker": [
        ("ecs:RegisterContainerInstance", CLUSTER, {}),
        ("ecs:SubmitTaskStateChange", CLUSTER, {}),
        ("ecs:Poll", CLUSTER.replace("cluster/", "container-instance/") + "/0a1b", {}),
        ("ecs:DiscoverPollEndpoint", "*", {}),
        (
            "ecs:TagResource",
            CLUSTER.replace("cluster/", "container-instance/") + "/0a1b",
            {"ecs:CreateAction": "RegisterContainerInstance"},
        ),
        ("ecr:GetAuthorizationToken", "*", {}),
        ("ecr:BatchGetImage", f"{ECR}/any/image", {}),
        ("logs:CreateLogStream", f"{LOGS}/workers:log-stream:", {}),
        ("logs:PutLogEvents", f"{LOGS}/workers:log-stream:i-0a/report", {}),
        ("ssmmessages:OpenDataChannel", "*", {}),
        ("ec2:DescribeVolumes", "*", {}),
        ("ec2:CreateTags", VOLUME, {**FRESH_VOLUME, **CLAIM}),
        ("ec2:ModifyVolume", VOLUME, OWN_VOLUME),
        ("ec2:CreateVolume", VOLUME, MAKE),
        ("ec2:CreateTags", VOLUME, {**MAKE, "ec2:CreateAction": "CreateVolume"}),
        ("ec2:AttachVolume", VOLUME, OWN_VOLUME),
        ("ec2:AttachVolume", INSTANCE, {**ON_INSTANCE, "ec2:InstanceID": INSTANCE[-19:]}),
        ("ec2:ModifyInstanceAttribute", INSTANCE, LET_GO),
    ],
    "job": [
        ("s3:GetObject", f"{REFERENCES}/genome.fa", {}),
        ("s3:ListBucket", REFERENCES, {}),
        ("s3:PutObject", f"{RESULTS}/mine/result", {}),
    ],
    "execution": [
        ("logs:PutLogEvents", f"{LOGS}/jobs:log-stream:job/default/1", {}),
        ("ecr:BatchGetImage", f"{ECR}/quay/a/b", {}),
        ("ecr:CreateRepository", f"{ECR}/quay/a/b", {}),
        ("ecr:BatchImportUpstreamImage", f"{ECR}/quay/a/b", {}),
        ("secretsmanager:GetSecretValue", SECRET, {}),
        ("secretsmanager:GetSecretValue", HUB, {}),
    ],
    "orchestrator": [
        *((f"secretsmanager:{action}", HUB, {}) for action in KEEP_LOGIN),
        ("secretsmanager:CreateSecret", HUB.removesuffix("-a1b2c3"), {}),
        ("batch:SubmitJob", f"{BATCH}:job-queue/dev-on-demand", JOB_TAGS),
        ("batch:SubmitJob", f"{BATCH}:job-queue/dev-priority", JOB_TAGS),
        ("batch:RegisterJobDefinition", DEFINITION, OF_DEV),
        ("batch:GetJobQueueSnapshot", f"{BATCH}:job-queue/dev-spot", {}),
        ("iam:PassRole", OWN_ROLE, TO_TASKS),
        ("sqs:ReceiveMessage", EVENTS, {}),
        ("logs:PutLogEvents", f"{LOGS}/host:log-stream:i-0a/server", {}),
        ("s3:PutObject", f"{RESULTS}/outputs/x", {}),
        (
            "cloudformation:SignalResource",
            f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/dev-host/0a1b",
            {},
        ),
    ],
    "operator": [
        ("batch:TerminateJob", f"{BATCH}:job/8f0c", {}),
        ("logs:GetLogEvents", f"{LOGS}/host:log-stream:i-0a/server", {}),
        (
            "cloudwatch:GetDashboard",
            f"arn:aws:cloudwatch::{ACCOUNT}:dashboard/dev-orchestrator",
            {},
        ),
        ("ssm:StartSession", INSTANCE, {"aws:ResourceTag/orchestrator:environment": "dev"}),
        (
            "ssm:StartSession",
            f"arn:aws:ssm:{REGION}::document/AWS-StartPortForwardingSession",
            {},
        ),
        (
            "ssm:TerminateSession",
            f"arn:aws:ssm:{REGION}:{ACCOUNT}:session/AROA1:ada-0a1b",
            {"aws:userid": "AROA1:ada"},
        ),
    ],
}


def _each(table: Mapping[str, list[Request]]) -> list[Any]:
    return [
        pytest.param(role, *request, id=f"{role}-{number}-{request[0]}")
        for role, requests in table.items()
        for number, request in enumerate(requests)
    ]


@pytest.mark.parametrize(("role", "action", "resource", "context"), _each(NEEDED))
def test_a_duty_can_be_done(
    role: str, action: str, resource: str, context: Context, roles: dict[str, Role]
) -> None:
    assert is_allowed(roles[role], action, resource, context)


# --- What nobody may ------------------------------------------------------------------------------

ANY_ROLE: list[Request] = [
    ("iam:CreateRole", f"arn:aws:iam::{ACCOUNT}:role/new", {}),
    ("iam:PutRolePolicy", f"arn:aws:iam::{ACCOUNT}:role/new", {}),
    ("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/administrator", TO_TASKS),
    ("sts:AssumeRole", f"arn:aws:iam::{ACCOUNT}:role/administrator", {}),
    ("ec2:RunInstances", INSTANCE, {}),
    ("ec2:TerminateInstances", ANOTHER, {}),
    ("ec2:CreateLaunchTemplateVersion", f"{EC2}:launch-template/lt-1", {}),
    ("ec2:ModifyInstanceAttribute", INSTANCE, ON_INSTANCE),
    ("ec2:ModifyInstanceAttribute", INSTANCE, {**LET_GO, "ec2:Attribute": "UserData"}),
    ("ec2:ModifyInstanceAttribute", INSTANCE, {**LET_GO, "ec2:Attribute": "GroupSet"}),
    ("ec2:ModifyInstanceAttribute", ANOTHER, {**LET_GO, "ec2:InstanceID": ANOTHER[-19:]}),
    (
        "ec2:AuthorizeSecurityGroupIngress",
        f"{EC2}:security-group/sg-1",
        {},
    ),
    ("batch:UpdateComputeEnvironment", f"{BATCH}:compute-environment/x", {}),
    ("batch:UpdateJobQueue", f"{BATCH}:job-queue/dev-spot", {}),
    ("s3:PutObject", f"{ASSETS}/tool", {}),
    ("s3:GetObject", "arn:aws:s3:::not-in-the-settings/key", {}),
    ("s3:PutBucketPolicy", RESULTS, {}),
    ("s3:PutObject", f"{REFERENCES}/genome.fa", {}),
    ("s3:DeleteObject", f"{RESULTS}/old", {}),
    (
        "ssm:PutParameter",
        f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/orchestrator/dev/deployment",
        {},
    ),
    ("ssm:GetParameter", f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/somebody/elses", {}),
    ("ssm:SendCommand", INSTANCE, {}),
    ("secretsmanager:GetSecretValue", SECRET.replace("registry", "another"), {}),
    ("ecr:PutImage", f"{ECR}/a/b", {}),
    ("ecr:CreateRepository", f"{ECR}/mine/b", {}),
    ("ecs:RunTask", f"arn:aws:ecs:{REGION}:{ACCOUNT}:task-definition/x:1", {}),
    ("logs:DeleteLogGroup", f"{LOGS}/jobs", {}),
    ("logs:PutLogEvents", f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/other:log-stream:x", {}),
    ("kms:Decrypt", f"arn:aws:kms:{REGION}:{ACCOUNT}:key/0a1b", {}),
    (
        "cloudformation:UpdateStack",
        f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/dev-host/1",
        {},
    ),
]
FORBIDDEN: dict[str, list[Request]] = {
    "worker": [
        ("cloudwatch:PutMetricData", "*", {}),
        ("ecs:RegisterContainerInstance", f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/shop", {}),
        ("ecs:TagResource", CLUSTER, {"ecs:CreateAction": "CreateCluster"}),
        ("logs:PutLogEvents", f"{LOGS}/jobs:log-stream:job/default/1", {}),
        ("logs:PutLogEvents", f"{LOGS}/host:log-stream:i-0a/report", {}),
        (
            "ssm:GetParameter",
            f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/orchestrator/dev/deployment",
            {},
        ),
        ("secretsmanager:GetSecretValue", SECRET, {}),
        ("secretsmanager:GetSecretValue", HUB, {}),
        ("batch:SubmitJob", f"{BATCH}:job-queue/dev-spot", JOB_TAGS),
        ("batch:DescribeJobs", "*", {}),
        ("s3:GetObject", f"{ASSETS}/another-asset", {}),
        ("s3:ListBucket", REFERENCES.replace("some-references", ASSETS[13:]), {}),
        # Volumes of others: not claimed, claimed by another, or claimed for another.
        ("ec2:ModifyVolume", VOLUME, FRESH_VOLUME),
        ("ec2:ModifyVolume", VOLUME, {**OWN_VOLUME, "ec2:SourceInstanceARN": ANOTHER}),
        ("ec2:DeleteVolume", VOLUME, {**OWN_VOLUME, "ec2:SourceInstanceARN": ANOTHER}),
        ("ec2:CreateTags", VOLUME, {**OWN_VOLUME, **FRESH_VOLUME, **CLAIM}),
        (
            "ec2:CreateTags",
            VOLUME,
            {**FRESH_VOLUME, **CLAIM, "aws:RequestTag/orchestrator:instance": ANOTHER},
        ),
        ("ec2:CreateTags", VOLUME, {**ON_INSTANCE, **CLAIM}),
        ("ec2:CreateTags", VOLUME, {**FRESH_VOLUME, **CLAIM, "aws:TagKeys": "another"}),
        ("ec2:CreateTags", INSTANCE, {**FRESH_VOLUME, **CLAIM}),
        ("ec2:CreateVolume", VOLUME, {**MAKE, "ec2:Encrypted": "false"}),
        ("ec2:CreateVolume", VOLUME, {**MAKE, "aws:RequestTag/orchestrator:instance": ANOTHER}),
        ("ec2:AttachVolume", ANOTHER, {**ON_INSTANCE, "ec2:InstanceID": ANOTHER[-19:]}),
        # Outside any instance the keys are absent, and nothing matches.
        ("ec2:ModifyVolume", VOLUME, {"aws:ResourceTag/orchestrator:instance": INSTANCE}),
    ],
    "job": [
        ("batch:SubmitJob", f"{BATCH}:job-queue/dev-spot", JOB_TAGS),
        ("s3:GetObject", f"{ASSETS}/tool", {}),
        ("secretsmanager:GetSecretValue", SECRET, {}),
        ("secretsmanager:GetSecretValue", HUB, {}),
        ("logs:PutLogEvents", f"{LOGS}/jobs:log-stream:x", {}),
    ],
    "execution": [
        ("s3:GetObject", f"{REFERENCES}/genome.fa", {}),
        ("secretsmanager:PutSecretValue", HUB, {}),
        ("secretsmanager:GetSecretValue", HUB.replace("/dev/", "/prod/"), {}),
    ],
    "orchestrator": [
        ("batch:SubmitJob", f"{BATCH}:job-queue/dev-spot", {}),
        ("batch:SubmitJob", f"{BATCH}:job-queue/prod-spot", JOB_TAGS),
        ("batch:SubmitJob", f"{BATCH}:job-definition/somebody-elses", JOB_TAGS),
        ("batch:RegisterJobDefinition", DEFINITION, {**OF_DEV, "batch:Privileged": "true"}),
        ("batch:RegisterJobDefinition", DEFINITION, {}),
        ("batch:RegisterJobDefinition", f"{BATCH}:job-definition/prod_orchestrator-1", OF_DEV),
        ("iam:PassRole", OWN_ROLE, {"iam:PassedToService": "ec2.amazonaws.com"}),
        ("sqs:ReceiveMessage", f"arn:aws:sqs:{REGION}:{ACCOUNT}:prod-batch-events", {}),
        ("secretsmanager:GetSecretValue", SECRET, {}),
        ("secretsmanager:PutSecretValue", SECRET, {}),
        ("secretsmanager:PutSecretValue", HUB.replace("/dev/", "/prod/"), {}),
        ("secretsmanager:PutSecretValue", HUB.replace("hub-", "hub-of-others-"), {}),
        ("secretsmanager:DeleteSecret", HUB, {}),
        ("logs:GetLogEvents", f"{LOGS}-2/jobs:log-stream:x", {}),
        (
            "cloudformation:SignalResource",
            f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/prod-host/0a1b",
            {},
        ),
    ],
    "operator": [
        ("batch:SubmitJob", f"{BATCH}:job-queue/dev-spot", JOB_TAGS),
        ("batch:GetJobQueueSnapshot", f"{BATCH}:job-queue/prod-spot", {}),
        ("ssm:StartSession", INSTANCE, {"aws:ResourceTag/orchestrator:environment": "prod"}),
        (
            "ssm:TerminateSession",
            f"arn:aws:ssm:{REGION}:{ACCOUNT}:session/AROA1:eve-0a1b",
            {"aws:userid": "AROA1:ada"},
        ),
        ("ssm:StartSession", f"arn:aws:ssm:{REGION}::document/AWS-RunRemoteScript", {}),
    ],
}
for _requests_of in FORBIDDEN.values():
    _requests_of += ANY_ROLE


@pytest.mark.parametrize(("role", "action", "resource", "context"), _each(FORBIDDEN))
def test_nothing_else_can_be_done(
    role: str, action: str, resource: str, context: Context, roles: dict[str, Role]
) -> None:
    assert not is_allowed(roles[role], action, resource, context)


@pytest.mark.parametrize("role", ["worker", "execution", "operator"])
def test_data_is_written_by_jobs_and_the_orchestrator_only(
    role: str, roles: dict[str, Role], bucket: str
) -> None:
    for prefix in ("workflows", "scratch", "other"):
        for action in ("s3:PutObject", "s3:DeleteObject"):
            assert not is_allowed(roles[role], action, f"{bucket}/{prefix}/key")
    if role != "operator":
        assert not is_allowed(roles[role], "s3:GetObject", f"{bucket}/workflows/key")


def test_no_job_writes_what_a_host_or_another_job_executes(
    synthesise: Callable[..., Mapping[str, Template]],
) -> None:
    """Not even where the settings say that it may write the very bucket of the assets."""
    careless = _deployed(
        synthesise(**{"set.storage.write_buckets": f'["{ASSETS.removeprefix("arn:aws:s3:::")}"]'})
    )
    executed = [
        resource
        for role in ("worker", "orchestrator")
        for statement in _by_duty(careless)[role].statements
        if statement.get("Sid") in ("ReadAssets", "ReadOrchestrator")
        for resource in statement["Resource"]
    ]
    assert len(executed) >= 8
    (bucket,) = [
        f"arn:aws:s3:::{part}-{name}".lower()
        for part, name, _ in careless.resources("AWS::S3::Bucket")
        if name.startswith("RootBucket")
    ]
    for target in [*executed, f"{bucket}/scratch/wrapper/0a1b.sh"]:
        for role in ("worker", "job", "execution"):
            for action in ("s3:PutObject", "s3:DeleteObject", "s3:PutObjectAcl"):
                assert not is_allowed(_by_duty(careless)[role], action, target)


def test_privileged_definitions_need_the_setting(
    synthesise: Callable[..., Mapping[str, Template]],
) -> None:
    made = _by_duty(_deployed(synthesise(**{"set.compute.fuse_mount": "true"})))
    request = {**OF_DEV, "batch:Privileged": "true"}
    assert is_allowed(made["orchestrator"], "batch:RegisterJobDefinition", DEFINITION, request)


def test_a_worker_reads_the_registries_secret_only_where_hosts_log_in(
    synthesise: Callable[..., Mapping[str, Template]],
) -> None:
    made = _by_duty(_deployed(synthesise(**{"set.registries.host_secret": SECRET})))
    assert is_allowed(made["worker"], "secretsmanager:GetSecretValue", SECRET)
    assert not is_allowed(made["job"], "secretsmanager:GetSecretValue", SECRET)


@pytest.mark.parametrize(
    ("way", "readers", "writes"),
    [
        ("pull_through", set(), {"GetSecretValue", "PutSecretValue"}),
        ("job_secret", {"execution"}, set(KEEP_LOGIN)),
        ("host_login", {"worker"}, set(KEEP_LOGIN)),
    ],
)
def test_the_login_to_docker_hub_is_read_by_whom_its_way_says_and_kept_by_the_orchestrator(
    synthesise: Callable[..., Mapping[str, Template]], way: str, readers: set[str], writes: set[str]
) -> None:
    made = _by_duty(_deployed(synthesise(**{"set.registries.docker_hub": way})))
    name = (
        "ecr-pullthroughcache/dev-hub" if way == "pull_through" else "orchestrator/dev/docker-hub"
    )
    secret = f"{SECRET.rpartition(':')[0]}:{name}-a1b2c3"
    read = {r for r in made if is_allowed(made[r], "secretsmanager:GetSecretValue", secret)}
    assert read == readers | {"orchestrator"}
    for action in (*KEEP_LOGIN, "DeleteSecret", "UpdateSecret", "PutResourcePolicy"):
        allowed = is_allowed(made["orchestrator"], f"secretsmanager:{action}", secret)
        assert allowed == (action in writes), action
        if action != "GetSecretValue":
            for role in ("worker", "job", "execution"):
                assert not is_allowed(made[role], f"secretsmanager:{action}", secret)
    pulls = is_allowed(made["execution"], "ecr:CreateRepository", f"{ECR}/dev-hub/library/ubuntu")
    assert pulls == (way == "pull_through")


def test_keys_are_used_by_way_of_s3_only(
    synthesise: Callable[..., Mapping[str, Template]],
) -> None:
    key = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f"
    made = _by_duty(_deployed(synthesise(**{"set.storage.kms_keys": f'["{key}"]'})))
    by_s3 = {"kms:ViaService": f"s3.{REGION}.amazonaws.com"}
    for role in ("job", "orchestrator"):
        assert is_allowed(made[role], "kms:GenerateDataKey", key, by_s3)
        assert not is_allowed(made[role], "kms:Decrypt", key)
    assert not is_allowed(made["worker"], "kms:Decrypt", key, by_s3)


def test_in_another_partition_nothing_is_of_the_first(
    synthesise: Callable[..., Mapping[str, Template]],
) -> None:
    region = "cn-north-1"
    made = synthesise(**{"set.region": region})
    deployed = _deployed(made, region)
    for role in deployed.roles().values():
        assert "arn:aws:" not in str(role.statements), role.name
        assert "amazonaws.com'" not in str(role.statements).replace(
            "ecs-tasks.amazonaws.com'", ""
        ), role.name
    role = _by_duty(deployed)["orchestrator"]
    queue = f"arn:aws-cn:batch:{region}:{ACCOUNT}:job-queue/dev-spot"
    assert is_allowed(role, "batch:SubmitJob", queue, JOB_TAGS)


def test_the_key_of_the_volumes_is_used_by_way_of_ec2_only(
    synthesise: Callable[..., Mapping[str, Template]],
) -> None:
    """A worker may add a volume; every job holds its role, and gets at no data by that."""
    key = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f"
    worker = _by_duty(_deployed(synthesise(**{"set.encryption.kms_key": key})))["worker"]
    by_ec2 = {"kms:ViaService": f"ec2.{REGION}.amazonaws.com"}
    grant = {**by_ec2, "kms:GrantIsForAWSResource": "true"}
    assert is_allowed(worker, "kms:GenerateDataKeyWithoutPlaintext", key, by_ec2)
    assert is_allowed(worker, "kms:CreateGrant", key, grant)
    assert not is_allowed(worker, "kms:CreateGrant", key, by_ec2)
    for context in ({}, {"kms:ViaService": f"s3.{REGION}.amazonaws.com"}):
        assert not is_allowed(worker, "kms:Decrypt", key, context)
        assert not is_allowed(
            worker, "kms:CreateGrant", key, {**grant, **context} if context else {}
        )


def test_the_function_that_makes_the_login_can_do_that_and_nothing_else(
    deployed: Deployed,
) -> None:
    (function,) = [
        role for role in deployed.roles().values() if "lambda.amazonaws.com" in str(role.trusted)
    ]
    ((part, cluster, _),) = deployed.resources("AWS::RDS::DBCluster")
    arn = f"arn:aws:rds:{REGION}:{ACCOUNT}:cluster:{deployed.value(part, {'Ref': cluster})}"
    secret = deployed.value(part, {"Fn::GetAtt": [cluster, "MasterUserSecret.SecretArn"]})
    assert is_allowed(function, "rds-data:ExecuteStatement", arn)
    assert is_allowed(function, "secretsmanager:GetSecretValue", secret)
    for action, resource in (
        ("rds-data:ExecuteStatement", f"{arn}-of-others"),
        ("rds-data:BatchExecuteStatement", arn),
        ("rds:ModifyDBCluster", arn),
        ("rds:DeleteDBCluster", arn),
        ("secretsmanager:GetSecretValue", SECRET),
        ("secretsmanager:PutSecretValue", secret),
        ("s3:GetObject", "arn:aws:s3:::any/key"),
        ("iam:PassRole", OWN_ROLE),
        ("ec2:CreateNetworkInterface", "*"),
        ("logs:CreateLogGroup", "*"),
        ("ssm:GetParameter", CONTRACT),
    ):
        assert not is_allowed(function, action, resource), action
