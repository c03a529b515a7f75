"""The kinds of text that settings are made of."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator


def _text(pattern: str, says: str, max_length: int = 2048) -> AfterValidator:
    """Text of one form. `says` completes "must be ..."."""
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if len(value) > max_length or not compiled.fullmatch(value):
            raise ValueError(f"must be {says}")
        return value

    return AfterValidator(check)


_PARTITION = "aws(-cn|-us-gov|-iso|-iso-b|-iso-e|-iso-f|-eusc)?"
_REGION_AND_ACCOUNT = r"[a-z0-9-]+:\d{12}"

EnvironmentName = Annotated[
    str,
    _text(
        r"[a-z][a-z0-9-]{0,18}[a-z0-9]",
        "2 to 20 lower-case letters, digits and hyphens, a letter first and no hyphen last",
    ),
]
Account = Annotated[str, _text(r"\d{12}", 'an account number of 12 digits in quotes ("1234...")')]
Region = Annotated[str, _text(r"[a-z]{2,4}(-[a-z]+)+-\d", "a region, like eu-central-1")]
Zone = Annotated[str, _text(r"[a-z]", 'the letter of a zone, like "a"')]
Prefix = Annotated[
    str,
    _text(
        r"[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*",
        'a prefix of keys in lower case without a slash at either end, like "workflows"',
        max_length=200,
    ),
]
# Absolute; nothing that Docker's mounts, systemd's units or a shell's quotes read as their own.
HostPath = Annotated[
    str,
    _text(
        r"""(/[^/\x00-\x1f"'`\\%$:,]+)+""",
        "an absolute path without quotes, backslash, percent sign, dollar, colon or comma",
        max_length=1000,
    ),
]
BucketName = Annotated[
    str,
    _text(
        r"(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]",
        "the name of a bucket, not an URL: 3 to 63 lower-case letters, digits, dots and hyphens",
    ),
]
VpcId = Annotated[
    str, _text(r"vpc-[0-9a-f]{8}([0-9a-f]{9})?", "the id of a VPC, like vpc-0a1b2c3d")
]
SubnetId = Annotated[
    str, _text(r"subnet-[0-9a-f]{8}([0-9a-f]{9})?", "the id of a subnet, like subnet-0a1b2c3d")
]
RouteTableId = Annotated[
    str, _text(r"rtb-[0-9a-f]{8}([0-9a-f]{9})?", "the id of a route table, like rtb-0a1b2c3d")
]
_KMS_KEY = (
    rf"arn:{_PARTITION}:kms:{_REGION_AND_ACCOUNT}:key/"
    r"(mrk-[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})"
)
KmsKey = Annotated[
    str, _text(rf"aws|create|{_KMS_KEY}", '"aws", "create" or the ARN of a KMS key (not an alias)')
]
KmsKeyArn = Annotated[
    str,
    _text(
        _KMS_KEY,
        "the ARN of a KMS key (arn:aws:kms:REGION:ACCOUNT:key/ID), not of an alias",
    ),
]
SecretArn = Annotated[
    str,
    _text(
        rf"arn:{_PARTITION}:secretsmanager:{_REGION_AND_ACCOUNT}:secret:[A-Za-z0-9/_+=.@-]+",
        "the whole ARN of a secret of Secrets Manager, with the six characters at its end",
    ),
]
RoleArn = Annotated[
    str,
    _text(rf"arn:{_PARTITION}:iam::\d{{12}}:role/[\w+=,.@/-]+", "the ARN of an IAM role"),
]
PrincipalArn = Annotated[
    str,
    _text(
        rf"arn:{_PARTITION}:iam::\d{{12}}:(root|(role|user)/[\w+=,.@/-]+)",
        "the ARN of an IAM role, of a user or of an account's root",
    ),
]
PolicyArn = Annotated[
    str,
    _text(
        rf"arn:{_PARTITION}:iam::(\d{{12}}|aws):policy/[\w+=,.@/-]+",
        "the ARN of a managed policy",
    ),
]
IamPath = Annotated[
    str,
    _text(
        r"/([\x21-\x2e\x30-\x7e]+/)*",
        "a path of IAM, which begins and ends with a slash: /teams/genomics/",
        max_length=512,
    ),
]
Email = Annotated[
    str,
    _text(
        r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+",
        "an e-mail address",
        max_length=254,
    ),
]
Registry = Annotated[
    str,
    _text(
        r"[a-z0-9-]+(\.[a-z0-9-]+)+(:\d{1,5})?",
        "the host of a registry, like docker.io or registry.gitlab.com",
    ),
]
RepositoryPrefix = Annotated[
    str,
    _text(
        r"[a-z0-9]+([._-][a-z0-9]+)*(/[a-z0-9]+([._-][a-z0-9]+)*)*",
        "a prefix of repositories: 2 to 30 lower-case letters, digits, and . _ - / between them",
        max_length=30,
    ),
]
# An AMI, or the name of an SSM parameter that holds the id of one.
MachineImage = Annotated[
    str,
    _text(
        r"ami-[0-9a-f]{8}([0-9a-f]{9})?|(/[A-Za-z0-9_.-]+)+",
        "the id of an AMI (ami-...), or the name of an SSM parameter that holds one (/...)",
        max_length=1011,
    ),
]
EngineVersion = Annotated[
    str, _text(r"1[3-9]\.\d{1,2}", 'a version of Aurora PostgreSQL in quotes, like "16.8"')
]
DatabaseUser = Annotated[
    str,
    _text(
        r"(?!pg_|rds)[a-z][a-z0-9_]{0,62}",
        "a user of PostgreSQL in lower case that is not one of its own (pg_, rds)",
    ),
]
HostType = Annotated[
    str,
    _text(
        r"(t3a?|t4g|[cmr][5678][aig]?)\.(small|medium|[0-9]*x?large)",
        "an instance type of the families t3, t3a, t4g, c, m or r, like t3.medium",
    ),
]
ShareIdentifier = Annotated[
    str,
    _text(
        r"[A-Za-z0-9]{1,254}\*?",
        "a share identifier: letters and digits, or the beginning of some and a *",
    ),
]
# What CloudWatch Logs takes (API reference, PutRetentionPolicy), up to ten years.
RetentionDays = Literal[
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922,
    3288, 3653,
]  # fmt: skip
