"""The schema: every key of an environment's file, its default, and what a single value may be.

Rules that hold between keys are in `stacks/validators`. Numbers carry their unit in their name.
"""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from stacks import naming
from stacks.instance_types import Architecture, Capacity, capacity, families
from stacks.settings.types import (
    Account,
    BucketName,
    DatabaseUser,
    Email,
    EngineVersion,
    EnvironmentName,
    HostPath,
    HostType,
    IamPath,
    KmsKey,
    KmsKeyArn,
    MachineImage,
    PolicyArn,
    Prefix,
    PrincipalArn,
    Region,
    Registry,
    RepositoryPrefix,
    RetentionDays,
    RoleArn,
    RouteTableId,
    SecretArn,
    ShareIdentifier,
    SubnetId,
    VpcId,
    Zone,
)

Egress = Literal["nat_single", "nat_per_zone", "public", "endpoints", "existing"]
PoolName = Literal["main", "arm64", "gpu"]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _different(value: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(value)) != len(value):
        raise ValueError("must not name anything twice")
    return value


class ExistingNetwork(Section):
    """A VPC that is there already. Hosts go into `host_subnets`, the database into its own.

    `zones`, `cidr` and `route_tables` (those of `host_subnets`, for the S3 endpoint) are given
    here so that nothing is looked up while synthesising. `look_up` reads them from the account
    instead: that needs credentials, and keeps what it found in `cdk.context.json`.
    """

    vpc_id: VpcId
    host_subnets: tuple[SubnetId, ...] = ()
    database_subnets: tuple[SubnetId, ...] = ()
    route_tables: tuple[RouteTableId, ...] = ()
    cidr: str = ""
    s3_endpoint: Literal["create", "existing"] = "create"
    look_up: bool = False

    @field_validator("host_subnets", "database_subnets", "route_tables")
    @classmethod
    def _once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _different(value)

    @field_validator("cidr")
    @classmethod
    def _range(cls, value: str) -> str:
        if value:
            _network(value)
        return value


