"""User data: scripts and files for hosts, with their variables in front.

EC2 takes 16 KiB and AWS Batch adds a part of its own, so comments stay here and what does not need
to be there before anything else is fetched from the assets.
"""

from __future__ import annotations

import json
import shlex
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aws_cdk import Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_s3_assets as s3_assets
from constructs import Construct

from stacks import assets

BOOTHOOK, SCRIPT, CONFIG = "text/cloud-boothook", "text/x-shellscript", "text/cloud-config"


def script(stack: Stack, variables: Mapping[str, str], *names: str) -> str:
    """One bash script: `variables`, quoted, then the committed scripts of these names."""
    where = {"ASSET_REGION": stack.region, "ASSET_DOMAIN": stack.url_suffix}
    known = {**(where if "fetch.sh" in names else {}), **variables}
    lines = [f"{name}={shlex.quote(value)}" for name, value in known.items()]
    return "\n".join(["#!/bin/bash", *lines, _without_comments(assets.script(*names)), ""])


def assembled(
    scope: Construct, id: str, *names: str, variables: Mapping[str, str] | None = None
) -> s3_assets.Asset:
    """`variables` and the committed scripts of these names as one asset, fetched at boot.

    What is known only as it is deployed cannot be in an asset: scripts get that as environment.
    """
    # A directory of its own name: an asset's hash is that of its content alone.
    directory = Path(tempfile.mkdtemp(prefix="boot-"))
    try:
        path = directory / "boot.sh"
        lines = "".join(f"{k}={shlex.quote(v)}\n" for k, v in (variables or {}).items())
        path.write_text(f"#!/bin/bash\n{lines}{assets.script(*names)}", encoding="utf-8")
        return s3_assets.Asset(scope, id, path=str(path))
    finally:
        shutil.rmtree(directory)


def config(files: Sequence[Mapping[str, Any]]) -> str:
    """A cloud-config that writes `files` (`path`, `content`, and what else `write_files` takes)."""
    return "#cloud-config\n" + json.dumps({"write_files": list(files)}, indent=1) + "\n"


def multipart(parts: Sequence[tuple[str, str]]) -> ec2.MultipartUserData:
    """MIME multipart, which Batch asks for: an environment with other user data is INVALID."""
    user_data = ec2.MultipartUserData()
    for content_type, body in parts:
        user_data.add_part(part(content_type, body))
    return user_data


def part(content_type: str, body: str) -> ec2.MultipartBody:
    """One part of user data."""
    return ec2.MultipartBody.from_raw_body(
        content_type=f'{content_type}; charset="utf-8"', body=body
    )


def _without_comments(text: str) -> str:
    lines = (line for line in text.splitlines() if line.strip() and line.lstrip()[0] != "#")
    return "\n".join(lines)
