"""Names and logins of images: through caches and mirrors, by secrets, by hosts."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog

from orchestrator import assembly, errors
from orchestrator.backends.aws_batch.job_definitions import container_properties
from orchestrator.backends.aws_batch.registries import Login, Registries
from orchestrator.config import settings
from orchestrator.deployment import Deployment, DockerHub
from orchestrator.deployment import Registries as Known
from orchestrator.model.job import Shape
from tests.batch_cloud import Cloud

from .conftest import collect, submission
from .test_backend import DEPLOYMENT

ECR = "123456789012.dkr.ecr.us-east-1.amazonaws.com"
SECRET = "arn:aws:secretsmanager:us-east-1:123456789012:secret:lab-a1b2c3"
HUB = "https://index.docker.io/v1/"


def with_registries(known: Known, deployment: Deployment = DEPLOYMENT) -> Deployment:
    return deployment.model_copy(update={"registries": known})


CACHED = with_registries(
    Known(
        rewrites={"docker.io": f"{ECR}/docker-hub", "quay.io": f"{ECR}/quay"},
        secrets={"registry.lab.org": SECRET, "mirror.lab.org:5000": SECRET},
    )
)
CLOSED = with_registries(CACHED.registries.model_copy(update={"internet": False}))


# --- Names


@pytest.mark.parametrize(
    ("image", "pulled"),
    [
        ("ubuntu", f"{ECR}/docker-hub/library/ubuntu"),
        ("ubuntu:22.04", f"{ECR}/docker-hub/library/ubuntu:22.04"),
        (f"a/bwa@sha256:{'ab' * 32}", f"{ECR}/docker-hub/a/bwa@sha256:{'ab' * 32}"),
        ("docker.io/ubuntu", f"{ECR}/docker-hub/library/ubuntu"),
        ("index.docker.io/library/ubuntu", f"{ECR}/docker-hub/library/ubuntu"),
        ("quay.io/a/b/c:1", f"{ECR}/quay/a/b/c:1"),
        ("ghcr.io/a/b", "ghcr.io/a/b"),
        ("localhost:5000/a", "localhost:5000/a"),
        (f"{ECR}/mine:1", f"{ECR}/mine:1"),
    ],
)
def test_images_come_through_the_cache_of_their_registry(image: str, pulled: str) -> None:
    assert Registries(CACHED).pulled(image) == pulled
    assert Registries(DEPLOYMENT).pulled(image) == image
    assert container_properties(CACHED, Shape(image=image))["image"] == pulled


def test_a_mirror_of_the_configuration_takes_the_place_of_docker_hub() -> None:
    registries = Registries(CACHED, mirror="mirror.lab.org:5000/hub")
    assert registries.pulled("ubuntu:1") == "mirror.lab.org:5000/hub/library/ubuntu:1"
    assert registries.credentials("ubuntu:1") == SECRET  # the mirror's own
    assert registries.pulled("quay.io/a/b") == f"{ECR}/quay/a/b"


@pytest.mark.parametrize(
    ("image", "reachable"),
    [
        ("ubuntu", True),  # through the cache
        (f"{ECR}/mine:1", True),
        ("ghcr.io/a/b", False),
        ("public.ecr.aws/x/y", False),
        (f"{ECR.replace('us-east-1', 'eu-west-1')}/mine", False),
        (f"{ECR}.evil.example/mine", False),
        (f"{ECR}:444/mine", False),
    ],
)
def test_without_internet_only_ecr_of_the_region_is_reached(image: str, reachable: bool) -> None:
    reason = Registries(CLOSED).unreachable(image)
    assert (reason is None) is reachable
    assert Registries(CACHED).unreachable(image) is None
    if reason is not None:
        assert f"docker pull {ECR}/PREFIX/" in reason


def test_ecr_in_china_has_another_domain() -> None:
    closed = CLOSED.model_copy(update={"region": "cn-north-1"})
    ecr = "123456789012.dkr.ecr.cn-north-1.amazonaws.com"
    assert Registries(closed).unreachable(f"{ecr}.cn/mine") is None
    assert f"{ecr}.cn/..." in str(Registries(closed).unreachable(f"{ecr}/mine"))


# --- Logins


def test_a_registry_with_a_secret_is_pulled_with_it_and_others_are_not() -> None:
    asked = container_properties(CACHED, Shape(image="registry.lab.org/a:1"))
    assert asked["repositoryCredentials"] == {"credentialsParameter": SECRET}
    assert "repositoryCredentials" not in container_properties(CACHED, Shape(image="quay.io/a/b"))


def hub(way: Any, name: str) -> Known:
    rewrites = {"docker.io": f"{ECR}/docker-hub"} if way == "pull_through" else {}
    return Known(rewrites=rewrites, docker_hub=DockerHub(way=way, secret=name))


@pytest.fixture
def name() -> str:
    return f"orchestrator/test/{uuid.uuid4().hex}"


@pytest.mark.parametrize(
    ("way", "pulled", "value"),
    [
        (
            "pull_through",
            f"{ECR}/docker-hub/a/b",
            {"username": "ali", "accessToken": "open:sesame"},
        ),
        ("job_secret", "a/b", {"username": "ali", "password": "open:sesame"}),
        ("host_login", "a/b", {HUB: {"username": "ali", "password": "open:sesame"}}),
    ],
)
def test_one_login_serves_all_three_ways(
    cloud: Cloud, name: str, way: str, pulled: str, value: dict[str, Any]
) -> None:
    deployment = with_registries(hub(way, name), cloud.deployment)
    secrets = cloud.client("secretsmanager")
    registries = Registries(deployment, login=Login("ali", "open:sesame"), secrets=lambda: secrets)
    registries.credentials("quay.io/a/b")
    with pytest.raises(secrets.exceptions.ResourceNotFoundException):
        secrets.describe_secret(SecretId=name)  # nothing needs it yet
    properties = container_properties(deployment, Shape(image="a/b"), registries)
    kept = secrets.get_secret_value(SecretId=name)
    assert json.loads(kept["SecretString"]) == value
    assert properties["image"] == pulled
    credentials = {"credentialsParameter": kept["ARN"]} if way == "job_secret" else None
    assert properties.get("repositoryCredentials") == credentials
    assert "sesame" not in json.dumps(properties)


def _once(
    cloud: Cloud, name: str, password: str, way: str = "job_secret", **more: Any
) -> str | None:
    """What a process that starts with this password makes of the secret."""
    deployment = with_registries(hub(way, name), cloud.deployment)
    secrets = cloud.client("secretsmanager")
    login = Login("ali", password, **more)
    return Registries(deployment, login=login, secrets=lambda: secrets).credentials("ubuntu")


def test_a_login_is_written_once_and_again_when_it_changes(cloud: Cloud, name: str) -> None:
    secrets = cloud.client("secretsmanager")

    def versions() -> int:
        return len(
            secrets.list_secret_version_ids(SecretId=name, IncludeDeprecated=True)["Versions"]
        )

    arn = _once(cloud, name, "one")
    assert _once(cloud, name, "one") == arn
    assert versions() == 1
    assert _once(cloud, name, "two") == arn
    assert versions() == 2
    kept = json.loads(secrets.get_secret_value(SecretId=name)["SecretString"])
    assert kept == {"username": "ali", "password": "two"}
    tags = secrets.describe_secret(SecretId=name)["Tags"]
    assert {"Key": "orchestrator:environment", "Value": "test"} in tags


def test_a_process_asks_once(cloud: Cloud, name: str) -> None:
    deployment = with_registries(hub("job_secret", name), cloud.deployment)
    secrets, made = cloud.client("secretsmanager"), []

    def client() -> Any:
        made.append(1)
        return secrets

    registries = Registries(deployment, login=Login("ali", "x"), secrets=client)
    found = {registries.credentials(image) for image in ("ubuntu", "ubuntu:2", "a/b") for _ in "12"}
    assert len(found) == len(made) == 1


def test_a_secret_that_somebody_deleted_comes_back(cloud: Cloud, name: str) -> None:
    secrets = cloud.client("secretsmanager")
    arn = _once(cloud, name, "one")
    secrets.delete_secret(SecretId=name, RecoveryWindowInDays=7)
    assert _once(cloud, name, "one") == arn
    assert "one" in secrets.get_secret_value(SecretId=name)["SecretString"]
    secrets.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
    assert _once(cloud, name, "one") is not None


def test_a_secret_without_a_value_gets_one(cloud: Cloud, name: str) -> None:
    """The stacks, or another server just now, have made it."""
    secrets = cloud.client("secretsmanager")
    arn = secrets.create_secret(Name=name)["ARN"]
    assert _once(cloud, name, "one") == arn
    assert "one" in secrets.get_secret_value(SecretId=name)["SecretString"]


def test_the_secret_is_encrypted_with_the_key_of_the_configuration(cloud: Cloud, name: str) -> None:
    key = cloud.client("kms").create_key()["KeyMetadata"]["Arn"]
    _once(cloud, name, "one", kms_key=key)
    secrets = cloud.client("secretsmanager")
    assert secrets.describe_secret(SecretId=name)["KmsKeyId"] == key
    _once(cloud, f"{name}-of-hosts", "one", way="host_login", kms_key=key)
    assert secrets.describe_secret(SecretId=f"{name}-of-hosts").get("KmsKeyId") != key


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("AccessDeniedException", 400, errors.NotAllowed),
        ("ThrottlingException", 400, errors.TryLater),
        ("InternalServiceError", 500, errors.TryLater),
    ],
)
def test_a_refusal_names_the_secret_and_never_the_login(
    name: str, code: str, status: int, error: type[Exception]
) -> None:
    from botocore.exceptions import ClientError

    class Refusing:
        class exceptions:
            ResourceNotFoundException = InvalidRequestException = KeyError

        def get_secret_value(self, **_: Any) -> Any:
            answer: Any = {"Error": {"Code": code, "Message": "no"}}
            answer["ResponseMetadata"] = {"HTTPStatusCode": status}
            raise ClientError(answer, "GetSecretValue")

    deployment = with_registries(hub("job_secret", name))
    client: Callable[[], Any] = Refusing
    registries = Registries(deployment, login=Login("ali", "sesame"), secrets=client)
    with pytest.raises(error, match=name) as caught:
        registries.credentials("ubuntu")
    assert "sesame" not in str(caught.value)


def test_a_login_that_the_environment_cannot_use_is_said_once() -> None:
    with structlog.testing.capture_logs() as logs:
        registries = Registries(CACHED, login=Login("ali", "sesame"))
        for _ in range(3):
            assert registries.credentials("ubuntu") is None
    assert [entry["log_level"] for entry in logs] == ["warning"]
    assert "sesame" not in repr(logs)


def test_a_configuration_of_cromwells_pulls_with_its_login_and_nothing_shows_it(
    cloud: Cloud, name: str, tmp_path: Path
) -> None:
    deployment = with_registries(hub("job_secret", name), cloud.deployment)
    path = tmp_path / "aws.conf"
    path.write_text(
        f"""include required(classpath("application"))
        aws {{ region = us-east-1, endpoint-url = "{cloud.endpoint}", auths = [
          {{ name = k, scheme = custom_keys, access-key = test, secret-key = test }}
          {{ name = of-secrets, scheme = custom_keys, access-key = other, secret-key = test }} ] }}
        engine.filesystems.s3.auth = k
        s3.server-side-encryption = AES256
        orchestrator.deployment = {deployment.model_dump_json()}
        backend {{ default = B, providers {{ B {{
          actor-factory = "cromwell.backend.impl.aws.AwsBatchBackendLifecycleActorFactory"
          config {{
            root = "s3://root-bucket/private"
            filesystems.s3.auth = k
            dockerhub {{ account = ali, token = sesame, auth = of-secrets }}
          }} }} }} }}
        database.db.url = "jdbc:sqlite:{tmp_path}/orchestrator.db"
        """
    )
    with structlog.testing.capture_logs() as logs:
        made = assembly.assemble(settings.load(path), verified=True)
        try:
            backend: Any = made.backends["B"]
            job = submission(backend, "env")
            job_id = backend.submit(job)
            [change] = collect(backend, 1)
        finally:
            made.close()
    assert change.failure is None
    batch = cloud.client("batch")
    [described] = batch.describe_jobs(jobs=[job_id])["jobs"]
    [definition] = batch.describe_job_definitions(jobDefinitions=[described["jobDefinition"]])[
        "jobDefinitions"
    ]
    secret = cloud.client("secretsmanager").describe_secret(SecretId=name)
    asked = definition["containerProperties"]["repositoryCredentials"]
    assert asked == {"credentialsParameter": secret["ARN"]}
    keys = cloud.keys("s3://root-bucket/private/")
    assert keys
    objects = [cloud.get(f"s3://root-bucket/{key}") for key in keys]
    assert b"sesame" not in b"".join(objects)
    for text in (repr(logs), json.dumps([definition, described], default=str)):
        assert "sesame" not in text
    # The rest of the file holds as well: all that was written is encrypted.
    for key in keys:
        head = cloud.client("s3").head_object(Bucket="root-bucket", Key=key)
        assert head["ServerSideEncryption"] == "AES256"
