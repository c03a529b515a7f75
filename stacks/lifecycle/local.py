"""AWS on this machine, as an environment: its process and the tools of its one worker host.

A worker host in AWS boots from the launch template's user data; here this machine is the host, so
what user data would install is laid out below the state directory.
"""

from __future__ import annotations

import os
import platform
import shutil
from importlib import resources

from orchestrator import errors
from orchestrator.local_aws import process
from stacks import assets
from stacks.instance_types import Architecture
from stacks.settings import ROOT

ENVIRONMENT = "local"
STATE = ROOT / ".local-aws"


def start(jobs: process.JobRunner) -> process.LocalAws:
    """The running AWS of this project, or a new and empty one."""
    return process.start(STATE, jobs=jobs)


def context() -> dict[str, str]:
    """What only this machine knows of the environment: where its host keeps tools and scratch."""
    return {
        "environment": ENVIRONMENT,
        "set.worker.tools_path": str(STATE / "host" / "tools"),
        "set.worker.scratch_path": str(STATE / "host" / "scratch"),
    }


def prepare_host() -> None:
    """Lay out tools and scratch as a worker host has them.

    In containers `sh` is busybox; a plain process has the host's bash under that name.
    """
    tools, scratch = STATE / "host" / "tools", STATE / "host" / "scratch"
    tools.mkdir(parents=True, exist_ok=True)
    scratch.mkdir(parents=True, exist_ok=True)
    raise NotImplementedError(
        (tools, os, platform, shutil, resources, assets, Architecture, errors)
    )
