"""AWS::Budgets: budgets with their notifications."""

from __future__ import annotations

from typing import Any

from orchestrator.local_aws.cloudformation.resources.base import (
    Made,
    Properties,
    Request,
    ResourceType,
)


class Budget(ResourceType):
    """Another name and other notifications make another budget, as on AWS: one that has a name of
    its own cannot change its notifications."""

    type = "AWS::Budgets::Budget"
    updatable = frozenset({"Budget", "ResourceTags"})
    replacing = frozenset({"NotificationsWithSubscribers"})

    def replaces(self, old: Properties, new: Properties) -> bool:
        names = [properties["Budget"].get("BudgetName") for properties in (old, new)]
        return super().replaces(old, new) or names[0] != names[1]

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
        tags = request.tag_list(request.get("ResourceTags", []))
        request.client("budgets").create_budget(
            AccountId=request.account,
            Budget=budget,
            **request.pick("NotificationsWithSubscribers"),
            **({"ResourceTags": tags} if tags else {}),
        )


TYPES: tuple[ResourceType, ...] = (Budget(),)
