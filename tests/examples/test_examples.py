"""Each example, run by the command that its README gives, from the project's root."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.examples import fastq
from tests.examples.conftest import PROJECT, Run, need, outputs_of

READ_QC = ("run", "examples/read-qc/read-qc.wdl", "-i", "examples/read-qc/inputs.json")
VARIANT_CALLING = (
    "run",
    "examples/variant-calling/variant-calling.wdl",
    "-i",
    "examples/variant-calling/inputs.json",
)
WORKFLOWS = sorted((PROJECT / "examples").glob("*/*.wdl"))
SAMPLES = ("good", "trimmed", "poor")


def test_hello(orchestrator: Run) -> None:
    finished = orchestrator("run", "examples/hello/hello.wdl", "name=World", "--no-containers")
    assert outputs_of(finished) == {"hello.greeting": "Hello, World!"}


def test_read_qc_reports_what_plain_python_finds(orchestrator: Run) -> None:
    outputs = outputs_of(orchestrator(*READ_QC, "--no-containers"))
    reads = PROJECT / "examples" / "read-qc" / "reads"
    reports = [fastq.report(reads / f"{sample}.fastq.gz") for sample in SAMPLES]

    assert set(outputs) == {
        f"read_qc.{name}"
        for name in ("samples", "summary", "quality_by_position", "total_reads", "total_bases")
    }
    assert Path(outputs["read_qc.summary"]).read_text() == fastq.summary(reports)
    positions = Path(outputs["read_qc.quality_by_position"]).read_text()
    assert positions == fastq.quality_by_position(reports)
    assert outputs["read_qc.total_reads"] == sum(report.reads for report in reports)
    assert outputs["read_qc.total_bases"] == sum(report.bases for report in reports)
    for report, found in zip(reports, outputs["read_qc.samples"], strict=True):
        file = Path(found.pop("quality_by_position"))
        assert file.name == f"{report.sample}.quality_by_position.tsv"
        assert file.read_text() == report.position_rows
        assert found == {
            "sample": report.sample,
            "reads": report.reads,
            "bases": report.bases,
            "gc_percent": round(report.gc_percent, 2),
            "mean_quality": round(report.mean_quality, 2),
        }


def test_the_committed_tables_of_read_qc_are_true() -> None:
    example = PROJECT / "examples" / "read-qc"
    reports = [fastq.report(example / "reads" / f"{sample}.fastq.gz") for sample in SAMPLES]
    assert (example / "expected" / "summary.tsv").read_text() == fastq.summary(reports)
    positions = (example / "expected" / "quality_by_position.tsv").read_text()
    assert positions == fastq.quality_by_position(reports)


def test_a_truncated_input_fails_the_run_and_is_named(orchestrator: Run, project: Path) -> None:
    reads = project / "examples" / "read-qc" / "reads" / "poor.fastq.gz"
    reads.write_bytes(reads.read_bytes()[:-500])
    finished = orchestrator(*READ_QC, "--no-containers")
    assert finished.returncode == 1
    assert finished.stdout == ""
    assert "poor: not a whole gzip file" in finished.stderr or "poor: line" in finished.stderr


@pytest.fixture
def variant_tools() -> None:
    need("bwa", "samtools", "bcftools")


@pytest.mark.usefixtures("variant_tools")
def test_variant_calling_finds_every_simulated_variant_and_no_other(orchestrator: Run) -> None:
    outputs = outputs_of(orchestrator(*VARIANT_CALLING, "--no-containers"))
    value = {name.removeprefix("variant_calling."): it for name, it in outputs.items()}

    truth = (PROJECT / "examples" / "variant-calling" / "data" / "truth.vcf").read_text()
    vcf = Path(value["vcf"])
    assert genotypes(gzip.decompress(vcf.read_bytes()).decode()) == genotypes(truth)
    assert value["variants"] == 30

    # The indexes lie beside their files and work there.
    position = subprocess.run(
        ["bcftools", "view", "--no-header", "--regions", "NC_001416.1:1702", vcf],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert position.startswith("NC_001416.1\t1702\t")
    for sample, bam, bai in zip(("phage_a", "phage_b"), value["bams"], value["bais"], strict=True):
        assert (Path(bam).name, Path(bai).name) == (f"{sample}.bam", f"{sample}.bam.bai")
        counted = subprocess.run(
            ["samtools", "view", "-c", bam, "NC_001416.1:1000-2000"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        assert int(counted) > 100

    assert value["reads"] == [7760, 7760]  # as many as were simulated
    assert value["mapped_reads"] == [7760, 7760]
    for index, path in enumerate(value["depths"]):
        rows = gzip.decompress(Path(path).read_bytes()).decode().splitlines()
        depths = [int(row.split("\t")[2]) for row in rows]
        assert len(depths) == 48502
        assert value["mean_depths"][index] == pytest.approx(sum(depths) / len(depths), abs=0.005)
        covered = 100 * sum(depth > 0 for depth in depths) / len(depths)
        assert value["covered_percents"][index] == pytest.approx(covered, abs=0.005)
    for path in value["flagstats"]:
        assert "7760 + 0 primary mapped (100.00% : N/A)" in Path(path).read_text()


@pytest.mark.usefixtures("variant_tools")
def test_variants_of_a_region_need_the_bam_index_and_find_it(orchestrator: Run) -> None:
    outputs = outputs_of(
        orchestrator(*VARIANT_CALLING, "region=NC_001416.1:1000-4000", "--no-containers")
    )
    assert outputs["variant_calling.variants"] == 2
    called = genotypes(gzip.decompress(Path(outputs["variant_calling.vcf"]).read_bytes()).decode())
    assert [position for position, *_ in called] == ["1702", "3288"]


def test_the_committed_reads_are_what_the_script_makes(project: Path) -> None:
    examples = project / "examples"
    made = [*examples.rglob("*.fastq.gz"), examples / "variant-calling" / "data" / "truth.vcf"]
    assert len(made) == 8
    for path in made:
        path.unlink()
    subprocess.run([sys.executable, examples / "simulate_reads.py"], check=True)
    for path in made:
        committed = PROJECT / path.relative_to(project)
        assert content(path) == content(committed), path.name


@pytest.mark.parametrize("wdl", WORKFLOWS, ids=lambda wdl: str(wdl.name))
def test_the_example_has_nothing_that_a_strict_check_would_say(wdl: Path) -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "WDL", "check", "--strict", wdl], capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr


@pytest.mark.parametrize("example", ["read-qc", "variant-calling"])
def test_every_input_of_the_examples_exists(example: str) -> None:
    directory = PROJECT / "examples" / example

    def files(value: object) -> list[str]:
        if isinstance(value, dict):
            return [path for item in value.values() for path in files(item)]
        if isinstance(value, list):
            return [path for item in value for path in files(item)]
        return [value] if isinstance(value, str) and "/" in value else []

    named = files(json.loads((directory / "inputs.json").read_text()))
    assert named
    assert [path for path in named if not (directory / path).is_file()] == []


def content(path: Path) -> bytes:
    """Without the compression: its bytes may change with zlib's version."""
    data = path.read_bytes()
    return gzip.decompress(data) if path.suffix == ".gz" else data


def genotypes(vcf: str) -> list[tuple[str, ...]]:
    """Position, reference, alternative and the genotype of each sample."""
    rows = [line.split("\t") for line in vcf.splitlines() if not line.startswith("#")]
    return [(row[1], row[3], row[4], *(sample.split(":")[0] for sample in row[9:])) for row in rows]
