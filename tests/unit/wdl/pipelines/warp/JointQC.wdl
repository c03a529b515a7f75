version 1.0

import "./tasks/QC.wdl" as QC
import "./tasks/Alignment.wdl" as Alignment
import "./tasks/Structs.wdl"

# The shape of a whole-genome pipeline of warp: structs from an import, sizes that make disks, tasks
# that are called under other names, optional values handed to inputs that are none.
workflow JointQC {
  String pipeline_version = "3.1.4"

  input {
    SampleAndUnmappedBams sample_and_unmapped_bams
    DNASeqSingleSampleReferences references
    PapiSettings papi_settings
    File? fingerprint_genotypes_file
    File wgs_coverage_interval_list
    Boolean provide_bam_output = false
    String? billing_project
  }

  parameter_meta {
    papi_settings: { description: "retries", category: "common" }
    papi_settings: { description: "retries on spot", category: "common" }
  }

  Float bwa_ref_size = size(references.reference_fasta.ref_fasta, "GiB") + 0.5
  String recalibrated_bam_basename = sample_and_unmapped_bams.base_file_name + ".aligned"

  scatter (unmapped_bam in sample_and_unmapped_bams.flowcell_unmapped_bams) {
    String unmapped_bam_basename = basename(unmapped_bam, sample_and_unmapped_bams.unmapped_bam_suffix)

    call QC.CollectQualityYieldMetrics {
      input:
        input_bam = unmapped_bam,
        metrics_filename = unmapped_bam_basename + ".unmapped.quality_yield_metrics",
        preemptible_tries = papi_settings.preemptible_tries
    }

    Float unmapped_bam_size = size(unmapped_bam, "GiB")
    if (unmapped_bam_size > 0.0) {
      call Alignment.Align as SplitAlignment {
        input:
          input_bam = unmapped_bam,
          output_bam_basename = unmapped_bam_basename,
          reference_fasta = references.reference_fasta,
          disk_size = ceil(unmapped_bam_size + bwa_ref_size)
      }
    }
    File output_aligned_bam = select_first([SplitAlignment.output_bam])
  }

  call QC.SumFloats as SumFloats { input: sizes = unmapped_bam_size }

  if (defined(fingerprint_genotypes_file)) {
    call QC.CheckFingerprint {
      input:
        input_bam = output_aligned_bam[0],
        genotypes = fingerprint_genotypes_file,
        billing_project = billing_project
    }
  }

  if (provide_bam_output) {
    Array[File] provided_output_bam = output_aligned_bam
  }

  output {
    Array[File] quality_yield_metrics = CollectQualityYieldMetrics.quality_yield_metrics
    Float total_size = SumFloats.total_size
    File? fingerprint_summary_metrics = CheckFingerprint.summary_metrics
    Array[File]? output_bam = provided_output_bam
    String basename_out = recalibrated_bam_basename
  }
  meta {
    allowNestedInputs: true
  }
}
