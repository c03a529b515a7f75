"""Workflows whose every command appends a line to the ledger: what it is, and where it ran."""

from __future__ import annotations

from pathlib import Path

# A sub-workflow, a file of the engine's own, facts, an array, a retry on the user's budget.
WHOLE = {
    "main.wdl": """version 1.1
import "lib.wdl" as lib
workflow w {
  input { String ledger  File numbers }
  File names = write_lines(["a", "b", "c"])
  scatter (name in read_lines(names)) {
    call lib.work { input: ledger = ledger, what = name }
  }
  call lib.sub { input: ledger = ledger, bytes = work.bytes }
  call lib.flaky { input: ledger = ledger, total = sub.total, size = size(numbers) }
  output { Int total = flaky.o  Array[File] files = work.file }
}
""",
    "lib.wdl": """version 1.1
task work {
  input { String ledger  String what }
  command <<<
    echo "work ~{what} $PWD" >> ~{ledger}
    printf '%s' ~{what} > result
  >>>
  output { File file = "result"  Float bytes = size("result") }
}
workflow sub {
  input { String ledger  Array[Float] bytes }
  call add { input: ledger = ledger, bytes = bytes }
  output { Int total = add.o }
}
task add {
  input { String ledger  Array[Float] bytes }
  command <<<
    echo "add $PWD" >> ~{ledger}
    echo ~{length(bytes)}
  >>>
  output { Int o = read_int(stdout()) }
}
task flaky {
  input { String ledger  Int total  Float size }
  command <<<
    echo "flaky $PWD" >> ~{ledger}
    [ $(($(grep -c ^flaky ~{ledger}) % 2)) = 0 ] || exit 3
    echo $((~{total} * 100 + ~{floor(size)}))
  >>>
  output { Int o = read_int(stdout()) }
  runtime { maxRetries: 1 }
}
""",
}
WHOLE_TOTAL = 304
WHOLE_RAN = {"work a": 1, "work b": 1, "work c": 1, "add": 1, "flaky": 2}


def numbers(folder: Path) -> str:
    """The input of WHOLE: 4 bytes."""
    path = folder / "numbers"
    path.write_text("1234")
    return str(path)


# One call that waits until it is told to go on.
WAITING = """version 1.1
workflow w {
  input { String ledger  String go  Int n = 1 }
  scatter (i in range(n)) { call wait { input: ledger = ledger, go = go, i = i } }
  output { Array[Int] o = wait.o }
}
task wait {
  input { String ledger  String go  Int i }
  command <<<
    echo "wait ~{i} $PWD" >> ~{ledger}
    while ! [ -e ~{go} ]; do sleep 0.1; done
    echo ~{i}
  >>>
  output { Int o = read_int(stdout()) }
}
"""

# Many short calls in two layers.
WIDE = """version 1.1
workflow w {
  input { String ledger  Int n }
  scatter (i in range(n)) {
    call first { input: ledger = ledger, i = i }
    call second { input: ledger = ledger, i = first.o }
  }
  output { Array[Int] o = second.o }
}
task first {
  input { String ledger  Int i }
  command <<<
    echo "first ~{i} $PWD" >> ~{ledger}
    sleep 0.~{i % 4}
    echo ~{i}
  >>>
  output { Int o = read_int(stdout()) }
}
task second {
  input { String ledger  Int i }
  command <<<
    echo "second ~{i} $PWD" >> ~{ledger}
    echo $((~{i} + 1))
  >>>
  output { Int o = read_int(stdout()) }
}
"""
