"""A configuration made for Cromwell, used on a deployed environment as it is.

The file says what it always said: root, auths, limits, attributes. What only the environment can
know comes from there: the deployment contract, where AWS is when it is not AWS itself, and the
database, where the file names none that can be used here.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from orchestrator import environments, errors
from orchestrator.config import databases, hocon
from orchestrator.config.reading import KeyPath

_OF_THE_CONTRACT = ("deployment", "deployment-json")


@dataclass(frozen=True, slots=True)
class Moved:
    """A document with what its environment adds. `was_cromwells`: it said nothing of environments.

    `left_out`: keys of its own that are not used, what became of them, and what is used instead.
    """

    document: hocon.Document
    was_cromwells: bool
    left_out: tuple[tuple[KeyPath, str, str], ...] = ()


def to_environment(document: hocon.Document, name: str) -> Moved:
    """The document on the environment of this name, wherever its contract is to be had: from the
    file that bootstrap wrote on this machine, else from SSM later. Raises InvalidConfig."""
    data = copy.deepcopy(document.data)
    own = data.setdefault("orchestrator", {})
    if not isinstance(own, dict):
        return Moved(document, was_cromwells=False)
    said = own.get("environment")
    if said not in (None, name):
        raise errors.InvalidConfig(
            f"the file is made for environment {said!r}, and --environment says {name!r}",
            place=document.places.get(("orchestrator", "environment")),
            hint="give one of them",
        )
    cromwells = said is None and not any(key in own for key in _OF_THE_CONTRACT)
    own["environment"] = name
    try:
        path = environments.config_file(name)
    except errors.DeploymentMissing:
        return Moved(hocon.Document(data, document.places), cromwells)
    there = hocon.read(hocon.text_of(path), path.parent, name=str(path))
    if not any(key in own for key in _OF_THE_CONTRACT):
        contract = _block(there.data, "orchestrator")
        own.update({key: contract[key] for key in _OF_THE_CONTRACT if key in contract})
    left_out = [*_aws(data, there.data, name), *_database(data, there.data, name)]
    places = {key: place for key, place in there.places.items() if key not in document.places}
    merged = hocon.Document(data, {**places, **document.places})
    return Moved(merged, cromwells, tuple(left_out))


def _aws(data: dict[str, Any], there: dict[str, Any], name: str) -> list[tuple[KeyPath, str, str]]:
    """An AWS on this machine is reached with its own credentials, under the file's names."""
    aws, of_environment = data.setdefault("aws", {}), _block(there, "aws")
    endpoint = of_environment.get("endpoint-url")
    if not isinstance(aws, dict) or endpoint is None or "endpoint-url" in aws:
        return []
    aws["endpoint-url"] = endpoint
    left_out = _own_s3(data, name, endpoint)
    given, known = aws.get("auths"), of_environment.get("auths")
    if not isinstance(given, list) or not isinstance(known, list) or not known:
        return left_out
    aws["auths"] = [
        {**known[0], "name": auth["name"]}
        if isinstance(auth, dict) and isinstance(auth.get("name"), str)
        else auth
        for auth in given
    ]
    return [
        *left_out,
        (
            ("aws", "auths"),
            f"environment {name!r} is an AWS at {endpoint}",
            "its own credentials are used there, and these are not",
        ),
    ]


def _own_s3(data: dict[str, Any], name: str, endpoint: str) -> list[tuple[KeyPath, str, str]]:
    """S3 is in that AWS too."""
    s3 = data.get("s3")
    if not isinstance(s3, dict) or s3.pop("endpoint-url", None) is None:
        return []
    what = f"environment {name!r} is an AWS at {endpoint}"
    return [(("s3", "endpoint-url"), what, "S3 is used there")]


def _database(
    data: dict[str, Any], there: dict[str, Any], name: str
) -> list[tuple[KeyPath, str, str]]:
    given = data.get("database")
    found = databases.kind(given)
    product = databases.product(found)
    if (found and product is None) or "database" not in there:
        return []
    data["database"] = there["database"]
    login = _block(there, "orchestrator").get("database")
    if login is not None:
        data["orchestrator"]["database"] = login
    if product is None:
        return []
    return [
        (
            ("database",),
            f"{product} is not used here, and stays untouched",
            f"workflows are kept in the database of environment {name!r}",
        )
    ]


def _block(document: dict[str, Any], name: str) -> dict[str, Any]:
    value = document.get(name)
    return value if isinstance(value, dict) else {}
