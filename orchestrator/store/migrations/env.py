"""Alembic runs this for every command: migrate within the connection's own transaction."""

from __future__ import annotations

from alembic import context

from orchestrator.store import schema

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=schema.metadata,
    transactional_ddl=True,  # SQLite's DDL too is undone by a rollback
)
context.run_migrations()