class Network(Section):
    """`zones` are the letters of availability zones in the region.

    `egress`: how workers and host reach the internet (images, AWS's APIs). `nat_single` and
    `nat_per_zone` put them in private subnets behind NAT gateways, which cost by the hour and by
    the GiB; `public` gives each a public address and costs nothing; `endpoints` has no way to the
    internet, only interface endpoints to the services that are called; `existing` leaves it to the
    VPC of `existing`. Nothing ever lets anyone in.

    Prefix lengths are those of one subnet in one zone. `egress` can be changed later; `cidr`,
    `zones` and prefix lengths cannot: subnets in use would have to move.
    """

    cidr: str = "10.0.0.0/16"
    zones: tuple[Zone, ...] = ("a", "b")
    egress: Egress = "nat_single"
    host_prefix_length: int = Field(20, ge=16, le=28)
    public_prefix_length: int = Field(24, ge=16, le=28)
    database_prefix_length: int = Field(28, ge=16, le=28)
    flow_logs: Literal["all", "rejected", "none"] = "rejected"
    existing: ExistingNetwork | None = None

    @field_validator("cidr")
    @classmethod
    def _private_range(cls, value: str) -> str:
        network = _network(value)
        if not network.is_private or not 16 <= network.prefixlen <= 24:
            raise ValueError("must be a private IPv4 range between /16 and /24")
        return value

    @field_validator("zones")
    @classmethod
    def _at_least_two(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not 2 <= len(set(value)) == len(value) <= 6:
            raise ValueError("must name 2 to 6 different zones (Aurora needs two)")
        return value


class Encryption(Section):
    """Which KMS key encrypts bucket, database, disks and notifications.

    `aws`: keys of AWS's own, at no cost. `create`: one key of this environment, rotated every
    year. An ARN: a key that is there already, whose policy is its owner's business.
    """

    kms_key: KmsKey = "aws"


class Storage(Section):
    """Prefixes in the root bucket. Only what lies under `scratch_prefix` ever expires.

    `existing_bucket` is used instead of a new one; its encryption, policy and life-cycle rules stay
    its owner's. `versioning` keeps overwritten and deleted objects, and is paid for by the GiB.
    Jobs and the orchestrator may read `read_buckets` and write `write_buckets` too; `kms_keys` are
    the keys that those are encrypted with. `access_log_days` is how long access logs are kept.
    """

    root_prefix: Prefix = "workflows"
    scratch_prefix: Prefix = "scratch"
    scratch_expiry_days: int = Field(30, ge=8, le=365)
    existing_bucket: BucketName | None = None
    versioning: bool = False
    access_log_days: int = Field(90, ge=1, le=3653)
    read_buckets: tuple[BucketName, ...] = ()
    write_buckets: tuple[BucketName, ...] = ()
    kms_keys: tuple[KmsKeyArn, ...] = ()

    @field_validator("read_buckets", "write_buckets", "kms_keys")
    @classmethod
    def _once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _different(value)


class Identity(Section):
    """What an organisation asks of roles.

    `job_roles` are further roles that a task may choose by `aws_batch_job_role_arn`. `operators`
    may assume the operator role, which watches and ends workflows; none: no such role is made.
    """

    permissions_boundary: PolicyArn | None = None
    path: IamPath = "/"
    job_roles: tuple[RoleArn, ...] = ()
    operators: tuple[PrincipalArn, ...] = ()


class Database(Section):
    """Aurora Serverless v2. `min_acu` 0 lets it pause after `auto_pause_minutes` of no connection.
    It then sleeps as long as nothing runs: a server without work asks it seldom (every 6 hours) and
    is woken by what is submitted on its host. What is submitted elsewhere waits for that: give such
    environments a floor.

    One ACU is about 2 GiB of memory with the CPU that goes with it. `readers` are further
    instances in other zones, which take over when the writer is lost.

    `login`: `iam` lets the orchestrator in as `user`, with a token of its role for each connection;
    `secret` as the master, with the secret that RDS keeps: only where IAM cannot be, as in an AWS
    on one's own machine.
    """

    engine_version: EngineVersion = "16.8"
    min_acu: float = Field(0, ge=0, le=256, multiple_of=0.5)
    max_acu: float = Field(4, ge=1, le=256, multiple_of=0.5)
    auto_pause_minutes: int = Field(15, ge=5, le=1440)
    backup_days: int = Field(7, ge=1, le=35)
    readers: int = Field(0, ge=0, le=3)
    login: Literal["iam", "secret"] = "iam"
    user: DatabaseUser = "orchestrator"


class Pool(Section):
    """Hosts of one kind. `instance_types` are families (`m6i`) or types (`m6i.4xlarge`).

    A queue whose limit is 0 vCPUs is not built.
    """

    instance_types: tuple[str, ...]
    spot_max_vcpus: int = Field(0, ge=0, le=100_000)
    on_demand_max_vcpus: int = Field(0, ge=0, le=100_000)

    @field_validator("instance_types")
    @classmethod
    def _known_and_alike(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in value if capacity(name) is None]
        if unknown:
            raise ValueError(f"unknown {', '.join(unknown)}; families: {', '.join(families())}")
        if len({c.architecture for name in value if (c := capacity(name))}) != 1:
            raise ValueError("must name at least one type, all of one architecture")
        return _different(value)

    @property
    def architecture(self) -> Architecture:
        """The architecture that all instance types share."""
        return self._capacities()[0].architecture

    @property
    def gpus(self) -> int:
        """GPUs of the host that has most of them."""
        return max(c.gpus for c in self._capacities())

    def largest_job(self, max_vcpus: int) -> tuple[int, int]:
        """vCPUs and MiB that one job can have at the most in a queue of so many vCPUs."""
        capacities = self._capacities()
        return (
            min(max_vcpus, max(c.vcpus for c in capacities)),
            max(c.memory_mib for c in capacities),
        )

    def _capacities(self) -> list[Capacity]:
        return [c for name in self.instance_types if (c := capacity(name))]


class Images(Section):
    """The AMIs of worker hosts: an id, or an SSM parameter that holds one. Never "latest".

    One that is not given is read from the environment's own parameter, which bootstrap sets to the
    image that AWS recommends on the day of the first deployment and moves only when told to.
    """

    x86_64: MachineImage | None = None
    arm64: MachineImage | None = None
    gpu: MachineImage | None = None


class FairShare(Section):
    """Between share identifiers (hog groups) of a queue; every queue has this from the start.

    `decay_seconds`: how long past use counts. `reserve_percent`: what is kept for groups that have
    nothing running yet. `weights`: a group's share relative to others; 1 when it is not named, and
    less means more, as Batch has it.
    """

    decay_seconds: int = Field(3600, ge=0, le=604_800)
    reserve_percent: int = Field(0, ge=0, le=99)
    weights: dict[ShareIdentifier, Annotated[float, Field(ge=0.0001, le=999.9999)]] = {}


class Compute(Pool):
    """Queues and the hosts behind them. `default_queue` takes jobs that name none.

    `priority_max_vcpus`: a queue whose jobs go before all others, on hosts of its own.
    `spot_falls_back`: the spot queue uses on-demand hosts when there is no spot capacity.
    `warm_minutes`: idle hosts stay that long, with the images they have; 0 is Batch's own delay.
    `update_drain_minutes`: what running jobs get when an update replaces their host.
    `capacity_limit_minutes`: a job at the head of its queue that finds no capacity for so long is
    ended; 0 is never. `fuse_mount` lets tasks mount file systems: their containers are privileged,
    so do without where jobs are not trusted.
    """

    instance_types: tuple[str, ...] = ("c6i", "m6i", "r6i", "c6a", "m6a", "r6a")
    spot_max_vcpus: int = Field(256, ge=0, le=100_000)
    on_demand_max_vcpus: int = Field(64, ge=0, le=100_000)
    priority_max_vcpus: int = Field(0, ge=0, le=100_000)
    default_queue: naming.QueueKind = "spot"
    spot_max_price_percent: int | None = Field(None, ge=1, le=100)
    spot_falls_back: bool = False
    arm64: Pool | None = None
    gpu: Pool | None = None
    images: Images = Images()
    fair_share: FairShare = FairShare()
    warm_minutes: int = Field(20, ge=0, le=10_080)
    update_drain_minutes: int = Field(7200, ge=1, le=7200)
    capacity_limit_minutes: int = Field(240, ge=0, le=1440)
    fuse_mount: bool = False

    @field_validator("warm_minutes")
    @classmethod
    def _as_batch_takes_it(cls, value: int) -> int:
        if 0 < value < 20:
            raise ValueError("must be 0 or 20 to 10080")
        return value

    @field_validator("capacity_limit_minutes")
    @classmethod
    def _as_queues_take_it(cls, value: int) -> int:
        if 0 < value < 10:
            raise ValueError("must be 0 or 10 to 1440")
        return value

    def pools(self) -> dict[PoolName, Pool]:
        """Every pool that is asked for, the main one first."""
        named: dict[PoolName, Pool | None] = {"main": self, "arm64": self.arm64, "gpu": self.gpu}
        return {name: pool for name, pool in named.items() if pool is not None}


class Worker(Section):
    """Worker hosts. Paths are theirs, and jobs see them under the same names.

    The data disk holds what jobs write (`scratch_path`) and Docker's images. It starts with
    `data_volume_gib` and grows before it is full, up to `data_volume_max_gib` for all volumes of a
    host together; the same number: it does not grow. It is gone with its host.
    """

    root_volume_gib: int = Field(30, ge=30, le=1000)
    data_volume_gib: int = Field(200, ge=20, le=65_536)
    data_volume_max_gib: int = Field(2000, ge=20, le=65_536)
    data_volume_mib_per_second: int = Field(250, ge=125, le=2000)
    data_volume_iops: int = Field(3000, ge=3000, le=80_000)
    tools_path: HostPath = "/opt/orchestrator/tools"
    scratch_path: HostPath = "/mnt/scratch"

    @field_validator("tools_path", "scratch_path")
    @classmethod
    def _normal(cls, value: str) -> str:
        if any(part in (".", "..") for part in value.split("/")):
            raise ValueError("must not contain . or .. as a part")
        return value


class PullThrough(Section):
    """Images of `registry` come through ECR, as `<account>.dkr.ecr.<region>.../<prefix>/<image>`.

    `secret` holds `username` and `accessToken`; its name begins with `ecr-pullthroughcache/`.
    """

    registry: Registry
    prefix: RepositoryPrefix
    secret: SecretArn | None = None

    @field_validator("prefix")
    @classmethod
    def _long_enough(cls, value: str) -> str:
        if len(value) < 2:
            raise ValueError("must have 2 to 30 characters")
        return value


class Registries(Section):
    """How private and rate-limited registries are reached.

    `docker_hub` is the way of the login that the orchestrator's configuration gives as `dockerhub`:
    ECR fetches with it and jobs pull from ECR (`pull_through`), each job pulls with it
    (`job_secret`), or workers log in when they boot (`host_login`). The orchestrator keeps the
    secret. It has no effect where one of the following names docker.io.

    For secrets of your own, all at once if need be: `pull_through` as above; `job_secrets`, a
    registry's host and the secret (`username`, `password`) that a job's execution role pulls with;
    `host_secret`, one secret that workers log in with, in the shape of ECS_ENGINE_AUTH_DATA. What
    workers log in with lies on their disk, and every job can read it.
    """

    docker_hub: naming.DockerHubWay = "job_secret"
    pull_through: tuple[PullThrough, ...] = ()
    job_secrets: dict[Registry, SecretArn] = {}
    host_secret: SecretArn | None = None

    @property
    def docker_hub_way(self) -> naming.DockerHubWay | None:
        """The way of `dockerhub`; None where a secret of somebody's own reaches Docker Hub."""
        own = {rule.registry for rule in self.pull_through} | set(self.job_secrets)
        return None if "docker.io" in own else self.docker_hub


class Host(Section):
    """The machine that the orchestrator runs on in AWS; without it, run it where you like.

    `mode`: in a private subnet, or in a public one with an address of its own; not given: as the
    workers. `image` is an AMI of Amazon Linux 2023, as in `compute.images`. A new host that does
    not answer within `health_minutes` is rolled back.
    """

    enabled: bool = True
    mode: Literal["private", "public"] | None = None
    instance_type: HostType = "t3.medium"
    image: MachineImage | None = None
    volume_gib: int = Field(30, ge=10, le=1000)
    health_minutes: int = Field(20, ge=5, le=120)

    @property
    def architecture(self) -> Architecture:
        """Graviton's families have a `g` after their generation: `t4g`, `m7g`."""
        return "arm64" if self.instance_type.partition(".")[0].endswith("g") else "x86_64"


class Monitoring(Section):
    """Who hears of what. `emails` confirm a subscription once. Thresholds are those of alarms.

    `monthly_budget_usd` 0 makes no budget. `failed_jobs_percent` is of the jobs that ended within
    an hour; `runnable_minutes` is how long a job may wait for a host before somebody is told.
    """

    dashboard: bool = True
    alarms: bool = True
    emails: tuple[Email, ...] = ()
    monthly_budget_usd: int = Field(0, ge=0, le=10_000_000)
    failed_jobs_percent: int = Field(20, ge=1, le=100)
    runnable_minutes: int = Field(60, ge=5, le=1440)
    disk_used_percent: int = Field(90, ge=50, le=99)
    database_used_percent: int = Field(90, ge=50, le=100)
    heartbeat_minutes: int = Field(10, ge=2, le=120)

    @field_validator("emails")
    @classmethod
    def _once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _different(value)


class Settings(Section):
    """One environment. `retention`: what happens to the bucket and the database when they go.

    `keep` retains the bucket, takes a last snapshot of the database and protects both against
    deletion; `destroy` deletes them, for environments that hold nothing of value. `production`
    refuses what would lose data or let the database sleep.
    """

    environment: EnvironmentName
    account: Account
    region: Region
    production: bool = False
    retention: Literal["keep", "destroy"] = "keep"
    log_retention_days: RetentionDays = 30
    tags: dict[str, str] = {}
    network: Network = Network()
    encryption: Encryption = Encryption()
    storage: Storage = Storage()
    identity: Identity = Identity()
    database: Database = Database()
    compute: Compute = Compute()
    worker: Worker = Worker()
    registries: Registries = Registries()
    host: Host = Host()
    monitoring: Monitoring = Monitoring()

    @field_validator("tags")
    @classmethod
    def _as_aws_takes_them(cls, value: dict[str, str]) -> dict[str, str]:
        if len(value) > 40:
            raise ValueError("must not be more than 40 (AWS allows 50, some are made here)")
        for key, text in value.items():
            if key.lower().startswith(("aws:", "orchestrator:")) or not 1 <= len(key) <= 128:
                raise ValueError(
                    f"{key!r} cannot be the name of a tag: 1 to 128 characters, "
                    "neither aws: nor orchestrator: at its beginning"
                )
            if len(text) > 256:
                raise ValueError(f"the value of {key!r} must not be above 256 characters")
        return value

    @property
    def partition(self) -> str:
        """`aws`, or the partition that the region belongs to."""
        for prefix, partition in (("cn-", "aws-cn"), ("us-gov-", "aws-us-gov")):
            if self.region.startswith(prefix):
                return partition
        return "aws"


def _network(value: str) -> ipaddress.IPv4Network:
    try:
        return ipaddress.IPv4Network(value)
    except ValueError as error:
        raise ValueError(f"must be an IPv4 range: {error}") from None
