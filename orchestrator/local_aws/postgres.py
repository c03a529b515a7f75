"""placeholder"""

from __future__ import annotations

from pathlib import Path


def end_orphans(directory: Path) -> None:
    """."""
