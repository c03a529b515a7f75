"""Rules of the network: what fits, what is there already, and which ways out there are."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import TYPE_CHECKING

from stacks.validators.finding import Finding, Rule, error, info, warning

if TYPE_CHECKING:
    from stacks.settings.schema import Settings


def subnets_fit(settings: Settings) -> Iterator[Finding]:
    """All subnets of all zones have to lie in the VPC's range."""
    network = settings.network
    if network.existing is not None:
        return
    lengths = {
        "database_prefix_length": network.database_prefix_length,
        "host_prefix_length": network.host_prefix_length,
        # Kept free where nobody needs it yet: the way out may change.
        "public_prefix_length": network.public_prefix_length,
    }
    size = ipaddress.IPv4Network(network.cidr).num_addresses
    needed = len(network.zones) * sum(2 ** (32 - length) for length in lengths.values())
    if needed > size:
        names = " ".join(f"network.{name}" for name in lengths)
        yield error(
            f"network.cidr network.zones network.egress {names}",
            f"has {size} addresses; the subnets of {len(network.zones)} zones need {needed}",
            "a wider range, fewer zones, or longer prefixes: " + ", ".join(sorted(lengths)),
        )


def the_way_out_fits_the_vpc(settings: Settings) -> Iterator[Finding]:
    """NAT gateways are made in VPCs of ours only."""
    network = settings.network
    keys = "network.egress network.existing"
    if network.existing is None and network.egress == "existing":
        yield error(keys, '"existing" is for a VPC that is there', "[network.existing] with vpc_id")
    if network.existing is not None and network.egress.startswith("nat_"):
        yield error(
            keys,
            f"{network.egress!r} would change the routes of a VPC that is not made here",
            'egress = "existing" (it has a way out), "public" or "endpoints"',
        )


def an_existing_vpc_is_described(settings: Settings) -> Iterator[Finding]:
    """Without a look-up, all that templates need stands in the file."""
    network = settings.network
    existing = network.existing
    if existing is None or existing.look_up:
        return
    at = "network.existing"
    hint = "or look_up = true, which asks the account while synthesising"
    if not existing.host_subnets:
        yield error(f"{at}.host_subnets", "must name at least one subnet", hint)
    if len(existing.database_subnets) < 2:
        yield error(
            f"{at}.database_subnets", "must name two or more, in different zones (Aurora)", hint
        )
    if existing.s3_endpoint == "create" and not existing.route_tables:
        yield error(
            f"{at}.route_tables",
            "must name those of host_subnets, for the S3 endpoint",
            's3_endpoint = "existing" where they have one; or look_up = true',
        )
    if network.egress == "endpoints" and not existing.cidr:
        yield error(f"{at}.cidr", "must be given: endpoints let in the VPC's own addresses", hint)


def the_host_has_a_subnet(settings: Settings) -> Iterator[Finding]:
    """A private host needs private subnets, a public one a public subnet."""
    network, host = settings.network, settings.host
    keys = "host.mode network.egress"
    if not host.enabled or host.mode is None:
        return
    if host.mode == "private" and network.egress == "public":
        yield error(
            keys,
            'a network whose egress is "public" has no private subnet',
            'host.mode = "public", or another egress',
        )
    if host.mode == "public" and network.egress in ("endpoints", "existing"):
        yield error(
            keys, f'a network whose egress is "{network.egress}" has no public subnet of ours'
        )


def without_internet_only_ecr(settings: Settings) -> Iterator[Finding]:
    """Interface endpoints reach AWS and nothing else."""
    if settings.network.egress != "endpoints":
        return
    registries = settings.registries
    for key in ("job_secrets", "host_secret"):
        if getattr(registries, key):
            yield error(
                f"registries.{key} network.egress",
                "has no effect: endpoints reach ECR and no other registry",
                "registries.pull_through, or copy images to ECR",
            )
    if registries.docker_hub_way == "host_login":
        yield error(
            "registries.docker_hub network.egress",
            "has no effect: endpoints reach ECR and no other registry",
            'docker_hub = "pull_through"',
        )
    cached = registries.docker_hub_way == "pull_through"
    if registries.pull_through or cached:
        key = "pull_through" if registries.pull_through else "docker_hub"
        yield warning(
            f"registries.{key} network.egress",
            "an image's first pull needs a way to the internet, which these hosts do not have",
            "pull each once from elsewhere, which fills the cache: `docker pull "
            "ACCOUNT.dkr.ecr.REGION.amazonaws.com/PREFIX/IMAGE`",
        )
    else:
        yield info("network.egress", "jobs can use images from ECR of this region only")


RULES: tuple[Rule, ...] = (
    subnets_fit,
    the_way_out_fits_the_vpc,
    an_existing_vpc_is_described,
    the_host_has_a_subnet,
    without_internet_only_ecr,
)
