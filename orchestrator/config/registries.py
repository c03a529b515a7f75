"""`dockerhub`, `docker-mirror` of an AWS Batch provider: where images of Docker Hub come from."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Self

from pydantic import Field, SecretStr, field_validator, model_validator

from orchestrator.config.keys import Keys

_ADDRESS = re.compile(r"[A-Za-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)*")


class DockerHub(Keys):
    """The login there. `token` is base64 of `user:password`, as Cromwell has it, or else an access
    token of `account`. A template's empty keys say nothing.

    `auth`: the auth that the secret is kept with, the provider's where it is not given. `key_name`:
    the KMS key that encrypts the secret that jobs pull with, when it is made.
    """

    account: str = ""
    token: SecretStr = SecretStr("")
    auth: str | None = None
    key_name: str = ""

    def login(self) -> tuple[str, str] | None:
        """User and password; None where there are none, `problem` says why."""
        token = self.token.get_secret_value().strip()
        user, colon, password = _decoded(token).partition(":")
        if token and colon and user and password:
            return user, password
        return (self.account, token) if token and self.account else None

    @property
    def problem(self) -> str:
        """Why nobody can log in by this."""
        token = self.token.get_secret_value().strip()
        user, colon, _ = _decoded(token).partition(":")
        if not token:
            return "there is no token"
        if self.account and colon and user != self.account:
            return f"token is that of {user!r}, which is used, and account is {self.account!r}"
        if self.login() is None:
            return "token is not base64 of user:password, and there is no account that it is of"
        return ""


class Mirror(Keys):
    """What takes the place of a registry in the names of images: a host, and a prefix there."""

    enabled: bool = True
    address: str = ""

    @field_validator("address")
    @classmethod
    def _place(cls, value: str) -> str:
        value = value.rstrip("/")
        if value and not _ADDRESS.fullmatch(value):
            raise ValueError(
                "expected a registry's host and perhaps a prefix, such as "
                "123456789012.dkr.ecr.us-east-1.amazonaws.com/docker-hub"
            )
        return value

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        if self.enabled and not self.address:
            raise ValueError("enabled without address")
        return self


class Mirrors(Keys):
    """`docker-mirror`. Not enabled: the environment's own caches are used all the same."""

    dockerhub: Mirror = Field(default_factory=lambda: Mirror(enabled=False))

    @property
    def docker_hub(self) -> str:
        """The address of Docker Hub's mirror; empty where there is none."""
        return self.dockerhub.address if self.dockerhub.enabled else ""


def _decoded(token: str) -> str:
    """The text that base64 stands for, however its lines are broken; empty for all else."""
    try:
        return base64.b64decode("".join(token.split()), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
