"""Events of Batch, on their way through EventBridge to queues and topics that let them in."""

from __future__ import annotations

import json
import time
from typing import Any

from moto.batch.models import ComputeEnvironment, batch_backends

from tests.unit.local_aws.conftest import REGION, Cloud
from tests.unit.local_aws.deployed import Deployed, att, of, ref

ACCOUNT = "123456789012"
DEADLINE_SECONDS = 60.0


def letting_in(action: str, resource: Any, rule: Any) -> dict[str, Any]:
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": action,
        "Resource": resource,
        "Condition": {"ArnEquals": {"aws:SourceArn": rule}},
    }
    return {"Version": "2012-10-17", "Statement": [statement]}


def job_queue(cloud: Cloud, max_vcpus: int = 4) -> str:
    """A job queue; its environment is put in directly, as moto would ask for a network first."""
    environment: Any = ComputeEnvironment(  # type: ignore[abstract]
        cloud.name("environment"),
        "MANAGED",
        "ENABLED",
        {"type": "EC2", "maxvCpus": max_vcpus, "instanceTypes": ["m5"]},
        "role",
        ACCOUNT,
        REGION,
    )
    batch_backends[ACCOUNT][REGION]._compute_environments[environment.arn] = environment
    name = cloud.name("jobs")
    cloud.client("batch").create_job_queue(
        jobQueueName=name,
        priority=1,
        state="ENABLED",
        computeEnvironmentOrder=[{"order": 1, "computeEnvironment": environment.arn}],
    )
    return name


def submit(cloud: Cloud, queue: str, *command: str, vcpus: int = 1, **more: Any) -> str:
    batch = cloud.client("batch")
    definition = batch.register_job_definition(
        jobDefinitionName=cloud.name("definition"),
        type="container",
        containerProperties={
            "image": "busybox",
            "command": list(command),
            "resourceRequirements": [
                {"type": "VCPU", "value": str(vcpus)},
                {"type": "MEMORY", "value": "64"},
            ],
        },
    )["jobDefinitionArn"]
    job: str = batch.submit_job(jobName="j", jobQueue=queue, jobDefinition=definition, **more)[
        "jobId"
    ]
    return job


def received(cloud: Cloud, url: str, count: int) -> list[dict[str, Any]]:
    """The first `count` messages of a queue."""
    sqs, found = cloud.client("sqs"), []
    deadline = time.monotonic() + DEADLINE_SECONDS
    while len(found) < count and time.monotonic() < deadline:
        for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get(
            "Messages", []
        ):
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            found.append(json.loads(message["Body"]))
    assert len(found) >= count, found
    return found


def rule(name: str, pattern: dict[str, Any], *targets: dict[str, Any]) -> dict[str, Any]:
    return of("Events::Rule", Name=name, EventPattern=pattern, Targets=list(targets))


def rule_arn(name: str) -> str:
    return f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{name}"


