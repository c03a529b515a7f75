"""How a worker host gets at an image: under which name, with whose login.

What the environment was deployed with stands in the contract; the configuration adds a mirror of
Docker Hub (`docker-mirror`) and the login there (`dockerhub`). That login lies in one secret, which
this module keeps as the configuration says, in the shape that the environment's way needs:

    pull_through  ECR logs in and fetches; jobs pull from ECR, under other names
    job_secret    the execution role reads it; job definitions name it (`repositoryCredentials`)
    host_login    hosts read it when they boot; nothing about a job changes
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog

from orchestrator.backends.aws_batch import images, refusals
from orchestrator.deployment import Deployment, DockerHub

if TYPE_CHECKING:
    from types_boto3_secretsmanager import SecretsManagerClient

_log = structlog.get_logger(__name__)
# What Docker calls its own registry where it keeps logins.
_HUB_IN_LOGINS = "https://index.docker.io/v1/"


@dataclass(frozen=True, slots=True)
class Login:
    """Who pulls from Docker Hub. `kms_key` encrypts the secret that jobs pull with, as it is made;
    empty: the account's own key of Secrets Manager."""

    username: str
    password: str = field(repr=False)
    kms_key: str = ""


class Registries:
    """Names and logins of images in one environment."""

    def __init__(
        self,
        deployment: Deployment,
        *,
        mirror: str = "",
        login: Login | None = None,
        secrets: Callable[[], SecretsManagerClient] | None = None,
    ) -> None:
        """Makes no call. `mirror` takes the place of `docker.io` in names, whatever the contract
        says; `secrets` makes the client that `login` is kept with."""
        known = deployment.registries
        self._deployment = deployment
        self._rewrites = known.rewrites | ({images.DOCKER_HUB: mirror} if mirror else {})
        self._hub = None if mirror else known.docker_hub
        self._login = login
        self._secrets = secrets
        self._lock = threading.Lock()
        self._kept: str | None = None
        if login and not self._hub:
            _log.warning(
                "the login of dockerhub is not used",
                reason="docker-mirror says where images come from"
                if mirror
                else "the environment has its own way to Docker Hub, or none",
            )

    def pulled(self, name: str) -> str:
        """The image's name on a worker host. Raises InvalidRuntimeAttribute."""
        image = images.parse(name)
        prefix = self._rewrites.get(image.registry)
        return image.below(prefix) if prefix else name

    def credentials(self, name: str) -> str | None:
        """The ARN of the secret that a job pulls the image with; None where it needs none.

        Before the first image of Docker Hub the login is written, where the configuration has one.
        Raises NotAllowed, TryLater.
        """
        image = images.parse(self.pulled(name))
        arn = self._deployment.registries.secrets.get(image.registry)
        if arn or self._hub is None or images.parse(name).registry != images.DOCKER_HUB:
            return arn
        kept = self._keep_login(self._hub)
        return kept if self._hub.way == "job_secret" else None

    def unreachable(self, name: str) -> str | None:
        """Why no worker of this environment can ever pull the image; None where one can. Raises
        InvalidRuntimeAttribute for what cannot be an image."""
        deployment = self._deployment
        image = images.parse(self.pulled(name))
        if deployment.registries.internet:
            return None
        domain = "amazonaws.com.cn" if deployment.region.startswith("cn-") else "amazonaws.com"
        host = rf"\d{{12}}\.dkr\.ecr\.{re.escape(f'{deployment.region}.{domain}')}"
        if re.fullmatch(host, image.registry):
            return None
        target = f"{deployment.account}.dkr.ecr.{deployment.region}.{domain}"
        return (
            f"image {name} is not in ECR of {deployment.region}, and hosts of this environment "
            f"reach no other registry (egress = endpoints). Copy it to {target}/..., or give its "
            f"registry a pull-through rule and pull it once from a machine with internet, which "
            f"fills the cache: docker pull {image.below(f'{target}/PREFIX')}"
        )

    def _keep_login(self, hub: DockerHub) -> str | None:
        """The secret holds the login; its ARN. Without a login nothing is there to be kept."""
        if self._login is None or self._secrets is None:
            return None
        with self._lock:
            if self._kept is None:
                value = json.dumps(_shape(hub, self._login), sort_keys=True)
                with refusals.translated(f"keeping the login of Docker Hub in secret {hub.secret}"):
                    self._kept = _put(
                        self._secrets(),
                        hub.secret,
                        value,
                        # Hosts and ECR could not read it: they may use no key of somebody's own.
                        self._login.kms_key if hub.way == "job_secret" else "",
                        self._deployment,
                    )
            return self._kept


def _shape(hub: DockerHub, login: Login) -> dict[str, Any]:
    """ECR's, that of `repositoryCredentials`, and that of the ECS agent's `ECS_ENGINE_AUTH_DATA`.

    Sources: ECR User Guide, "Creating a pull through cache rule"; ECS Developer Guide, "Using
    non-AWS container images", and "Private registry authentication" of container instances.
    """
    match hub.way:
        case "pull_through":
            return {"username": login.username, "accessToken": login.password}
        case "job_secret":
            return {"username": login.username, "password": login.password}
        case "host_login":
            return {_HUB_IN_LOGINS: {"username": login.username, "password": login.password}}


def _put(
    client: SecretsManagerClient, name: str, value: str, kms_key: str, deployment: Deployment
) -> str:
    """Make the secret, or give it a new version where the value is another. Returns the ARN.

    Servers may do this at the same time: what one has made, another finds.
    """
    refused = client.exceptions
    try:
        found = client.get_secret_value(SecretId=name)
        if found.get("SecretString") == value:
            return found["ARN"]
    except refused.ResourceNotFoundException:
        options: dict[str, Any] = {"KmsKeyId": kms_key} if kms_key else {}
        try:
            made = client.create_secret(
                Name=name,
                Description="Docker Hub, as dockerhub of the orchestrator's configuration says",
                SecretString=value,
                Tags=[{"Key": "orchestrator:environment", "Value": deployment.environment}],
                **options,
            )
        except refused.ResourceExistsException:
            pass  # made just now by another server, or there without a value
        else:
            _log.info("the login of Docker Hub is kept", secret=name)
            return made["ARN"]
    except refused.InvalidRequestException:
        client.restore_secret(SecretId=name)  # somebody deleted it some days ago
    answer = client.put_secret_value(SecretId=name, SecretString=value)
    _log.info("the login of Docker Hub has changed", secret=name)
    return answer["ARN"]
