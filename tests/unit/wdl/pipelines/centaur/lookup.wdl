import "subs.wdl" as subs

# draft-2, as Cromwell's own test cases have it.
task mkFile {
  Int n
  String? prefix
  command {
    for i in `seq ${n}`; do echo ${default="line" prefix} $i; done > out.txt
    echo ${true="yes" false="no" n > 2}
  }
  output {
    File out = "out.txt"
    String said = read_string(stdout())
    Array[File] all = glob("*.txt")
  }
  runtime { docker: "ubuntu:latest" }
}

task consume {
  Object numbers
  File in_file
  Array[String] words
  command <<<
    cat ${in_file} | grep ${sep="|" words}
    echo ${numbers.first}
  >>>
  output { Array[String] lines = read_lines(stdout()) }
  runtime { docker: "ubuntu:latest" continueOnReturnCode: [0, 1] }
}

workflow lookup {
  Int n = 3
  Array[String] words = ["one", "two"]
  Map[String, Int] counts = {"one": 1, "two": 2}
  Object numbers = object { first: 1, second: "two" }

  call mkFile { input: n = n }
  call consume { input: numbers = numbers, in_file = mkFile.out, words = words }
  scatter (w in words) {
    call mkFile as many { input: n = counts[w], prefix = w }
  }
  call subs.inner { input: n = n }
  output {
    mkFile.said
    many.*
    inner.made.out
  }
}
