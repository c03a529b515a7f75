version 1.0

## From paired reads of haploid samples to one VCF: align (bwa), sort, index and measure (samtools)
## each sample on its own, then call variants over all of them together (bcftools).
##
## Tools find an index beside the file it belongs to. So every task that makes or takes one handles
## both, and a task's files of one directory lie in one directory again where they are used.

struct Sample {
    String name
    File reads_1
    File reads_2
}

workflow variant_calling {
    input {
        File reference
        Array[Sample]+ samples
        String? region
        Int align_threads = 2
        String align_image = "quay.io/biocontainers/mulled-v2-fe8faa35dbf6dc65a0f7f5d4ea12e31a79f73e40:219b6c272b25e7e642ae3ff0bf0c5c81a5135ab4-0"
        String call_image = "quay.io/biocontainers/bcftools:1.17--haef29d1_0"
    }

    parameter_meta {
        reference: "FASTA, not compressed"
        samples: "name and paired reads (FASTQ, gzipped) of each sample; every name once"
        region: "call variants here only, such as NC_001416.1:1000-2000"
        align_image: "an image with bwa, samtools and awk"
        call_image: "an image with bcftools"
    }

    call index_reference { input: reference = reference, image = align_image }

    scatter (sample in samples) {
        call align {
            input:
                sample = sample,
                fasta = index_reference.fasta,
                bwa_index = index_reference.bwa_index,
                threads = align_threads,
                image = align_image
        }
        call measure {
            input:
                name = sample.name,
                bam = align.bam,
                bai = align.bai,
                image = align_image
        }
    }

    call call_variants {
        input:
            bams = align.bam,
            bais = align.bai,
            fasta = index_reference.fasta,
            fai = index_reference.fai,
            region = region,
            image = call_image
    }

    output {
        Array[File] bams = align.bam
        Array[File] bais = align.bai
        Array[File] flagstats = measure.flagstat
        Array[File] idxstats = measure.idxstats
        Array[Int] reads = measure.reads
        Array[Int] mapped_reads = measure.mapped_reads
        Array[File] depths = measure.depth
        Array[Float] mean_depths = measure.mean_depth
        Array[Float] covered_percents = measure.covered_percent
        File vcf = call_variants.vcf
        File tbi = call_variants.tbi
        Int variants = call_variants.variants
    }
}

## The reference with the indexes of bwa and samtools beside it.
task index_reference {
    input {
        File reference
        String image
    }

    # A copy: indexes must lie beside their file, and an input's directory is not ours to write to.
    command <<<
        set -euo pipefail
        cp '~{reference}' reference.fa
        bwa index reference.fa
        samtools faidx reference.fa
    >>>

    output {
        File fasta = "reference.fa"
        File fai = "reference.fa.fai"
        Array[File] bwa_index = [
            "reference.fa.amb",
            "reference.fa.ann",
            "reference.fa.bwt",
            "reference.fa.pac",
            "reference.fa.sa"
        ]
    }

    runtime {
        docker: image
        cpu: 1
        memory: "1 GB"
    }
}

## Reads to a BAM sorted by position, with its index.
task align {
    input {
        Sample sample
        File fasta
        Array[File] bwa_index
        Int threads
        String image
    }

    String bam_name = sample.name + ".bam"

    command <<<
        set -euo pipefail
        bwa mem -t ~{threads} -R '@RG\tID:~{sample.name}\tSM:~{sample.name}' \
            '~{fasta}' '~{sample.reads_1}' '~{sample.reads_2}' \
            | samtools sort -o '~{bam_name}' -
        samtools index '~{bam_name}'
    >>>

    output {
        File bam = bam_name
        File bai = bam_name + ".bai"
    }

    runtime {
        docker: image
        cpu: threads
        memory: "2 GB"
    }
}

## How much of a sample mapped, and how deep each base of the reference is covered.
task measure {
    input {
        String name
        File bam
        File bai
        String image
    }

    command <<<
        set -euo pipefail
        samtools flagstat '~{bam}' > '~{name}.flagstat.txt'
        samtools view -c -F 0x900 '~{bam}' > reads.txt
        samtools view -c -F 0x904 '~{bam}' > mapped_reads.txt
        samtools idxstats '~{bam}' > '~{name}.idxstats.tsv'
        samtools depth -a '~{bam}' > depth.tsv
        awk '
            { sum += $3; if ($3 > 0) covered++ }
            END {
                printf "%.2f\n", NR ? sum / NR : 0 > "mean_depth.txt"
                printf "%.2f\n", NR ? 100 * covered / NR : 0 > "covered_percent.txt"
            }
        ' depth.tsv
        gzip -c < depth.tsv > '~{name}.depth.tsv.gz'
    >>>

    output {
        File flagstat = name + ".flagstat.txt"
        File idxstats = name + ".idxstats.tsv"
        Int reads = read_int("reads.txt")
        Int mapped_reads = read_int("mapped_reads.txt")
        File depth = name + ".depth.tsv.gz"
        Float mean_depth = read_float("mean_depth.txt")
        Float covered_percent = read_float("covered_percent.txt")
    }

    runtime {
        docker: image
        cpu: 1
        memory: "1 GB"
    }
}

## Variants of all samples in one VCF, with its index.
task call_variants {
    input {
        Array[File]+ bams
        Array[File]+ bais  #!UnusedDeclaration: bcftools finds them beside the BAMs
        File fasta
        File fai
        String? region
        String image
    }

    command <<<
        set -euo pipefail
        bcftools mpileup --fasta-ref '~{fasta}' --bam-list '~{write_lines(bams)}' \
            ~{"--regions '" + region + "'"} --output-type u \
            | bcftools call --multiallelic-caller --variants-only --ploidy 1 --output-type u \
            | bcftools norm --fasta-ref '~{fasta}' --output-type z --output variants.vcf.gz
        bcftools index --tbi variants.vcf.gz
        bcftools index --nrecords variants.vcf.gz > variants.txt
    >>>

    output {
        File vcf = "variants.vcf.gz"
        File tbi = "variants.vcf.gz.tbi"
        Int variants = read_int("variants.txt")
    }

    runtime {
        docker: image
        cpu: 1
        memory: "1 GB"
    }
}
