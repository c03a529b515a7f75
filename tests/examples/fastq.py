"""What read-qc reports, worked out again in plain Python straight from the FASTQ files."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Report:
    """One sample. `positions` holds, for positions 1, 2, ...: bases there, their mean quality."""

    sample: str
    reads: int
    bases: int
    gc_percent: float
    mean_quality: float
    positions: tuple[tuple[int, float], ...]

    @property
    def summary_row(self) -> str:
        """As in summary.tsv."""
        figures = f"{self.reads}\t{self.bases}\t{self.gc_percent:.2f}\t{self.mean_quality:.2f}"
        return f"{self.sample}\t{figures}\n"

    @property
    def position_rows(self) -> str:
        """As in quality_by_position.tsv."""
        return "".join(
            f"{self.sample}\t{position}\t{count}\t{mean:.2f}\n"
            for position, (count, mean) in enumerate(self.positions, start=1)
        )


SUMMARY_HEADER = "sample\treads\tbases\tgc_percent\tmean_quality\n"
POSITION_HEADER = "sample\tposition\treads\tmean_quality\n"


def summary(reports: list[Report]) -> str:
    """The whole of summary.tsv."""
    return SUMMARY_HEADER + "".join(report.summary_row for report in reports)


def quality_by_position(reports: list[Report]) -> str:
    """The whole of quality_by_position.tsv."""
    return POSITION_HEADER + "".join(report.position_rows for report in reports)


def report(path: Path) -> Report:
    """Read one gzipped FASTQ file."""
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    reads, qualities = lines[1::4], lines[3::4]
    bases = "".join(reads).upper()
    gc, at = bases.count("G") + bases.count("C"), bases.count("A") + bases.count("T")
    scores = [[ord(letter) - 33 for letter in quality] for quality in qualities]
    longest = max(map(len, scores), default=0)
    columns = [[row[i] for row in scores if len(row) > i] for i in range(longest)]
    return Report(
        sample=path.name.removesuffix(".fastq.gz"),
        reads=len(reads),
        bases=len(bases),
        gc_percent=100 * gc / (gc + at) if gc + at else 0.0,
        mean_quality=sum(map(sum, scores)) / len(bases) if bases else 0.0,
        positions=tuple((len(column), sum(column) / len(column)) for column in columns),
    )
