"""What every block of the configuration is made of."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from orchestrator import errors
from orchestrator.model import runtime


def _kebab(name: str) -> str:
    return name.replace("_", "-")


class Keys(BaseModel):
    """One block. Keys are the fields' names with dashes, unless an alias says otherwise."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        alias_generator=_kebab,
        populate_by_name=True,
        coerce_numbers_to_str=True,
        hide_input_in_errors=True,
    )


def _mib(value: Any) -> Any:
    if value is None:
        return None
    try:
        return runtime.parse_mib(value, "memory")
    except errors.InvalidRuntimeAttribute as error:
        raise ValueError(error.message) from None


Mib = Annotated[int, BeforeValidator(_mib)]
Count = Annotated[int, Field(ge=1)]
