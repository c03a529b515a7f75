version 1.0

task CollectQualityYieldMetrics {
  input {
    File input_bam
    String metrics_filename
    Int preemptible_tries
  }
  Int disk_size = ceil(size(input_bam, "GiB")) + 20
  command {
    java -Xms2000m -jar /usr/picard/picard.jar CollectQualityYieldMetrics \
      INPUT=~{input_bam} OQ=true OUTPUT=~{metrics_filename}
  }
  runtime {
    docker: "us.gcr.io/broad-gotc-prod/picard-cloud:2.26.10"
    disks: "local-disk " + disk_size + " HDD"
    memory: "3.5 GiB"
    preemptible: preemptible_tries
  }
  output { File quality_yield_metrics = "~{metrics_filename}" }
}

task CheckFingerprint {
  input {
    File input_bam
    File genotypes
    String billing_project
    String output_basename = "out"
  }
  command <<< check ~{input_bam} ~{genotypes} ~{"-u " + billing_project} > ~{output_basename} >>>
  runtime { docker: "ubuntu:22.04" }
  output { File summary_metrics = output_basename }
}

task SumFloats {
  input {
    Array[Float] sizes
    Int preemptible_tries = 3
  }
  command <<< python -c "print(~{sep="+" sizes})" >>>
  output { Float total_size = read_float(stdout()) }
  runtime { docker: "python:3.11", preemptible: preemptible_tries }
}

task library_metrics {
  input { File library_metrics  String? gex_nhash_id }
  command <<< cp ~{library_metrics} new.csv >>>
  output { File library_metrics = "new.csv" }
}
