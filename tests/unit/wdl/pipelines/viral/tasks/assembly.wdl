version 1.1

task assemble {
  input {
    Array[File] reads
    Array[File] references
    Boolean always_succeed = false
    String assembler = "spades"
    Int? machine_mem_gb
    String docker = "quay.io/broadinstitute/viral-assemble:2.3.6.0"
  }
  command <<<
    set -ex -o pipefail
    mem_in_mb=$(/opt/viral-ngs/source/docker/calc_mem.py mb 90)
    assembly.py --version | tee VERSION
    assembly.py ~{assembler} ~{sep(" ", reads)} ~{true="--alwaysSucceed" false="" always_succeed} \
      --memLimitGb $mem_in_mb contigs.fasta
    grep -v '^>' contigs.fasta | tr -d '\n' | wc -c | tee length
    grep -v '^>' contigs.fasta | tr -d 'Nn\n' | wc -c | tee unambiguous
  >>>
  output {
    File contigs = "contigs.fasta"
    Int length = read_int("length")
    Int unambiguous = read_int("unambiguous")
    String version = read_string("VERSION")
  }
  runtime {
    docker: docker
    memory: "~{select_first([machine_mem_gb, 32])} GB"
    cpu: 4
    disks: "local-disk 375 LOCAL"
    maxRetries: 2
  }
}
