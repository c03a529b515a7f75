task made {
  Int n
  command { echo ${n} }
  output { Int out = read_int(stdout()) }
}

workflow inner {
  Int n
  call made { input: n = n }
}
