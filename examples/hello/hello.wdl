version 1.1

## The smallest workflow: one task, one input, one output.

task greet {
    input {
        String name
        String image
    }

    command <<<
        echo 'Hello, ~{name}!'
    >>>

    output {
        String greeting = read_string(stdout())
    }

    runtime {
        container: image
        cpu: 1
        memory: "256 MiB"
    }
}

workflow hello {
    input {
        String name
        String image = "debian:12-slim"
    }

    call greet { input: name, image }

    output {
        String greeting = greet.greeting
    }
}
