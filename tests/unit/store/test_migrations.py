"""Migrations: what they build, who may run them, what they refuse."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from orchestrator import errors
from orchestrator.store import migrations, schema
from orchestrator.store.sql import SqlStore
from tests.unit.store.conftest import call, claimed

MIGRATE = """
import sys
from orchestrator.store.sql import SqlStore
store = SqlStore(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
store.migrate()
print(len(store.matching("")))
store.close()
"""


def _revisions() -> list[str]:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    script = ScriptDirectory.from_config(config)
    return [revision.revision for revision in script.walk_revisions()]


def test_builds_what_the_schema_says(store: SqlStore) -> None:
    with store._database._engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, schema.metadata) == []


def test_partial_indexes_have_the_conditions_that_queries_repeat(store: SqlStore) -> None:
    with store._database._engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            query = "SELECT sql FROM sqlite_master WHERE name = 'ix_workflow_claimable'"
            assert str(schema.is_claimable()) in str(connection.exec_driver_sql(query).scalar())
        else:
            query = "SELECT indexdef FROM pg_indexes WHERE indexname = 'ix_workflow_claimable'"
            text = str(connection.exec_driver_sql(query).scalar())
            for state in ("Submitted", "Running", "Aborting"):
                assert f"'{state}'" in text


def test_newest_revision_is_what_this_software_knows() -> None:
    revisions = _revisions()
    assert revisions[0] == migrations.HEAD
    assert revisions == sorted(revisions, reverse=True)
    assert all(revision.isdigit() and len(revision) == 4 for revision in revisions)


def test_again_changes_nothing(store: SqlStore) -> None:
    lease = claimed(store)
    store.write(lease, [call(1)])
    store.migrate()
    assert store.calls("w") == (call(1),)


def test_workflows_of_the_first_release_go_on(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SqlStore(url)
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "HEAD", "0001")
        store.migrate()
    with store._database._engine.begin() as connection:
        columns = "id, root_id, name, state, bundle, inputs, options, labels, directory, backend"
        values = "'w', 'w', 'hello', 'Running', 'b', '{}', '{}', '{}', '', ''"
        connection.exec_driver_sql(
            f"INSERT INTO workflow ({columns}, submitted_at, epoch) VALUES ({values}, 1.0, 1)"
        )
        connection.exec_driver_sql(
            "INSERT INTO lease (root_id, owner, epoch, expires_at, events)"
            " VALUES ('w', 'old release', 1, 2.0, 0)"
        )
    store.migrate()
    [lease] = store.claim("new release", 60, 1)
    assert (lease.epoch, lease.deaths) == (2, 1)
    store.write(lease, [call(1)])
    assert not store.renew([lease], 60)
    store.close()


def test_newer_database_is_refused_and_left_alone(store: SqlStore, url: str) -> None:
    claimed(store)
    with store._database._engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '0999'"))
    with pytest.raises(errors.StoreUnavailable) as caught:
        SqlStore(url).migrate()
    assert "0999" in caught.value.message
    assert migrations.HEAD in caught.value.message
    assert "newer" in caught.value.hint
    assert store.workflow("w").id == "w"


def test_processes_that_migrate_at_once_all_succeed(url: str) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", MIGRATE, url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert (process.returncode, out) == (0, "0\n"), err


def test_failed_migration_leaves_nothing(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SqlStore(url)
    upgrade = migrations._upgrade

    def fail_at_the_end(connection: sa.Connection) -> None:
        upgrade(connection)
        raise RuntimeError("power is gone")

    monkeypatch.setattr(migrations, "_upgrade", fail_at_the_end)
    with pytest.raises(RuntimeError):
        store.migrate()
    with store._database._engine.connect() as connection:
        assert sa.inspect(connection).get_table_names() == []
    monkeypatch.undo()
    store.migrate()
    assert not store.matching("")
    store.close()


def test_database_that_was_never_migrated_says_so(url: str) -> None:
    store = SqlStore(url)
    with pytest.raises(errors.StoreUnavailable) as caught:
        store.matching("")
    assert "schema" in caught.value.hint
    store.close()


def test_revisions_are_part_of_the_wheel() -> None:
    """They are found beside the package's code, and the wheel takes the package whole."""
    project = Path(__file__).parents[3]
    build = tomllib.loads((project / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    wheel = build["targets"]["wheel"]
    assert "orchestrator" in wheel["packages"]
    assert not {"exclude", "only-include", "include"} & wheel.keys()
    location = Path(migrations.__file__).parent
    assert location.is_relative_to(project / "orchestrator")
    ignored = subprocess.run(
        ["git", "check-ignore", *(str(path) for path in location.rglob("*.py"))],
        cwd=project,
        capture_output=True,
        text=True,
    )
    assert ignored.stdout == ""  # hatchling leaves out what git ignores
