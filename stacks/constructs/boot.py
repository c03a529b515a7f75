"""Scripts for hosts, with their variables in front."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from aws_cdk import Stack

from stacks import assets


def render(stack: Stack, variables: Mapping[str, str], *scripts: str) -> str:
    """One bash script: `variables`, quoted, then the committed `scripts` in this order."""
    known = {"ASSET_REGION": stack.region, "ASSET_DOMAIN": stack.url_suffix, **variables}
    lines = [f"{name}={shlex.quote(value)}" for name, value in known.items()]
    return "\n".join(["#!/bin/bash", *lines, "", assets.script(*scripts)])
