"""placeholder"""

from __future__ import annotations
from typing import Any


class TaskCall:
    def __init__(self, call_id: str, task: Any, inputs: Any) -> None:
        raise NotImplementedError
