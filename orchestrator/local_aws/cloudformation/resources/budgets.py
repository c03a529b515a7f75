"""AWS::Budgets: budgets with their notifications."""

from __future__ import annotations

from typing import Any

from orchestrator.local_aws.cloudformation.resources.base import (
    Made,
    Properties,
    Request,
    ResourceType,
)

_IDENTITY = ("BudgetName", "BudgetType", "TimeUnit")


class Budget(ResourceType):
    """A budget's name, type, time unit and notifications are replaced with it, as on AWS."""

    type = "AWS::Budgets::Budget"
    updatable = frozenset({"Budget"})
    replacing = frozenset({"NotificationsWithSubscribers", "ResourceTags"})

    def replaces(self, old: Properties, new: Properties) -> bool:
        before, after = old["Budget"], new["Budget"]
        return super().replaces(old, new) or any(
            before.get(name) != after.get(name) for name in _IDENTITY
        )

    def create(self, request: Request) -> Made:
        name = request.get("Budget").get("BudgetName") or request.name("", 100)
        self._create(request, name)
        return Made(name, {})

    def update(self, request: Request) -> Made:
        # moto has no UpdateBudget. Nobody else looks at it between the two calls.
        self.delete(request)
        self._create(request, request.physical_id)
        return Made(request.physical_id, {})

    def delete(self, request: Request) -> None:
        budgets = request.client("budgets")
        try:
            budgets.delete_budget(AccountId=request.account, BudgetName=request.physical_id)
        except budgets.exceptions.NotFoundException:
            return

    @staticmethod
    def _create(request: Request, name: str) -> None:
        budget: dict[str, Any] = {**request.get("Budget"), "BudgetName": name}
        request.client("budgets").create_budget(
            AccountId=request.account,
            Budget=budget,
            **request.pick("NotificationsWithSubscribers"),
        )


TYPES: tuple[ResourceType, ...] = (Budget(),)
