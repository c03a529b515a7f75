version 1.1

## First look at sequencing reads: how many, how long, how much GC, how good at each position.
##
## Takes any number of gzipped FASTQ files (four lines a record, Phred+33) and looks at all of them
## at the same time. The commands need nothing but a POSIX shell, awk and gzip, so any image that has
## these will do: debian, alpine, busybox.

struct ReadStats {
    String sample
    Int reads
    Int bases
    Float gc_percent
    Float mean_quality
    File quality_by_position
}

workflow read_qc {
    input {
        Array[File]+ fastqs
        String image = "debian:12-slim"
    }

    parameter_meta {
        fastqs: "FASTQ files, gzipped; the sample is named after its file"
        image: "any image with sh, awk and gzip"
    }

    scatter (fastq in fastqs) {
        String sample = basename(basename(fastq, ".fastq.gz"), ".fq.gz")

        call count { input: fastq, sample, image }
        call quality { input: fastq, sample, image }

        ReadStats stats = ReadStats {
            sample: sample,
            reads: count.reads,
            bases: count.bases,
            gc_percent: count.gc_percent,
            mean_quality: quality.mean_quality,
            quality_by_position: quality.by_position
        }
    }

    call merge {
        input:
            counts = count.row,
            qualities = quality.row,
            by_position = quality.by_position,
            image
    }

    output {
        Array[ReadStats] samples = stats
        File summary = merge.summary
        File quality_by_position = merge.quality_by_position
        Int total_reads = merge.total_reads
        Int total_bases = merge.total_bases
    }
}

## Reads, bases and GC of one file. GC is the part of the called bases: N counts for neither side.
task count {
    input {
        File fastq
        String sample
        String image
    }

    # A POSIX shell does not see the exit code of a pipe's left side, so gzip leaves a mark when it
    # fails: a truncated file must not pass for a short one.
    command <<<
        set -eu
        { gzip -dc < '~{fastq}' || : > unreadable; } | LC_ALL=C SAMPLE='~{sample}' awk '
            function malformed(what) {
                printf "%s: line %.0f: %s\n", ENVIRON["SAMPLE"], NR, what | "cat >&2"
                failed = 1
                exit 1
            }
            { sub(/\r$/, "") }
            NR % 4 == 1 && !/^@/ { malformed("a record starts with @") }
            NR % 4 == 2 {
                reads++
                bases += length($0)
                rest = $0
                gc += gsub(/[GCgc]/, "", rest)
                at += gsub(/[ATUatu]/, "", rest)
            }
            NR % 4 == 3 && !/^\+/ { malformed("the third line of a record starts with +") }
            END {
                if (failed) exit 1
                if (NR % 4) malformed("the last record is incomplete")
                percent = gc + at ? 100 * gc / (gc + at) : 0
                printf "%.0f\n", reads > "reads.txt"
                printf "%.0f\n", bases > "bases.txt"
                printf "%.2f\n", percent > "gc_percent.txt"
                printf "%s\t%.0f\t%.0f\t%.2f\n", ENVIRON["SAMPLE"], reads, bases, percent > "count.tsv"
            }
        '
        if [ -e unreadable ]; then
            echo '~{sample}: not a whole gzip file' >&2
            exit 1
        fi
    >>>

    output {
        Int reads = read_int("reads.txt")
        Int bases = read_int("bases.txt")
        Float gc_percent = read_float("gc_percent.txt")
        File row = "count.tsv"
    }

    runtime {
        container: image
        cpu: 1
        memory: "512 MiB"
    }
}

## Mean quality at each position of the reads, counted from 1, and over all bases.
task quality {
    input {
        File fastq
        String sample
        String image
    }

    command <<<
        set -eu
        { gzip -dc < '~{fastq}' || : > unreadable; } | LC_ALL=C SAMPLE='~{sample}' awk '
            function malformed(what) {
                printf "%s: line %.0f: %s\n", ENVIRON["SAMPLE"], NR, what | "cat >&2"
                failed = 1
                exit 1
            }
            BEGIN { for (i = 0; i < 94; i++) phred[sprintf("%c", i + 33)] = i }
            { sub(/\r$/, "") }
            NR % 4 == 2 { called = length($0) }
            NR % 4 == 0 {
                size = length($0)
                if (size != called) malformed("as many qualities as bases are needed")
                if (size > longest) longest = size
                for (i = 1; i <= size; i++) {
                    letter = substr($0, i, 1)
                    if (!(letter in phred)) malformed("qualities are Phred+33, from ! to ~")
                    sum[i] += phred[letter]
                    seen[i]++
                }
            }
            END {
                if (failed) exit 1
                if (NR % 4) malformed("the last record is incomplete")
                table = ENVIRON["SAMPLE"] ".quality_by_position.tsv"
                printf "" > table
                for (i = 1; i <= longest; i++) {
                    total += sum[i]
                    bases += seen[i]
                    mean = sum[i] / seen[i]
                    printf "%s\t%.0f\t%.0f\t%.2f\n", ENVIRON["SAMPLE"], i, seen[i], mean > table
                }
                mean = bases ? total / bases : 0
                printf "%.2f\n", mean > "mean_quality.txt"
                printf "%s\t%.2f\n", ENVIRON["SAMPLE"], mean > "quality.tsv"
            }
        '
        if [ -e unreadable ]; then
            echo '~{sample}: not a whole gzip file' >&2
            exit 1
        fi
    >>>

    output {
        Float mean_quality = read_float("mean_quality.txt")
        File by_position = sample + ".quality_by_position.tsv"
        File row = "quality.tsv"
    }

    runtime {
        container: image
        cpu: 1
        memory: "512 MiB"
    }
}

## One table of all samples, one of all positions, and the sums, in the order of the input files.
task merge {
    input {
        Array[File] counts
        Array[File] qualities
        Array[File] by_position
        String image
    }

    # Lists of files, not arguments: thousands of samples do not fit on a command line.
    command <<<
        set -eu
        gather() {
            awk '{
                while ((got = (getline line < $0)) > 0) print line
                if (got < 0) exit 1
                close($0)
            }' "$1"
        }
        gather '~{write_lines(counts)}' > counts.tsv
        gather '~{write_lines(qualities)}' > qualities.tsv
        cut -f 2 qualities.tsv > mean_qualities.tsv
        {
            printf 'sample\treads\tbases\tgc_percent\tmean_quality\n'
            paste counts.tsv mean_qualities.tsv
        } > summary.tsv
        {
            printf 'sample\tposition\treads\tmean_quality\n'
            gather '~{write_lines(by_position)}'
        } > quality_by_position.tsv
        awk -F '\t' '
            { reads += $2; bases += $3 }
            END {
                printf "%.0f\n", reads > "total_reads.txt"
                printf "%.0f\n", bases > "total_bases.txt"
            }
        ' counts.tsv
    >>>

    output {
        File summary = "summary.tsv"
        File quality_by_position = "quality_by_position.tsv"
        Int total_reads = read_int("total_reads.txt")
        Int total_bases = read_int("total_bases.txt")
    }

    runtime {
        container: image
        cpu: 1
        memory: "512 MiB"
    }
}
