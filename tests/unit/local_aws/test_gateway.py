"""The door, the call counts and the faults, through HTTP as clients meet them."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError
from werkzeug.serving import make_server

from orchestrator.local_aws import gateway, keep_alive


class Server:
    """The gateway behind a real socket."""

    def __init__(self, state_dir: Path) -> None:
        self.gateway = gateway.Gateway(gateway.Settings(state_dir, jobs="process"))
        self._server = make_server(
            "127.0.0.1", 0, self.gateway, threaded=True, request_handler=keep_alive.Handler
        )
        self.url = self.gateway.endpoint = f"http://localhost:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def client(self, service: str, attempts: int = 1, **more: Any) -> Any:
        return boto3.client(  # type: ignore[call-overload]
            service,
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="a",
            aws_secret_access_key="b",
            config=Config(retries={"total_max_attempts": attempts, "mode": "standard"}, **more),
        )

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.url + path, data=data, method=method, headers=headers or {}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read())

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self.gateway.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("state"))
    yield server
    server.close()


@pytest.fixture
def server(shared: Server) -> Iterator[Server]:
    shared.ask("DELETE", "/_local-aws/calls")
    yield shared
    shared.ask("DELETE", "/_local-aws/faults")


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://evil.example"}, {"Host": "evil.example"}, {"Host": "evil.example:80"}],
)
def test_web_pages_are_refused(server: Server, headers: dict[str, str]) -> None:
    for path in ("/_local-aws/health", "/moto-api/reset", "/"):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            server.ask("POST", path, headers=headers)


def test_no_answer_lets_a_web_page_read_it(server: Server) -> None:
    with urllib.request.urlopen(server.url + "/_local-aws/health") as answer:
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]


def test_calls_are_counted_by_service_and_action(server: Server) -> None:
    s3, ssm = server.client("s3"), server.client("ssm")
    s3.create_bucket(Bucket="counted")
    for key in ("a", "b"):
        s3.put_object(Bucket="counted", Key=key, Body=b"1")
    s3.list_objects_v2(Bucket="counted")
    ssm.put_parameter(Name="counted", Type="String", Value="v")
    server.client("ec2").describe_vpcs()
    server.client("batch").describe_job_queues()
    with pytest.raises(ClientError):
        ssm.get_parameter(Name="none")
    assert server.ask("GET", "/_local-aws/calls") == {
        "batch": {"DescribeJobQueues": 1},
        "ec2": {"DescribeVpcs": 1},
        "s3": {"CreateBucket": 1, "ListObjectsV2": 1, "PutObject": 2},
        "ssm": {"GetParameter": 1, "PutParameter": 1},
    }


def test_who_called_what_is_told_by_the_access_key(server: Server) -> None:
    s3 = server.client("s3")
    s3.create_bucket(Bucket="called")
    s3.put_object(Bucket="called", Key="first/second/third", Body=b"x")
    (caller,) = made = server.ask("GET", "/_local-aws/callers")
    assert caller == s3._request_signer._credentials.access_key
    assert made[caller] == [
        ["s3", "CreateBucket", "called"],
        ["s3", "PutObject", "called/first"],
    ]


def test_what_cloudformation_does_itself_is_not_counted(server: Server) -> None:
    template = {"Resources": {"P": {"Type": "AWS::S3::Bucket"}}}
    server.client("cloudformation").create_stack(
        StackName="uncounted", TemplateBody=json.dumps(template)
    )
    assert server.ask("GET", "/_local-aws/calls") == {"cloudformation": {"CreateStack": 1}}


@pytest.mark.parametrize(
    ("service", "call", "arguments"),
    [
        ("s3", "list_buckets", {}),
        ("ssm", "get_parameter", {"Name": "n"}),
        ("batch", "describe_job_queues", {}),
        ("ec2", "describe_vpcs", {}),
        ("cloudformation", "describe_stacks", {}),
        ("logs", "describe_log_groups", {}),
    ],
)
def test_an_injected_error_has_the_form_of_its_protocol(
    server: Server, service: str, call: str, arguments: dict[str, Any]
) -> None:
    fault = {"match": f"^{service} ", "error": "ThrottlingException", "message": "slow down"}
    server.ask("POST", "/_local-aws/faults", fault)
    with pytest.raises(ClientError) as caught:
        getattr(server.client(service), call)(**arguments)
    error = caught.value.response
    assert (error["Error"]["Code"], error["Error"]["Message"]) == (
        "ThrottlingException",
        "slow down",
    )
    assert server.ask("GET", "/_local-aws/faults") == []


@pytest.mark.parametrize(
    ("service", "call", "arguments"),
    [
        ("s3", "list_buckets", {}),
        ("ssm", "get_parameter", {"Name": "n"}),
        ("batch", "describe_job_queues", {}),
        ("ec2", "describe_vpcs", {}),
        ("cloudformation", "describe_stacks", {}),
        ("cloudwatch", "describe_alarms", {}),
        ("rds", "describe_db_clusters", {}),
    ],
)
def test_a_defect_of_its_own_is_an_internal_failure_with_a_traceback_in_the_log(
    server: Server,
    service: str,
    call: str,
    arguments: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(*_: Any) -> Any:
        raise KeyError("<half> a module\x00")

    monkeypatch.setattr(server.gateway, "_moto", broken)
    monkeypatch.setattr(server.gateway, "_cloudformation", broken)
    with pytest.raises(ClientError) as caught:
        getattr(server.client(service), call)(**arguments)
    error = caught.value.response
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 500
    assert error["Error"]["Code"] == "InternalFailure"
    assert "KeyError" in error["Error"]["Message"]
    assert "<half> a module" in error["Error"]["Message"]
    assert "Traceback" in caplog.text


def test_requests_wait_until_the_services_are_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws = gateway.Gateway(gateway.Settings(tmp_path, jobs="process"))
    loading, proceed = threading.Event(), threading.Event()

    def load(_: Any) -> None:
        loading.set()
        assert proceed.wait(30)

    monkeypatch.setattr(aws._moto, "get_application", load)
    monkeypatch.setattr(gateway, "_WARM_UP", ("s3",))
    served: list[str] = []
    monkeypatch.setattr(aws, "_cloudformation", lambda *_: served.append("served") or [])
    aws.warm_up(lambda: None)
    assert loading.wait(30)
    request = threading.Thread(
        target=aws._serve, args=("cloudformation", {"PATH_INFO": "/"}, lambda *_: None)
    )
    request.start()
    request.join(0.2)
    assert request.is_alive()
    assert served == []
    proceed.set()
    request.join(30)
    assert served == ["served"]


def test_a_service_that_cannot_be_loaded_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws = gateway.Gateway(gateway.Settings(tmp_path, jobs="process"))
    told = threading.Event()

    def load(_: Any) -> None:
        raise ImportError("half a module")

    monkeypatch.setattr(aws._moto, "get_application", load)
    aws.warm_up(told.set)
    assert told.wait(30)


def test_faults_count_down_and_clients_get_through(server: Server) -> None:
    fault = {"match": "DescribeJobQueues", "error": "TooManyRequestsException", "status": 429}
    server.ask("POST", "/_local-aws/faults", [{**fault, "times": 2, "skip": 1}])
    batch = server.client("batch", attempts=4)
    batch.describe_job_queues()
    batch.describe_job_queues()
    assert server.ask("GET", "/_local-aws/calls") == {"batch": {"DescribeJobQueues": 4}}


@pytest.mark.parametrize(("lost", "happened"), [("before", False), ("after", True)])
def test_an_answer_is_lost_before_or_after_the_effect(
    server: Server, lost: str, happened: bool
) -> None:
    server.ask("POST", "/_local-aws/faults", {"match": "ssm PutParameter", "lost": lost})
    ssm = server.client("ssm")
    with pytest.raises(ConnectionClosedError):
        ssm.put_parameter(Name=f"lost-{lost}", Type="String", Value="v")
    found = ssm.get_parameters(Names=[f"lost-{lost}"])["Parameters"]
    assert bool(found) is happened


def test_a_delay_alone_answers_late(server: Server) -> None:
    server.ask("POST", "/_local-aws/faults", {"match": "DescribeVpcs", "delay_seconds": 0.3})
    ec2 = server.client("ec2")
    start = time.monotonic()
    ec2.describe_vpcs()
    assert time.monotonic() - start >= 0.3


@pytest.mark.parametrize(
    "rule", [{"match": "("}, {"match": "x", "erorr": "y"}, {"match": "x", "status": 200}, {}, "x"]
)
def test_a_wrong_rule_is_refused(server: Server, rule: Any) -> None:
    with pytest.raises(urllib.error.HTTPError, match="400"):
        server.ask("POST", "/_local-aws/faults", rule)
    assert server.ask("GET", "/_local-aws/faults") == []


def test_an_unknown_route_is_not_found(server: Server) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        server.ask("GET", "/_local-aws/nothing")


def test_reset_forgets_stacks_and_resources(server: Server) -> None:
    template = {"Resources": {"B": {"Type": "AWS::S3::Bucket"}}}
    server.client("cloudformation").create_stack(
        StackName="forgotten", TemplateBody=json.dumps(template)
    )
    server.ask("POST", "/moto-api/reset")
    stacks = server.client("cloudformation").describe_stacks()["Stacks"]
    assert "forgotten" not in [stack["StackName"] for stack in stacks]
    assert server.client("s3").list_buckets()["Buckets"] == []


def test_another_moto_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway.importlib.metadata, "version", lambda name: "5.3.0")
    with pytest.raises(RuntimeError, match=r"moto 5\.3\.0"):
        gateway.Gateway(gateway.Settings(tmp_path))


def test_a_patched_name_that_is_gone_is_an_error() -> None:
    from orchestrator.local_aws.moto_patches import MotoChanged, replace

    with pytest.raises(MotoChanged, match="no vanished"):
        replace(Server, "vanished", lambda original: original)
