"""An environment goes: S3 deletes only empty buckets, and CloudFormation does not empty them.

CDK could, by a Lambda function in the account; here the command that was told to delete does it.
Only what the settings say is not kept, and only the buckets that the environment's stacks made.
The login to Docker Hub goes too: the orchestrator made it, and makes it again where it is wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from botocore.exceptions import ClientError

from orchestrator import errors
from stacks import naming
from stacks.lifecycle.cdk import Cdk
from stacks.settings import Settings

# What can be deployed again as it was. What they need stays: the network (with the way out, which
# costs), the bucket and the database.
_WITHOUT_DATA = ("monitoring", "host", "contract", "compute", "registries", "identity")
_ROUNDS = 3
_AT_ONCE = 1000  # the most that DeleteObjects takes


def destroy(
    cdk: Cdk, settings: Settings, client: Callable[[str], Any], say: Callable[[str], None]
) -> None:
    """Delete every stack, and what the buckets hold where nothing is to be kept.

    Where data is kept only what holds none goes, and is said how the rest could: the stacks with
    data are protected, and the network is in use by the database.

    `client` makes boto3 clients of the account and region. Raises EnvironmentProblem.
    """
    _destroy(cdk, settings, client, say)
    _forget_login(client("secretsmanager"), settings, say)


def _destroy(
    cdk: Cdk, settings: Settings, client: Callable[[str], Any], say: Callable[[str], None]
) -> None:
    if settings.retention == "keep":
        environment = settings.environment
        cdk.destroy(*(f"{environment}-{part}" for part in _WITHOUT_DATA))
        say(f"kept: {environment}-storage, {environment}-database and {environment}-network")
        say("./bootstrap deploys the rest again, with all data there. To delete the data too:")
        say('  1. retention = "destroy" in its file; then ./bootstrap, which lifts the protection')
        say("  2. this again; it deletes the bucket with all in it, and the database")
        return
    s3, names = client("s3"), list(_buckets(client("cloudformation"), settings.environment))
    for name in names:
        _stop_logging(s3, name)
    for round_ in range(1, _ROUNDS + 1):
        for name in names:
            _empty(s3, name, say)
        try:
            cdk.destroy()
        except errors.EnvironmentProblem:
            # S3 delivers access logs late, and jobs that end write what they have.
            if round_ == _ROUNDS or not any(_holds_something(s3, name) for name in names):
                raise
        else:
            return


def _forget_login(secrets: Any, settings: Settings, say: Callable[[str], None]) -> None:
    """Of the two ways that no stack has a secret for."""
    name = naming.docker_hub_secret(settings.environment, "job_secret")
    how = (
        {"RecoveryWindowInDays": 7}
        if settings.retention == "keep"
        else {"ForceDeleteWithoutRecovery": True}
    )
    try:
        secrets.describe_secret(SecretId=name)  # to delete what is not there is no error
        secrets.delete_secret(SecretId=name, **how)
    except secrets.exceptions.ResourceNotFoundException:
        return
    except ClientError as error:
        say(f"  the secret {name} stays: {error}")
        return
    say(f"  the secret {name} is deleted")


def _buckets(cloudformation: Any, environment: str) -> Iterator[str]:
    """The buckets of the one stack that makes some."""
    pages = cloudformation.get_paginator("list_stack_resources").paginate(
        StackName=f"{environment}-storage"
    )
    try:
        for resource in (r for page in pages for r in page["StackResourceSummaries"]):
            if resource["ResourceType"] == "AWS::S3::Bucket" and "PhysicalResourceId" in resource:
                yield resource["PhysicalResourceId"]
    except ClientError as error:
        if "does not exist" not in str(error):
            raise


def _stop_logging(s3: Any, bucket: str) -> None:
    with _gone_is_fine():
        s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus={})


def _empty(s3: Any, bucket: str, say: Callable[[str], None]) -> None:
    """Delete every version of every object."""
    count = 0
    with _gone_is_fine():
        # From the front each time: what was listed is gone then.
        while objects := _first(s3, bucket):
            answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
            if refused := answer.get("Errors"):
                raise errors.EnvironmentProblem(
                    f"{bucket}: {len(refused)} objects cannot be deleted, the first of them "
                    f"{refused[0].get('Key')!r}: {refused[0].get('Message')}",
                    hint="delete them, then the same command goes on from here",
                )
            count += len(objects)
    if count:
        say(f"  {bucket}: {count} objects and versions deleted")


def _first(s3: Any, bucket: str) -> list[dict[str, str]]:
    """Some versions of objects, as DeleteObjects wants them; none: the bucket is empty."""
    page = s3.list_object_versions(Bucket=bucket, MaxKeys=_AT_ONCE)
    return [
        {"Key": one["Key"], "VersionId": one["VersionId"]}
        for one in (*page.get("Versions", ()), *page.get("DeleteMarkers", ()))
    ]


def _holds_something(s3: Any, bucket: str) -> bool:
    with _gone_is_fine():
        return bool(_first(s3, bucket))
    return False


class _gone_is_fine:
    """A bucket that is gone already is no error."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> bool:
        return isinstance(error, ClientError) and error.response["Error"]["Code"] == "NoSuchBucket"
