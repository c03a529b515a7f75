"""`aws`: the names that credentials go by, and where AWS is."""

from __future__ import annotations

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from orchestrator import errors
from orchestrator.config.keys import Keys


class DefaultAuth(Keys):
    """The SDK's own chain: environment, profile, container, instance."""

    name: str
    scheme: Literal["default"]


class CustomKeys(Keys):
    """Static keys."""

    name: str
    scheme: Literal["custom_keys"]
    access_key: str
    secret_key: SecretStr
    session_token: SecretStr | None = None


class AssumeRole(Keys):
    """A role, assumed with the credentials of another auth."""

    name: str
    scheme: Literal["assume_role"]
    base_auth: str
    role_arn: str
    external_id: str = ""


Auth = Annotated[DefaultAuth | CustomKeys | AssumeRole, Field(discriminator="scheme")]


class Aws(Keys):
    """`aws`. `endpoint_url`: where AWS is, when it is not AWS itself."""

    application_name: str | None = None  # Cromwell requires it; nothing here uses it
    region: str | None = None
    endpoint_url: str | None = None
    auths: tuple[Auth, ...] = ()

    @field_validator("endpoint_url")
    @classmethod
    def _http(cls, value: str | None) -> str | None:
        if value is not None and urlsplit(value).scheme not in ("http", "https"):
            raise ValueError("expected a URL such as http://127.0.0.1:5000")
        return value

    @model_validator(mode="after")
    def _names(self) -> Self:
        names = [auth.name for auth in self.auths]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two auths have the name {name!r}")
        for auth in self.auths:
            if isinstance(auth, AssumeRole):
                self._chain(auth)
        return self

    def _chain(self, auth: AssumeRole) -> None:
        by_name = {auth.name: auth for auth in self.auths}
        seen = {auth.name}
        base = by_name.get(auth.base_auth)
        while True:
            if base is None:
                raise ValueError(f"the base-auth of {auth.name!r} is not among aws.auths")
            if base.name in seen:
                raise ValueError(f"the base-auth of {auth.name!r} leads back to itself")
            if not isinstance(base, AssumeRole):
                return
            seen.add(base.name)
            base = by_name.get(base.base_auth)

    def auth(self, name: str) -> DefaultAuth | CustomKeys | AssumeRole:
        """The auth of this name. Raises InvalidConfig."""
        for auth in self.auths:
            if auth.name == name:
                return auth
        known = ", ".join(auth.name for auth in self.auths) or "none"
        raise errors.InvalidConfig(
            f"there is no auth {name!r} in aws.auths", hint=f"known there: {known}"
        )
