version 1.0

struct SampleAndUnmappedBams {
  String base_file_name
  String? final_gvcf_base_name
  Array[File] flowcell_unmapped_bams
  String sample_name
  String unmapped_bam_suffix
}

struct ReferenceFasta {
  File ref_dict
  File ref_fasta
  File ref_fasta_index
  File? ref_alt
}

struct DNASeqSingleSampleReferences {
  ReferenceFasta reference_fasta
  Array[File] known_indels_sites_vcfs
}

struct PapiSettings {
  Int preemptible_tries
  Int agg_preemptible_tries
}