def test_every_state_of_a_job_and_of_an_array_reaches_a_queue(
    cloud: Cloud, deploy: Deployed
) -> None:
    name = cloud.name("rule")
    pattern = {"source": ["aws.batch"], "detail-type": ["Batch Job State Change"]}
    allowed = letting_in("sqs:SendMessage", att("Q", "Arn"), rule_arn(name))
    deploy(
        {
            "Q": of("SQS::Queue"),
            "P": of("SQS::QueuePolicy", Queues=[ref("Q")], PolicyDocument=allowed),
            "R": rule(name, pattern, {"Id": "q", "Arn": att("Q", "Arn")}),
        }
    )
    queue = job_queue(cloud)
    job = submit(cloud, queue, "true")
    events = received(cloud, deploy["Q"], 5)
    statuses = [event["detail"]["status"] for event in events]
    assert statuses == ["SUBMITTED", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED"]
    last = events[-1]
    assert last["source"] == "aws.batch"
    assert last["account"] == ACCOUNT
    assert last["resources"] == [f"arn:aws:batch:{REGION}:{ACCOUNT}:job/{job}"]
    assert last["detail"]["container"]["exitCode"] == 0
    described = cloud.client("batch").describe_jobs(jobs=[job])["jobs"][0]
    assert last["detail"]["jobQueue"] == described["jobQueue"]
    assert last["detail"]["stoppedAt"] == described["stoppedAt"]
    array = submit(cloud, queue, "false", arrayProperties={"size": 2})
    ended = []
    while len(ended) < 3:
        ended += [e for e in received(cloud, deploy["Q"], 1) if e["detail"]["status"] == "FAILED"]
    assert {e["detail"]["jobId"] for e in ended} == {array, f"{array}:0", f"{array}:1"}


def test_a_queue_that_does_not_let_events_in_gets_none_and_the_others_do(
    cloud: Cloud, deploy: Deployed
) -> None:
    name = cloud.name("rule")
    pattern = {"source": ["aws.batch"], "detail": {"status": ["FAILED"]}}
    allowed = letting_in("sqs:SendMessage", att("Open", "Arn"), rule_arn(name))
    foreign = letting_in("sqs:SendMessage", att("Other", "Arn"), rule_arn("another"))
    deploy(
        {
            "Closed": of("SQS::Queue"),
            "Other": of("SQS::Queue"),
            "OtherPolicy": of("SQS::QueuePolicy", Queues=[ref("Other")], PolicyDocument=foreign),
            "Open": of("SQS::Queue"),
            "P": of("SQS::QueuePolicy", Queues=[ref("Open")], PolicyDocument=allowed),
            "R": rule(
                name,
                pattern,
                *({"Id": one, "Arn": att(one, "Arn")} for one in ("Closed", "Other", "Open")),
            ),
        }
    )
    job = submit(cloud, job_queue(cloud), "false")
    (event,) = received(cloud, deploy["Open"], 1)
    assert event["detail"]["jobId"] == job
    for closed in ("Closed", "Other"):
        answer = cloud.client("sqs").receive_message(QueueUrl=deploy[closed])
        assert "Messages" not in answer


def test_a_blocked_queue_is_told_to_people_in_words_of_the_rule(
    cloud: Cloud, deploy: Deployed
) -> None:
    name = cloud.name("rule")
    pattern = {"source": ["aws.batch"], "detail-type": ["Batch Job Queue Blocked"]}
    transformer = {
        "InputPathsMap": {"why": "$.detail.statusReason", "job": "$.detail.jobId"},
        "InputTemplate": '"job <job> waits: <why>"',
    }
    subscribers = letting_in("sqs:SendMessage", att("Q", "Arn"), ref("T"))
    subscribers["Statement"][0]["Principal"] = {"Service": "sns.amazonaws.com"}
    deploy(
        {
            "T": of("SNS::Topic"),
            "TP": of(
                "SNS::TopicPolicy",
                Topics=[ref("T")],
                PolicyDocument=letting_in("sns:Publish", ref("T"), rule_arn(name)),
            ),
            "Q": of("SQS::Queue"),
            "QP": of("SQS::QueuePolicy", Queues=[ref("Q")], PolicyDocument=subscribers),
            "S": of(
                "SNS::Subscription", TopicArn=ref("T"), Protocol="sqs", Endpoint=att("Q", "Arn")
            ),
            "R": rule(name, pattern, {"Id": "t", "Arn": ref("T"), "InputTransformer": transformer}),
        }
    )
    job = submit(cloud, job_queue(cloud), "true", vcpus=64)
    (notification,) = received(cloud, deploy["Q"], 1)
    text = json.loads(notification["Message"])
    assert text.startswith(f"job {job} waits: MISCONFIGURATION:")
    cloud.client("batch").terminate_job(jobId=job, reason="the test is over")


def test_events_of_a_program_of_ones_own_arrive_too(cloud: Cloud, deploy: Deployed) -> None:
    name = cloud.name("rule")
    allowed = letting_in("sqs:SendMessage", att("Q", "Arn"), rule_arn(name))
    deploy(
        {
            "Q": of("SQS::Queue"),
            "P": of("SQS::QueuePolicy", Queues=[ref("Q")], PolicyDocument=allowed),
            "R": rule(name, {"source": ["mine"]}, {"Id": "q", "Arn": att("Q", "Arn")}),
        }
    )
    for source in ("other", "mine"):
        cloud.client("events").put_events(
            Entries=[{"Source": source, "DetailType": "d", "Detail": json.dumps({"a": source})}]
        )
    (event,) = received(cloud, deploy["Q"], 1)
    assert event["detail"] == {"a": "mine"}
    assert event["time"].endswith("Z")
    assert set(event) == {
        *("version", "id", "detail-type", "source", "account"),
        *("time", "region", "resources", "detail"),
    }


def test_a_disabled_rule_sends_nothing(cloud: Cloud, deploy: Deployed) -> None:
    name = cloud.name("rule")
    allowed = letting_in("sqs:SendMessage", att("Q", "Arn"), rule_arn(name))
    disabled = rule(name, {"source": ["mine"]}, {"Id": "q", "Arn": att("Q", "Arn")})
    disabled["Properties"]["State"] = "DISABLED"
    deploy(
        {
            "Q": of("SQS::Queue"),
            "P": of("SQS::QueuePolicy", Queues=[ref("Q")], PolicyDocument=allowed),
            "R": disabled,
        }
    )
    entry = {"Source": "mine", "DetailType": "d", "Detail": "{}"}
    cloud.client("events").put_events(Entries=[entry])
    assert "Messages" not in cloud.client("sqs").receive_message(QueueUrl=deploy["Q"])
