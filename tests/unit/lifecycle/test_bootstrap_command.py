"""`orchestrator bootstrap`: what is wrong is named before anything is started."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from orchestrator import errors
from stacks.lifecycle import command, local


def refusal(*arguments: str) -> errors.OrchestratorError:
    app = typer.Typer()
    app.command()(command.app)
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, errors.OrchestratorError), result.output
    assert result.stdout == ""
    return result.exception


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (("--local", "--environment", "dev"), "--environment"),
        (("--local", "--profile", "mine"), "--profile"),
        (("--jobs", "docker"), "--jobs"),
        (("--home", "."), "--home"),
    ],
)
def test_an_option_that_would_mean_nothing_is_refused(
    arguments: tuple[str, ...], option: str
) -> None:
    error = refusal(*arguments)
    assert error.exit_code == 3
    assert error.message.startswith(option)


@pytest.mark.parametrize("name", ["a:b", "a$b", "a'b", 'a"b', "a,b", "a\\b", "a\nb", "a%b"])
def test_a_home_whose_name_cannot_be_used_is_refused_with_the_character(
    tmp_path: Path, name: str
) -> None:
    character = name[1]
    error = refusal("--local", "--home", str(tmp_path / name))
    assert repr(character) in error.message
    assert error.exit_code == 3
    assert not (tmp_path / name).exists()


def test_blanks_and_letters_of_any_language_are_fine(tmp_path: Path) -> None:
    assert local.home(tmp_path / "my über home") == tmp_path / "my über home"


@pytest.mark.parametrize("name", ["home", "home/.local-aws"])
def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("a file")
    assert f"{path} is not a folder" in refusal("--local", "--home", str(tmp_path / "home")).message


def test_jobs_in_docker_without_an_engine_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody")
    error = refusal("--local", "--jobs", "docker", "--home", str(tmp_path))
    assert isinstance(error, errors.BackendUnavailable)
    assert not local.state(tmp_path).exists()


def test_an_unknown_way_to_run_jobs_is_refused(tmp_path: Path) -> None:
    assert "'podman'" in refusal("--local", "--jobs", "podman", "--home", str(tmp_path)).message


def test_a_profile_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "ROOT", tmp_path)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    error = refusal("--environment", "dev", "--profile", "nobody")
    assert isinstance(error, errors.EnvironmentProblem)
    assert "nobody" in error.message
    assert "--local" in error.hint


def test_destroying_what_is_not_there_is_fine(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(command.app)
    arguments = ["--local", "--destroy", "--home", str(tmp_path)]
    result = CliRunner().invoke(app, arguments)
    assert (result.exit_code, result.stdout) == (0, "")
    assert "nothing was there" in result.stderr
