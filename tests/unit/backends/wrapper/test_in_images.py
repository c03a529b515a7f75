"""The wrapper in images of any kind, whose root cannot be written to, as any user."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import tarfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from orchestrator.backends.wrapper import wrapper_path
from orchestrator.model.job import OutputPlan
from tests import containers
from tests.containers import BUSYBOX

from .conftest import Lab

pytestmark = pytest.mark.docker

BASH = Path("/bin/bash")


def _libraries(program: Path) -> Sequence[Path]:
    """The C library, its loader, and whatever else a program of this machine needs."""
    listed = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=True)
    return [Path(path) for path in re.findall(r"(/\S+) \(0x", listed.stdout)]


def _image(files: dict[str, Path]) -> str:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, source in files.items():
            tar.add(source.resolve(), name.lstrip("/"))
        for name in ("tmp", "etc", "proc", "sys", "dev"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
    name = f"wrapper-test:{uuid.uuid4().hex}"
    command = ["docker", "import", "-", name]
    subprocess.run(command, input=archive.getvalue(), capture_output=True, check=True, timeout=120)
    return name


@pytest.fixture(scope="module")
def images() -> Iterator[Callable[[str], str]]:
    """By kind: `glibc` has bash and no other program, `shell` a static sh, `empty` nothing."""
    if reason := containers.why_not():
        pytest.skip(reason)
    made: dict[str, str] = {}

    def image(kind: str) -> str:
        if kind not in made:
            match kind:
                case "glibc":
                    needed = {str(path): path for path in _libraries(BASH)}
                    made[kind] = _image({"/bin/bash": BASH, **needed})
                case "shell":
                    made[kind] = _image({"/bin/sh": BUSYBOX})
                case _:
                    made[kind] = _image({})
        return made[kind]

    yield image
    for name in made.values():
        subprocess.run(["docker", "rmi", "-f", name], capture_output=True, timeout=60)


@pytest.mark.parametrize("lab", ["busybox"], indirect=True)
@pytest.mark.parametrize("user", ["0", "1234:1234"])
@pytest.mark.parametrize("kind", ["glibc", "shell", "empty"])
def test_nothing_but_the_attempts_own_directories_is_needed(
    lab: Lab, images: Callable[[str], str], kind: str, user: str
) -> None:
    script = 'echo "${BASH_VERSION:+bash}"; echo made >"$TMPDIR/x"; echo $HOME >o.txt; exit 3'
    job = lab.job(script, outputs=OutputPlan(globs=("*.txt",), reads=("o.txt",)))
    private = lab.prepare(job)
    directory = Path(job.work_dir.path).parent
    shutil.copy(BUSYBOX, lab.tools / "busybox")
    shutil.copy(wrapper_path(), private / "wrapper.sh")
    for place in (lab.root, *list(lab.root.parents)[:3]):
        place.chmod(0o755)
    for place in (directory, Path(job.work_dir.path), private):
        place.chmod(0o777)
    run = subprocess.run(
        [
            *("docker", "run", "--rm", "--read-only", "--network", "none", "--user", user),
            *("--volume", f"{lab.tools}:{lab.tools}:ro"),
            *("--volume", f"{directory}:{directory}", "--volume", f"{private}:{private}"),
            images(kind),
            *(str(lab.tools / "sh"), str(private / "wrapper.sh"), str(lab.tools)),
            *(str(private), "job:1"),
        ],
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 3, run.stderr
    found = lab.manifest(job)
    assert found.return_code == 3
    assert found.failure is None
    assert found.globs["*.txt"] == ("o.txt",)
    assert found.files["o.txt"].content == f"{directory}/home\n".encode()
    assert found.peak_memory_bytes is None or found.peak_memory_bytes > 0
    assert found.peak_disk_bytes
    assert run.stdout.decode() == ("bash\n" if kind == "glibc" else "\n")
    assert Path(job.work_dir.stdout).read_bytes() == run.stdout
