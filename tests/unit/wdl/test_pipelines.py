"""Pipelines as people write them for Cromwell: they load, say what they lean on, and step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator import errors
from orchestrator.wdl import bundle, document
from orchestrator.wdl.facts import Facts
from tests.unit.wdl.drive import pin, run, start

PIPELINES = Path(__file__).parent / "pipelines"

BAMS = ["s3://in/a.bam", "s3://in/b.bam"]


def read(name: str) -> document.Document:
    return document.load(bundle.read(PIPELINES / name))


def said(loaded: document.Document) -> set[str]:
    return {str(warning.place) for warning in loaded.warnings}


def sizes() -> Facts:
    return pin(Facts(), **{"a.bam": 2**30, "b.bam": 2**31, "ref.fa": 2**30})


def test_warp() -> None:
    loaded = read("warp/JointQC.wdl")
    assert said(loaded) == {
        "JointQC.wdl:22:18",
        "JointQC.wdl:59:21",
        "JointQC.wdl:60:27",
        "tasks/QC.wdl:48:12",
    }
    reference = {"ref_dict": "s3://in/d", "ref_fasta": "s3://in/ref.fa", "ref_fasta_index": "/i"}
    given = {
        "JointQC.sample_and_unmapped_bams": {
            "base_file_name": "s",
            "flowcell_unmapped_bams": BAMS,
            "sample_name": "s",
            "unmapped_bam_suffix": ".bam",
        },
        "JointQC.references": {"reference_fasta": reference, "known_indels_sites_vcfs": []},
        "JointQC.papi_settings": {"preemptible_tries": 3, "agg_preemptible_tries": 3},
        "JointQC.wgs_coverage_interval_list": "s3://in/intervals",
        "JointQC.SplitAlignment.compression_level": 5,
        "JointQC.SumFloats.runtime.preemptible": 0,
    }
    answers: dict[str, dict[str, Any]] = {
        "CollectQualityYieldMetrics": {"quality_yield_metrics": "s3://out/m"},
        "SplitAlignment": {"output_bam": "s3://out/bam"},
        "SumFloats": {"total_size": 3.0},
    }
    outputs, calls = run(start(loaded, given, sizes()), lambda call: answers[call.name])
    assert len(calls) == 5
    assert json.loads(calls["call-SplitAlignment-1"].inputs)["disk_size"] == 4
    assert json.loads(calls["call-SumFloats"].inputs)["runtime.preemptible"] == 0
    assert outputs == {
        "JointQC.quality_yield_metrics": ["s3://out/m"] * 2,
        "JointQC.total_size": 3.0,
        "JointQC.fingerprint_summary_metrics": None,
        "JointQC.output_bam": None,
        "JointQC.basename_out": "s.aligned",
    }


def test_viral() -> None:
    loaded = read("viral/assemble_denovo.wdl")
    assert loaded.warnings == ()
    answers: dict[str, dict[str, Any]] = {
        "deplete": {"cleaned": "s3://out/c", "count": 7},
        "assemble": {"contigs": "s3://o/f", "length": 9, "unambiguous": 8, "version": "2"},
    }
    given = {
        "assemble_denovo.reads_unmapped_bams": BAMS,
        "assemble_denovo.reference_genome_fasta": [],
        "assemble_denovo.sample_names": {"keep": "all"},
        "assemble_denovo.assemble.machine_mem_gb": 64,
    }
    outputs, calls = run(start(loaded, given), lambda call: answers[call.name])
    assert list(outputs.values()) == ["s3://o/f", 9, 8, [7, 7], "2"]
    assert json.loads(calls["call-assemble"].inputs)["machine_mem_gb"] == 64
    with pytest.raises(errors.InvalidInputs, match="do not fit"):
        start(loaded, {**given, "assemble_denovo.reads_unmapped_bams": []})


def test_centaur() -> None:
    loaded = read("centaur/lookup.wdl")
    assert said(loaded) == {"lookup.wdl:20:3", "lookup.wdl:35:3", "lookup.wdl:42:3"}

    def behave(call: Any) -> dict[str, Any]:
        given = json.loads(call.inputs)
        if call.callee == "made":
            return {"out": given["n"]}
        if call.callee == "consume":
            assert given["numbers"] == {"first": 1, "second": "two"}
            return {"lines": []}
        return {"out": "s3://o/f", "said": f"{given['n']}", "all": []}

    outputs, calls = run(start(loaded, {"lookup.many.runtime.docker": "debian"}), behave)
    assert outputs == {
        "lookup.mkFile.said": "3",
        "lookup.many.out": ["s3://o/f"] * 2,
        "lookup.many.said": ["1", "2"],
        "lookup.many.all": [[], []],
        "lookup.inner.made.out": 3,
    }
    assert json.loads(calls["call-many-0"].inputs)["runtime.docker"] == "debian"
