"""Budgets: tags, which moto drops."""

from __future__ import annotations

import functools
import json
from typing import Any

from orchestrator.local_aws.moto_patches import add, replace


def apply() -> None:
    """Patch moto.budgets. Raises MotoChanged."""
    from moto.budgets.responses import BudgetsResponse

    add(BudgetsResponse, "tag_resource", _tag)
    add(BudgetsResponse, "untag_resource", _untag)
    add(BudgetsResponse, "list_tags_for_resource", _list)
    replace(BudgetsResponse, "create_budget", _creating)
    replace(BudgetsResponse, "delete_budget", _deleting)


def _tags(response: Any, name: str) -> dict[str, str]:
    """Tags of a budget, by moto's backend: a reset forgets them with all the rest."""
    known = response.backend.__dict__.setdefault("local_aws_tags", {})
    tags: dict[str, str] = known.setdefault(name, {})
    return tags


def _named(response: Any) -> str:
    """The budget of the ARN. Raises NotFoundException."""
    name = str(response._get_param("ResourceARN")).rpartition("budget/")[2]
    response.backend.describe_budget(response.current_account, name)
    return name


def _tag(response: Any) -> str:
    given = response._get_param("ResourceTags") or []
    _tags(response, _named(response)).update({tag["Key"]: tag["Value"] for tag in given})
    return json.dumps({})


def _untag(response: Any) -> str:
    tags = _tags(response, _named(response))
    for key in response._get_param("ResourceTagKeys"):
        tags.pop(key, None)
    return json.dumps({})


def _list(response: Any) -> str:
    tags = _tags(response, _named(response))
    return json.dumps({"ResourceTags": [{"Key": k, "Value": v} for k, v in tags.items()]})


def _creating(original: Any) -> Any:
    @functools.wraps(original)
    def create_budget(response: Any) -> Any:
        answer = original(response)
        given = response._get_param("ResourceTags") or []
        name = response._get_param("Budget")["BudgetName"]
        _tags(response, name).update({tag["Key"]: tag["Value"] for tag in given})
        return answer

    return create_budget


def _deleting(original: Any) -> Any:
    @functools.wraps(original)
    def delete_budget(response: Any) -> Any:
        answer = original(response)
        _tags(response, response._get_param("BudgetName")).clear()
        return answer

    return delete_budget
