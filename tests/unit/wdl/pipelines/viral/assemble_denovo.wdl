version 1.1

import "tasks/assembly.wdl" as assembly
import "tasks/utils.wdl" as utils

workflow assemble_denovo {
  meta {
    description: "Taxonomic filtering, de novo assembly, scaffolding"
    author: "Viral genomics"
    email: "viral@example.org"
  }
  parameter_meta {
    reads_unmapped_bams: {
      description: "Unaligned reads in BAM format",
      patterns: ["*.bam"]
    }
  }
  input {
    Array[File]+ reads_unmapped_bams
    Array[File] reference_genome_fasta
    File? filter_to_taxon_db
    Map[String, String] sample_names = {}
    String sample_original_name = basename(reads_unmapped_bams[0], ".bam")
  }
  scatter (bam in reads_unmapped_bams) {
    call utils.deplete as deplete {
      input: bam, keep = select_first([sample_names["keep"], "none"])
    }
    if (defined(filter_to_taxon_db)) {
      call utils.filter_to_taxon {
        input:
          reads = deplete.cleaned,
          db = select_first([filter_to_taxon_db])
      }
    }
    File to_assemble = select_first([filter_to_taxon.filtered, deplete.cleaned])
  }
  call assembly.assemble after deplete {
    input: reads = to_assemble, references = reference_genome_fasta
  }
  Pair[Int, Int] lengths = (assemble.length, assemble.unambiguous)
  output {
    File final_assembly_fasta = assemble.contigs
    Int assembly_length = lengths.left
    Int assembly_length_unambiguous = lengths.right
    Array[Int] read_counts = deplete.count
    String viral_version = assemble.version
  }
}
