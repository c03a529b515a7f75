"""Makes the orchestrator's login to the database: a function that CloudFormation calls.

It acts as the master, through the Data API: that needs no way into the VPC, and no password leaves
AWS, for the API is told the secret's ARN. Nothing else acts as the master.

Shipped as it is, in the template (4,096 bytes at the most): one file, needing what Lambda has.
Source: https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/UsingWithRDS.IAMDBAuth.DBAccounts.html
"""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable
from typing import Any

import boto3
from botocore.exceptions import ClientError

# A cluster that sleeps takes up to 30 s to wake; a new policy is not everywhere at once.
_PASSING = {
    "AccessDeniedException",
    "DatabaseResumingException",
    "DatabaseUnavailableException",
    "ForbiddenException",
}
_TRIES, _PAUSE_SECONDS = 60, 3


def ensure(
    api: Any,
    about: dict[str, str],
    former: str | None = None,
    pause: Callable[[float], object] = time.sleep,
) -> bool:
    """Make `about["User"]`, who logs in by IAM only, where it is not there; True when made.

    Its rights are given again each time. `former` is who was the user: what that one owns, the new
    one may use and change. `about` has Cluster and Secret (ARNs), Database and User.
    """

    def run(sql: str, **parameters: str) -> list[Any]:
        left = _TRIES
        while True:
            left -= 1
            try:
                answer = api.execute_statement(
                    resourceArn=about["Cluster"],
                    secretArn=about["Secret"],
                    database=about["Database"],
                    sql=sql,
                    parameters=[
                        {"name": n, "value": {"stringValue": v}} for n, v in parameters.items()
                    ],
                )
                return list(answer.get("records", []))
            except ClientError as error:
                if not left or error.response["Error"]["Code"] not in _PASSING:
                    raise
                pause(_PAUSE_SECONDS)

    def exists(name: str) -> bool:
        return bool(run("SELECT 1 FROM pg_roles WHERE rolname = :name", name=name))

    user = _quoted(about["User"])
    made = not exists(about["User"])
    if made:
        run(f"CREATE ROLE {user} LOGIN")
    run(f"GRANT rds_iam TO {user}")
    run(f"GRANT CONNECT, TEMPORARY ON DATABASE {_quoted(about['Database'])} TO {user}")
    # It makes its own tables; since PostgreSQL 15 nobody may in `public` without being told so.
    run(f"GRANT USAGE, CREATE ON SCHEMA public TO {user}")
    if former and former != about["User"] and exists(former):
        run(f"GRANT {_quoted(former)} TO {user}")
    return made


def _quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def handler(event: dict[str, Any], context: object) -> None:
    """Answer one event of CloudFormation. A login that is no longer asked for stays: it owns the
    tables, and goes with the cluster."""
    answer = {
        "Status": "SUCCESS",
        "PhysicalResourceId": event.get("PhysicalResourceId", "login"),
        **{name: event[name] for name in ("StackId", "RequestId", "LogicalResourceId")},
    }
    try:
        if event["RequestType"] != "Delete":
            former = event.get("OldResourceProperties", {}).get("User")
            ensure(boto3.client("rds-data"), event["ResourceProperties"], former)
    except Exception as error:
        answer |= {"Status": "FAILED", "Reason": f"{type(error).__name__}: {error}"[:1000]}
    print(json.dumps(answer))  # noqa: T201 - into the function's log
    body = json.dumps(answer).encode()
    request = urllib.request.Request(  # noqa: S310 - CloudFormation's own URL
        event["ResponseURL"], body, {"Content-Type": ""}, method="PUT"
    )
    urllib.request.urlopen(request, timeout=30).close()  # noqa: S310
