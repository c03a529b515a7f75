"""What a server that was killed left running: found and ended, before the next start or at stop."""

from __future__ import annotations

import shutil
from pathlib import Path

from orchestrator.local_aws import postgres


def clean(state_dir: Path) -> None:
    """End databases and jobs that no server owns any more, and remove their files."""
    postgres.end_orphans(state_dir / "postgres")
    if (state_dir / "batch").exists():
        from orchestrator.local_aws import batch  # late: it imports moto, which takes a second

        batch.end_orphans(state_dir)
    for name in ("tmp", "postgres"):
        shutil.rmtree(state_dir / name, ignore_errors=True)
