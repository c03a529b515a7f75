"""Makes the reads of both examples; the same bytes (uncompressed) each time.

    python3 examples/simulate_reads.py

The reference is the genome of phage lambda (NCBI RefSeq NC_001416.1, which NCBI gives away without
restrictions), taken from Debian's `bowtie2-examples`. Everything else is made here: reads of
`read-qc` that differ in what a quality report should find, and for `variant-calling` two samples
with known differences from the reference, written to `truth.vcf`.
"""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

EXAMPLES = Path(__file__).parent
REFERENCE = EXAMPLES / "variant-calling" / "data" / "lambda.fa"
COMPLEMENT = str.maketrans("ACGTN", "TGCAN")

Record = tuple[str, str, str]  # name, bases, qualities (Phred+33)


def reference() -> tuple[str, str]:
    """Name and bases of the one sequence in the reference."""
    header, *lines = REFERENCE.read_text().split("\n")
    return header[1:].split()[0], "".join(lines)


def write_fastq(path: Path, records: Iterable[Record]) -> None:
    """No name and no time in the gzip header: the same reads give the same file."""
    text = "".join(f"@{name}\n{bases}\n+\n{quality}\n" for name, bases, quality in records)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(gzip.compress(text.encode(), compresslevel=9, mtime=0))


def reverse_complement(bases: str) -> str:
    """The other strand, read in its own direction."""
    return bases.translate(COMPLEMENT)[::-1]


def sequenced(dice: random.Random, bases: str, score_at: Callable[[int], int]) -> tuple[str, str]:
    """What a sequencer makes of these bases: wrong ones as often as its scores say."""
    called, quality = [], []
    for position, base in enumerate(bases):
        score = score_at(position)
        if score <= 2:
            base = "N"
        elif dice.random() < 10 ** (-score / 10):
            base = dice.choice([other for other in "ACGT" if other != base])
        called.append(base)
        quality.append(chr(score + 33))
    return "".join(called), "".join(quality)


def fragments(
    dice: random.Random, genome: str, count: int, sizes: tuple[int, int]
) -> Iterator[str]:
    """Pieces from anywhere, of either strand."""
    for _ in range(count):
        size = dice.randint(*sizes)
        start = dice.randrange(len(genome) - size)
        piece = genome[start : start + size]
        yield piece if dice.random() < 0.5 else reverse_complement(piece)


def read_qc() -> None:
    """Three samples: a good one, one trimmed to all lengths, and one that falls off, with Ns."""
    _, genome = reference()

    def sample(
        name: str, count: int, sizes: tuple[int, int], start: float, loss: float, dropouts: float
    ) -> None:
        dice = random.Random(name)  # noqa: S311  (reproducible, not secret)

        def score_at(position: int) -> int:
            if dice.random() < dropouts:
                return 2
            # Steps of four: sequencers bin their scores, and it keeps the files small.
            return max(6, min(40, round((start - loss * position + dice.gauss(0, 2)) / 4) * 4))

        def records() -> Iterator[Record]:
            for number, piece in enumerate(fragments(dice, genome, count, sizes), start=1):
                bases, quality = sequenced(dice, piece, score_at)
                yield f"{name}.{number}", bases, quality

        write_fastq(EXAMPLES / "read-qc" / "reads" / f"{name}.fastq.gz", records())

    sample("good", 600, (100, 100), start=39, loss=0.02, dropouts=0.0)
    sample("trimmed", 700, (35, 100), start=37, loss=0.05, dropouts=0.001)
    sample("poor", 500, (100, 100), start=34, loss=0.22, dropouts=0.02)


def variants(dice: random.Random, genome: str) -> dict[int, str]:
    """Thirty positions (counted from 0), far from each other and the ends, and their new base."""
    step = len(genome) // 31
    positions = [step * (number + 1) + dice.randint(-300, 300) for number in range(30)]
    return {
        position: dice.choice([base for base in "ACGT" if base != genome[position]])
        for position in positions
    }


def variant_calling() -> None:
    """Two samples of paired reads. Each third variant is in both, the others in one of them."""
    contig, genome = reference()
    dice = random.Random("truth")  # noqa: S311
    truth = variants(dice, genome)
    owners = {
        position: (index % 3 != 1, index % 3 != 2) for index, position in enumerate(sorted(truth))
    }
    samples = ("phage_a", "phage_b")
    for column, name in enumerate(samples):
        mine = list(genome)
        for position, base in truth.items():
            if owners[position][column]:
                mine[position] = base
        paired_reads(name, "".join(mine))

    rows = [
        f"{contig}\t{position + 1}\t.\t{genome[position]}\t{truth[position]}\t.\t.\t.\tGT\t"
        + "\t".join("1" if has else "0" for has in owners[position])
        for position in sorted(truth)
    ]
    header = [
        "##fileformat=VCFv4.2",
        f"##contig=<ID={contig},length={len(genome)}>",
        '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">',
        "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\t" + "\t".join(samples),
    ]
    (REFERENCE.parent / "truth.vcf").write_text("\n".join(header + rows) + "\n")


def paired_reads(name: str, genome: str) -> None:
    """Both ends of fragments of 250 to 400 bases, 100 bases each, 16 reads over each position."""
    dice = random.Random(name)  # noqa: S311

    def score_at(position: int) -> int:
        return 37 if dice.random() < 0.97 else 22

    pairs = [
        (f"{name}.{number}", piece)
        for number, piece in enumerate(
            fragments(dice, genome, len(genome) * 16 // 200, (250, 400)), start=1
        )
    ]
    for mate in (1, 2):
        records: list[Record] = []
        for read, piece in pairs:
            end = piece[:100] if mate == 1 else reverse_complement(piece)[:100]
            records.append((read, *sequenced(dice, end, score_at)))
        write_fastq(REFERENCE.parent / f"{name}_{mate}.fastq.gz", records)


if __name__ == "__main__":
    read_qc()
    variant_calling()
