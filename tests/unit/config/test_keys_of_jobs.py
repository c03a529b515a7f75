"""Keys of Cromwell's about jobs: how long is slow, and which shell runs commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator import errors
from orchestrator.config import settings
from orchestrator.config.providers import LocalProvider

FILE = """include required(classpath("application"))
backend.default = Local
backend.providers.Local {
  actor-factory = "cromwell.backend.impl.sfs.config.ConfigBackendLifecycleActorFactory"
  config { %s }
}
%s
"""


def loaded(tmp_path: Path, keys: str, rest: str = "") -> settings.Settings:
    path = tmp_path / "cromwell.conf"
    path.write_text(FILE % (keys, rest))
    return settings.load(path)


def local(tmp_path: Path, keys: str) -> LocalProvider:
    provider = loaded(tmp_path, keys).backend.providers["Local"]
    assert isinstance(provider, LocalProvider)
    return provider


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("24 hours", 86_400.0),
        ("1h", 3600.0),
        ('"90 minutes"', 5400.0),
        ("1.5 d", 129_600.0),
        ("30 s", 30.0),
        ("5000", 5.0),
        ("250 millis", 0.25),
    ],
)
def test_durations_are_those_of_hocon(tmp_path: Path, text: str, seconds: float) -> None:
    provider = local(tmp_path, f"slow-job-warning-time = {text}")
    assert provider.config.slow_job_warning_time == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["soon", "3 fortnights", "-1 h", "0 s", "true", "[1]", '"1 H"'])
def test_what_is_no_duration_is_refused_with_its_place(tmp_path: Path, text: str) -> None:
    with pytest.raises(errors.InvalidConfig, match="slow-job-warning-time") as raised:
        loaded(tmp_path, f"slow-job-warning-time = {text}")
    assert "5:" in str(raised.value)


@pytest.mark.parametrize(
    ("text", "shell"),
    [
        ("/bin/bash", "/bin/bash"),
        ('"/usr/bin/env bash"', "/bin/bash"),
        ('"/usr/bin/env sh"', "/bin/sh"),
        ("/opt/conda/bin/bash", "/opt/conda/bin/bash"),
    ],
)
def test_a_shell_is_the_path_of_one(tmp_path: Path, text: str, shell: str) -> None:
    assert local(tmp_path, f"job-shell = {text}").config.job_shell == shell
    assert loaded(tmp_path, "", f"system.job-shell = {text}").system.job_shell == shell


@pytest.mark.parametrize("text", ["bash", '"/bin/bash -l"', '"/usr/bin/env python"', '"/a\'b"'])
def test_what_is_no_path_of_a_shell_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(errors.InvalidConfig, match="job-shell"):
        loaded(tmp_path, f"job-shell = {text}")


def test_bash_is_the_default_and_both_keys_are_used(tmp_path: Path) -> None:
    found = loaded(tmp_path, "slow-job-warning-time = 1 h, job-shell = /bin/dash")
    assert found.system.job_shell == "/bin/bash"
    assert not [w for w in found.warnings if "job" in w.message]
