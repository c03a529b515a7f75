"""Worlds of each kind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.engines import Setup, World
from tests.postgres import postgres_server, postgres_url

__all__ = ["postgres_server", "postgres_url"]


def made(folder: Path, url: str) -> Iterator[World]:
    world = World(folder, Setup(url, str(folder / "root")), folder / "ledger")
    yield world
    world.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Jobs are processes of this machine, the store is SQLite."""
    yield from made(tmp_path, f"sqlite:///{tmp_path}/store.db")


@pytest.fixture
def shared(tmp_path: Path, postgres_url: str) -> Iterator[World]:
    """Jobs are processes of this machine; several engines share a PostgreSQL."""
    yield from made(tmp_path, postgres_url)
