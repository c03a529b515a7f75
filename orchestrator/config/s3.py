"""`s3`: how Amazon S3, or another store that speaks as it does, is spoken to, here and by jobs.

`accelerate-mode`, `dual-stack` and `path-style-access` are Cromwell's, where they have no effect
(cloudsupport/aws/s3/S3Storage.scala). The others are ours.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from botocore.utils import is_valid_endpoint_url
from pydantic import Field, field_validator, model_validator

from orchestrator.config.keys import Keys

# What the job wrapper gives to each s5cmd besides: the two meet in this name.
_FLAGS = "ORCHESTRATOR_S3_FLAGS"
_ACCELERATED = "https://s3-accelerate.amazonaws.com"


class S3(Keys):
    """`endpoint_url`: of S3 alone, as engine and jobs reach it; without it `aws.endpoint-url`.

    `requester_pays`: readers agree to pay for what they read from other people's buckets.
    `server_side_encryption` and `kms_key` (id, alias or ARN) of everything that is written; without
    them the bucket's own default holds.
    """

    accelerate_mode: bool = False
    dual_stack: bool = False
    path_style_access: bool = False
    endpoint_url: str | None = None
    requester_pays: bool = False
    server_side_encryption: Literal["AES256", "aws:kms", "aws:kms:dsse"] | None = None
    kms_key: Annotated[str, Field(pattern=r"^[A-Za-z0-9:/_-]*$")] = ""

    @field_validator("endpoint_url")
    @classmethod
    def _http(cls, value: str | None) -> str | None:
        if value is not None:
            parts = urlsplit(value)
            odd = parts.username or parts.query or parts.fragment
            if parts.scheme not in ("http", "https") or odd or not is_valid_endpoint_url(value):
                raise ValueError("expected a URL such as https://s3.example.org:9000")
        return value

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.endpoint_url and (self.dual_stack or self.accelerate_mode):
            raise ValueError("endpoint-url excludes what is AWS's: dual-stack, accelerate-mode")
        if self.accelerate_mode and self.path_style_access:
            raise ValueError("accelerate-mode excludes path-style-access (Amazon S3 User Guide)")
        if self.kms_key and self.server_side_encryption == "AES256":
            raise ValueError("kms-key asks for aws:kms, and server-side-encryption is AES256")
        return self

    @property
    def encryption(self) -> str:
        """What objects are encrypted with when they are written; empty: their bucket says."""
        return self.server_side_encryption or ("aws:kms" if self.kms_key else "")

    def options(self, *, elsewhere: bool) -> dict[str, Any]:
        """For `s3` of `botocore.config.Config`. `elsewhere`: clients have an endpoint of their own,
        where only AWS's own DNS would resolve a bucket's name before the host."""
        if elsewhere:
            return {"addressing_style": "path"}
        found: dict[str, Any] = {}
        if self.path_style_access:
            found["addressing_style"] = "path"
        if self.dual_stack:
            found["use_dualstack_endpoint"] = True
        if self.accelerate_mode:
            found["use_accelerate_endpoint"] = True
        return found

    def prepare(self, client: Any) -> Any:
        """The same client, whose every request says who pays and how objects are encrypted."""
        more = {"RequestPayer": "requester"} if self.requester_pays else {}
        if self.encryption:
            more["ServerSideEncryption"] = self.encryption
        if self.kms_key:
            more["SSEKMSKeyId"] = self.kms_key

        def add(params: dict[str, Any], model: Any, **_: Any) -> dict[str, Any]:
            known = model.input_shape.members if model.input_shape else {}
            return {key: value for key, value in more.items() if key in known} | params

        if more:
            client.meta.events.register("provide-client-params.s3", add)
        return client

    def environment(self, regional: str, *, elsewhere: bool) -> dict[str, str]:
        """What a job's s5cmd, and the SDKs that its command may use, know of this.

        `regional`: AWS's endpoint of the region, as a client's `meta.endpoint_url` says. s5cmd
        takes paths where it is told an endpoint, and acceleration from AWS's name for it
        (storage/s3.go, `newSession`). `elsewhere`: S3 is where `aws.endpoint-url` says, and jobs
        know that.
        """
        found = {}
        if self.endpoint_url:
            found["AWS_ENDPOINT_URL_S3"] = found["S3_ENDPOINT_URL"] = self.endpoint_url
        elif not elsewhere:
            if self.path_style_access:
                found["S3_ENDPOINT_URL"] = regional
            elif self.accelerate_mode:
                found["S3_ENDPOINT_URL"] = _ACCELERATED
            if self.dual_stack:
                found["AWS_USE_DUALSTACK_ENDPOINT"] = "true"
        if self.requester_pays:
            found[_FLAGS] = "--request-payer requester"
        return found

    def upload_flags(self) -> tuple[str, ...]:
        """The options of an s5cmd that writes objects."""
        key = ("--sse-kms-key-id", self.kms_key) if self.kms_key else ()
        return ("--sse", self.encryption, *key) if self.encryption else ()
