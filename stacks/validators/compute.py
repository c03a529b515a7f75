"""Rules of queues, of the hosts behind them and of what those hosts start from."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from stacks.instance_types import capacity
from stacks.validators.finding import Finding, Rule, error, info, warning

if TYPE_CHECKING:
    from stacks.settings.schema import Settings

_MOVES = re.compile(r"(^|[/_.-])(latest|recommended|current)([/_.-]|$)")


def the_default_queue_is_built(settings: Settings) -> Iterator[Finding]:
    """Jobs that name no queue need one."""
    compute = settings.compute
    key = f"compute.{compute.default_queue.replace('-', '_')}_max_vcpus"
    limits = {
        "spot": compute.spot_max_vcpus,
        "on-demand": compute.on_demand_max_vcpus,
        "priority": compute.priority_max_vcpus,
    }
    if limits[compute.default_queue] == 0:
        yield error(
            f"compute.default_queue {key}", f"is {compute.default_queue!r}, which has 0 vCPUs"
        )


def every_pool_has_a_queue(settings: Settings) -> Iterator[Finding]:
    """A pool without vCPUs is a mistake: leave its section out."""
    for name, pool in settings.compute.pools().items():
        if name != "main" and pool.spot_max_vcpus + pool.on_demand_max_vcpus == 0:
            at = f"compute.{name}"
            yield error(
                f"{at} {at}.spot_max_vcpus {at}.on_demand_max_vcpus",
                "has 0 vCPUs: nothing would be built",
                "spot_max_vcpus or on_demand_max_vcpus above 0, or no such section",
            )


def pools_hold_what_their_names_say(settings: Settings) -> Iterator[Finding]:
    """Architecture and GPUs decide on images and queues."""
    compute = settings.compute
    if compute.arm64 is not None:
        at = "compute.arm64.instance_types"
        if compute.arm64.architecture != "arm64":
            yield error(at, "must be Graviton types, like m7g")
        elif compute.architecture == "arm64":
            yield error(
                f"{at} compute.instance_types",
                "compute.instance_types is arm64 already",
                "all arm64 types in compute.instance_types, without [compute.arm64]",
            )
    if compute.gpu is not None:
        at = "compute.gpu.instance_types"
        without = [t for t in compute.gpu.instance_types if (c := capacity(t)) and c.gpus == 0]
        if without:
            yield error(at, f"{', '.join(without)}: no GPU", "g4dn, g5, g6 or g6e")
    for name, pool in (("", compute), ("arm64.", compute.arm64)):
        if pool is not None and pool.gpus:
            yield warning(
                f"compute.{name}instance_types",
                "hosts with GPUs among others: paid for by jobs that use none",
                "[compute.gpu] gives them a queue of their own",
            )


def spot_options_have_spot(settings: Settings) -> Iterator[Finding]:
    """What is said of spot needs a spot queue, and what falls back needs both."""
    compute = settings.compute
    if compute.spot_falls_back and not (compute.spot_max_vcpus and compute.on_demand_max_vcpus):
        yield error(
            "compute.spot_falls_back compute.spot_max_vcpus compute.on_demand_max_vcpus",
            "needs spot_max_vcpus and on_demand_max_vcpus above 0",
        )
    spot = any(pool.spot_max_vcpus for pool in compute.pools().values())
    if compute.spot_max_price_percent is not None and not spot:
        yield error(
            "compute.spot_max_price_percent compute.spot_max_vcpus", "there is no spot queue"
        )


def images_do_not_move(settings: Settings) -> Iterator[Finding]:
    """A deployment must not pick up an image that nobody chose."""
    images = {f"compute.images.{kind}": image for kind, image in settings.compute.images}
    for key, image in {**images, "host.image": settings.host.image}.items():
        if image and _MOVES.search(image):
            yield error(
                key,
                f"{image} moves by itself: a deployment would change hosts that nobody meant to",
                "an AMI's id, or a parameter of yours; left out, bootstrap pins one",
            )


def a_pinned_image_is_used(settings: Settings) -> Iterator[Finding]:
    """One for a pool that does not exist is worth a word."""
    compute = settings.compute
    used = {"gpu" if name == "gpu" else pool.architecture for name, pool in compute.pools().items()}
    for kind, image in compute.images:
        if image and kind not in used:
            yield info(f"compute.images.{kind}", "no pool uses it")


def disks_are_possible(settings: Settings) -> Iterator[Finding]:
    """gp3: at most 500 IOPS a GiB and 0.25 MiB/s an IOPS (EBS User Guide)."""
    worker = settings.worker
    if worker.data_volume_max_gib < worker.data_volume_gib:
        yield error(
            "worker.data_volume_max_gib worker.data_volume_gib",
            f"{worker.data_volume_max_gib} is less than the {worker.data_volume_gib} GiB to begin "
            "with",
            "data_volume_max_gib = data_volume_gib for a disk that does not grow",
        )
    if worker.data_volume_iops > 500 * worker.data_volume_gib:
        yield error(
            "worker.data_volume_iops worker.data_volume_gib",
            f"at most {500 * worker.data_volume_gib} for {worker.data_volume_gib} GiB",
        )
    if worker.data_volume_mib_per_second * 4 > worker.data_volume_iops:
        yield error(
            "worker.data_volume_mib_per_second worker.data_volume_iops",
            f"at most {worker.data_volume_iops // 4} with {worker.data_volume_iops} IOPS",
            f"data_volume_iops = {worker.data_volume_mib_per_second * 4}",
        )


def jobs_cannot_write_their_tools(settings: Settings) -> Iterator[Finding]:
    """The scratch directory is writable by jobs; what the next job executes must not lie there."""
    tools, scratch = f"{settings.worker.tools_path}/", f"{settings.worker.scratch_path}/"
    if tools.startswith(scratch) or scratch.startswith(tools):
        yield error(
            "worker.tools_path worker.scratch_path",
            f"{tools!r} and scratch_path {scratch!r} must not lie in each other: "
            "jobs write scratch",
        )


def privileges_are_seen(settings: Settings) -> Iterator[Finding]:
    """A privileged container is as good as root on the host."""
    if settings.compute.fuse_mount:
        yield warning(
            "compute.fuse_mount",
            "jobs that ask for fuseMount are privileged: such a job is root on its host",
        )


RULES: tuple[Rule, ...] = (
    the_default_queue_is_built,
    every_pool_has_a_queue,
    pools_hold_what_their_names_say,
    spot_options_have_spot,
    images_do_not_move,
    a_pinned_image_is_used,
    disks_are_possible,
    jobs_cannot_write_their_tools,
    privileges_are_seen,
)
