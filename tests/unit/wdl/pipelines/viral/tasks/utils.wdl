version 1.1

task deplete {
  input { File bam  String keep }
  command <<< deplete ~{bam} --keep "~{keep}" cleaned.bam; echo 3 > count >>>
  output { File cleaned = "cleaned.bam"  Int count = read_int("count") }
  runtime { container: "ubuntu:22.04" }
}

task filter_to_taxon {
  input { File reads  File db  Float? identity }
  command <<< filter ~{reads} ~{db} ~{"--identity " + identity} > filtered.bam >>>
  output { File filtered = "filtered.bam" }
  runtime { container: "ubuntu:22.04" }
}
