"""read-qc's commands on every shell and awk that an image may bring: they need nothing else."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import WDL

from tests.examples import fastq
from tests.examples.conftest import PROJECT, need

EXAMPLE = PROJECT / "examples" / "read-qc"
READS = [EXAMPLE / "reads" / f"{name}.fastq.gz" for name in ("good", "trimmed", "poor")]
RECORD = "@r1\nACGTN\n+\nIIII!\n"

# Name -> shell, and what each name on PATH stands for. Everything on busybox is everything on an
# Alpine or busybox image.
DIALECTS: dict[str, tuple[str, dict[str, str]]] = {
    "busybox": (
        "sh",
        dict.fromkeys(("sh", "awk", "gzip", "cat", "cut", "paste"), "busybox"),
    ),
    "dash-mawk": ("dash", {"awk": "mawk"}),
    "bash-gawk": ("bash", {"awk": "gawk"}),
    "dash-bwk-awk": ("dash", {"awk": "original-awk"}),
}


class Image:
    """One shell and its tools; runs a task's command in a directory of its own."""

    def __init__(self, dialect: str, directory: Path) -> None:
        self.shell, tools = DIALECTS[dialect]
        need(*({self.shell} - {"sh"}), *set(tools.values()))
        self._directory = directory
        self._bin = directory / "bin"
        self._bin.mkdir(parents=True)
        for name, program in tools.items():
            found = shutil.which(program)
            assert found
            (self._bin / name).symlink_to(found)
        path = [str(self._bin)]
        if "cat" not in tools:  # the host's other tools
            path += ["/usr/bin", "/bin"]
        self._environment = {"PATH": ":".join(path)}
        shell = shutil.which(self.shell, path=self._environment["PATH"])
        assert shell
        self._shell = shell

    def run(
        self, task: str, inputs: Mapping[str, Any], work: str
    ) -> tuple[subprocess.CompletedProcess[str], Path]:
        """The finished command and the directory it ran in."""
        directory = self._directory / work
        directory.mkdir()
        script = directory / "script"
        script.write_text(command(task, inputs, directory))
        finished = subprocess.run(
            [self._shell, str(script)],
            cwd=directory,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        return finished, directory


class LocalLibrary(WDL.StdLib.Base):
    """`write_lines` writes where the command can read it, under the name it has there."""

    def _virtualize_filename(self, filename: str) -> str:
        return filename


@cache
def document() -> WDL.Tree.Document:
    return WDL.load(str(EXAMPLE / "read-qc.wdl"))


def command(task_name: str, inputs: Mapping[str, Any], scratch: Path) -> str:
    """The task's command for these inputs, evaluated by the WDL library itself."""
    [task] = [task for task in document().tasks if task.name == task_name]
    values = WDL.values_from_json({**inputs, "image": "none"}, task.available_inputs)
    library = LocalLibrary(document().effective_wdl_version, write_dir=str(scratch))
    text: str = task.command.eval(values, library).value
    return text


@pytest.fixture(params=DIALECTS)
def image(request: pytest.FixtureRequest, tmp_path: Path) -> Image:
    return Image(request.param, tmp_path / "image")


@pytest.fixture(params=("count", "quality"))
def task(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def test_the_whole_example_gives_what_plain_python_finds(image: Image) -> None:
    works: dict[str, list[Path]] = {"count": [], "quality": []}
    for reads in READS:
        sample = reads.name.removesuffix(".fastq.gz")
        for task, done in works.items():
            inputs = {"fastq": str(reads), "sample": sample}
            finished, directory = image.run(task, inputs, f"{task}-{sample}")
            assert (finished.returncode, finished.stderr) == (0, "")
            done.append(directory)
    finished, merged = image.run(
        "merge",
        {
            "counts": [str(work / "count.tsv") for work in works["count"]],
            "qualities": [str(work / "quality.tsv") for work in works["quality"]],
            "by_position": [
                str(next(work.glob("*.quality_by_position.tsv"))) for work in works["quality"]
            ],
        },
        "merge",
    )
    assert (finished.returncode, finished.stderr) == (0, "")

    reports = [fastq.report(path) for path in READS]
    assert (merged / "summary.tsv").read_text() == fastq.summary(reports)
    assert (merged / "quality_by_position.tsv").read_text() == fastq.quality_by_position(reports)
    assert int((merged / "total_reads.txt").read_text()) == sum(r.reads for r in reports)
    assert int((merged / "total_bases.txt").read_text()) == sum(r.bases for r in reports)
    for report, counted, scored in zip(reports, works["count"], works["quality"], strict=True):
        assert int((counted / "reads.txt").read_text()) == report.reads
        assert int((counted / "bases.txt").read_text()) == report.bases
        assert (counted / "gc_percent.txt").read_text() == f"{report.gc_percent:.2f}\n"
        assert (scored / "mean_quality.txt").read_text() == f"{report.mean_quality:.2f}\n"


def test_a_file_without_reads_counts_nothing(image: Image, tmp_path: Path) -> None:
    reads = compressed(tmp_path, "")
    finished, counted = image.run("count", {"fastq": reads, "sample": "none"}, "count")
    assert (finished.returncode, finished.stderr) == (0, "")
    assert (counted / "count.tsv").read_text() == "none\t0\t0\t0.00\n"
    finished, scored = image.run("quality", {"fastq": reads, "sample": "none"}, "quality")
    assert (finished.returncode, finished.stderr) == (0, "")
    assert (scored / "quality.tsv").read_text() == "none\t0.00\n"
    assert (scored / "none.quality_by_position.tsv").read_text() == ""


def test_windows_line_ends_and_joined_gzip_files_are_read(image: Image, tmp_path: Path) -> None:
    member = gzip.compress(RECORD.replace("\n", "\r\n").encode())
    reads = tmp_path / "joined.fastq.gz"
    reads.write_bytes(member + member)
    _, counted = image.run("count", {"fastq": str(reads), "sample": "s"}, "count")
    assert (counted / "count.tsv").read_text() == "s\t2\t10\t50.00\n"
    _, scored = image.run("quality", {"fastq": str(reads), "sample": "s"}, "quality")
    assert (scored / "quality.tsv").read_text() == "s\t32.00\n"  # four times 40, once 0


def test_a_name_with_blanks_is_no_trouble(image: Image, task: str, tmp_path: Path) -> None:
    reads = compressed(tmp_path, RECORD, name="a $b `c` d.fastq.gz")
    finished, _ = image.run(task, {"fastq": reads, "sample": "a $b `c` d"}, "work")
    assert (finished.returncode, finished.stderr) == (0, "")


def test_a_truncated_file_fails(image: Image, task: str, tmp_path: Path) -> None:
    reads = tmp_path / "cut.fastq.gz"
    reads.write_bytes(READS[0].read_bytes()[:-1000])
    finished, _ = image.run(task, {"fastq": str(reads), "sample": "cut"}, "work")
    assert finished.returncode != 0
    assert finished.stderr


@pytest.mark.parametrize(
    ("text", "tasks", "complaint"),
    [
        (RECORD + "@r2\nACGT\n", ("count", "quality"), "last record is incomplete"),
        (">r1\nACGT\n>r2\nACGT\n", ("count",), "line 1: a record starts with @"),
        (RECORD + "@r2\nAC\n-\nII\n", ("count",), "line 7: the third line of a record"),
        ("@r1\nACGT\n+\nIII\n", ("quality",), "line 4: as many qualities as bases"),
        ("@r1\nACGT\n+\nII I\n", ("quality",), "line 4: qualities are Phred+33"),
    ],
)
def test_what_is_no_fastq_fails_with_line_and_reason(
    image: Image, text: str, tasks: tuple[str, ...], complaint: str, tmp_path: Path
) -> None:
    reads = compressed(tmp_path, text)
    for task in tasks:
        finished, _ = image.run(task, {"fastq": reads, "sample": "bad"}, f"work-{task}")
        assert finished.returncode == 1
        assert complaint in finished.stderr
        assert finished.stderr.startswith("bad: ")


def test_many_samples_are_merged_from_a_list_not_a_command_line(
    image: Image, tmp_path: Path
) -> None:
    directory = tmp_path / ("long" * 40)
    directory.mkdir()
    count, row = 2000, {"counts": "s\t1\t5\t50.00\n", "qualities": "s\t32.00\n"}
    inputs: dict[str, list[str]] = {"counts": [], "qualities": [], "by_position": []}
    for kind in inputs:
        for number in range(count):
            path = directory / f"{kind}-{number}"
            path.write_text(row.get(kind, "s\t1\t1\t32.00\n"))
            inputs[kind].append(os.fspath(path))
    finished, merged = image.run("merge", inputs, "merge")
    assert (finished.returncode, finished.stderr) == (0, "")
    assert (merged / "total_reads.txt").read_text() == f"{count}\n"
    assert (merged / "total_bases.txt").read_text() == f"{5 * count}\n"
    assert len((merged / "summary.tsv").read_text().splitlines()) == count + 1


def test_a_missing_part_fails_the_merge(image: Image, tmp_path: Path) -> None:
    nowhere = [str(tmp_path / "nowhere")]
    inputs = {"counts": nowhere, "qualities": nowhere, "by_position": nowhere}
    finished, _ = image.run("merge", inputs, "merge")
    assert finished.returncode == 1


def compressed(directory: Path, text: str, name: str = "reads.fastq.gz") -> str:
    path = directory / name
    path.write_bytes(gzip.compress(text.encode()))
    return os.fspath(path)
