version 1.0

import "./Structs.wdl" as Structs

task Align {
  input {
    File input_bam
    String output_bam_basename
    # reference_fasta.ref_alt is the .alt file from bwa-kit
    ReferenceFasta reference_fasta
    Int compression_level = 2
    Int disk_size
  }
  String bwa_commandline = "bwa mem -K 100000000 -p -v 3 -t 16 -Y $bash_ref_fasta"
  command <<<
    set -o pipefail
    bash_ref_fasta=~{reference_fasta.ref_fasta}
    # if reference_fasta.ref_alt has data in it,
    if [ -s ~{reference_fasta.ref_alt} ]; then
      ~{bwa_commandline} ~{input_bam} | samtools view -1 - > ~{output_bam_basename}.bam
    fi
  >>>
  runtime {
    docker: "quay.io/biocontainers/bwa:0.7.17"
    memory: "14 GiB"
    cpu: "16"
    disks: "local-disk " + disk_size + " HDD"
  }
  output {
    File output_bam = "~{output_bam_basename}.bam"
  }
}
