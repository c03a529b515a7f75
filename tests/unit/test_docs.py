"""The documentation says what the code does: tables are compared, links and commands must exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup
from typer.main import get_command

from orchestrator import cli, errors
from orchestrator.model import failures, options, runtime
from stacks.lifecycle import command as bootstrap

PROJECT = Path(__file__).parents[2]
ERRORS = PROJECT / "docs" / "reference" / "errors.md"
RUNNING = PROJECT / "docs" / "reference" / "running.md"
COMMANDS = PROJECT / "docs" / "reference" / "commands.md"
PAGES = sorted(
    [
        *PROJECT.glob("*.md"),
        *PROJECT.glob("docs/**/*.md"),
        *PROJECT.glob("examples/**/*.md"),
        *PROJECT.glob("benchmarks/**/*.md"),
    ]
)

# Exit codes that no error class has: done, usage (click's), interrupted, reader gone.
OTHER_EXIT_CODES = {0, 2, 130, 141}


def tree(root: type[errors.OrchestratorError]) -> Iterator[type[errors.OrchestratorError]]:
    yield root
    for child in root.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from tree(child)


def table(page: Path, heading: str) -> dict[str, list[str]]:
    """Rows of the table under a heading, by their first cell."""
    section = page.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in section.splitlines()
        if line.startswith("|")
    ]
    return {row[0].strip("`"): row[1:] for row in rows[2:]}


def named(heading: str) -> set[str]:
    """The names in the first column of a table on the page about running."""
    return {name for cell in table(RUNNING, heading) for name in re.findall(r"\w+", cell)}


def test_every_runtime_attribute_that_is_read_stands_in_the_reference() -> None:
    spellings = {name for names in runtime._SPELLINGS.values() for name in names}
    assert named("Runtime attributes") == {*runtime._READERS, *spellings}


def test_every_workflow_option_stands_in_the_reference() -> None:
    assert named("Workflow options") == {*options._READERS, "hogGroup"}


def test_every_error_stands_in_the_reference_with_its_exit_code_and_http_status() -> None:
    documented = {
        code: (cells[0], cells[1], bool(cells[2]))
        for code, cells in table(ERRORS, "Errors").items()
    }
    assert documented == {
        error.code: (str(error.exit_code), str(error.http_status), True)
        for error in tree(errors.OrchestratorError)
    }


def test_every_exit_code_stands_in_the_reference() -> None:
    documented = {int(code) for code in table(ERRORS, "Exit codes")}
    assert documented == OTHER_EXIT_CODES | {
        error.exit_code for error in tree(errors.OrchestratorError)
    }


def test_every_failure_code_stands_in_the_reference_with_its_retry_budget() -> None:
    documented = {
        code: (cells[0], bool(cells[1]))
        for code, cells in table(ERRORS, "Why an attempt failed").items()
    }
    assert documented == {
        code.value: (failures.Failure(code, "").retry_class.value, True)
        for code in failures.FailureCode
    }


def commands() -> dict[str, set[str]]:
    """Every command of this package (`config check`), with its long options."""
    found: dict[str, set[str]] = {}

    def walk(group: TyperGroup, prefix: str) -> None:
        for name, command in group.commands.items():
            path = f"{prefix}{name}"
            if isinstance(command, TyperGroup):
                walk(command, f"{path} ")
            elif not command.hidden:
                options = {option for parameter in command.params for option in parameter.opts}
                found[path] = {option for option in options if option.startswith("--")}

    group = get_command(cli.app)
    assert isinstance(group, TyperGroup)
    walk(group, "")
    return found


def test_every_command_stands_in_the_reference_with_its_options() -> None:
    documented = {
        command: set(re.findall(r"--[a-z-]+", cells[1]))
        for command, cells in table(COMMANDS, "Commands").items()
    }
    assert documented == commands()


def test_every_option_of_bootstrap_stands_in_the_reference() -> None:
    app = typer.Typer(add_completion=False)
    app.command()(bootstrap.app)
    options = {option for parameter in get_command(app).params for option in parameter.opts}
    # A row's first cell is `--name` `-n`.
    documented = {
        option for cell in table(COMMANDS, "bootstrap") for option in re.findall(r"--?[a-z]+", cell)
    }
    assert documented == options


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_a_command_that_a_page_shows_exists_with_its_options(page: Path) -> None:
    known = commands()
    shown = re.findall(r"\borchestrator ([a-z][a-z-]*(?: [a-z][a-z-]*)?)([^`\n]*)", code(page))
    for words, rest in shown:
        name = next((n for n in (words, words.split()[0]) if n in known), None)
        if words.split()[0] == "bootstrap":
            continue  # joins from the stacks, with options of its own
        assert name is not None, f"{page.name} shows `orchestrator {words}`"
        used = set(re.findall(r"(?<=\s)--[a-z-]+", rest))
        assert used <= known[name] | {"--help"}, f"{page.name}: orchestrator {words}{rest}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    local = [link.split("#")[0] for link in links if not re.match(r"[a-z]+:", link)]
    assert [link for link in local if link and not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_files_that_a_page_names_exist(page: Path) -> None:
    roots = "orchestrator|stacks|docs|examples|tests|benchmarks|config_templates"
    named = re.findall(rf"`((?:{roots})/[\w./-]*)`", page.read_text())
    assert [path for path in named if not (PROJECT / path).exists()] == []


def code(page: Path) -> str:
    """What stands between backticks and in code blocks, one piece a line."""
    text = page.read_text()
    blocks = re.findall(r"^ *```[a-z]*\n(.*?)^ *```", text, flags=re.DOTALL | re.MULTILINE)
    rest = re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)
    return "\n".join([*blocks, *re.findall(r"`([^`\n]+)`", rest)])


def test_every_room_stands_on_the_architecture_page() -> None:
    page = PROJECT / "docs" / "architecture.md"
    named = set(re.findall(r"^\| `([\w./]+)` \|", page.read_text(), re.MULTILINE))
    rooms = [init.parent.name for init in PROJECT.glob("orchestrator/*/__init__.py")]
    assert {f"orchestrator/{room}/" for room in rooms} <= named


def test_every_decision_stands_in_the_list() -> None:
    index = PROJECT / "docs" / "adr" / "README.md"
    pages = {page.name for page in index.parent.glob("[0-9]*.md")}
    assert set(re.findall(r"\]\((\d[^)]*\.md)\)", index.read_text())) == pages
