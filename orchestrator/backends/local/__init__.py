"""The local backend: jobs as processes of this machine, or in containers of docker or podman.

    backend      the port: submissions in, changes out; one thread starts and reaps all jobs
    records      what is on disk of a submission, so that a killed orchestrator loses nothing
    admission    which job may start now, by cores and memory
    processes    starting, finding again and ending the wrapper's process
    containers   what goes before the command when a task names an image
    machine      how large this machine is

Every job is the shared wrapper in a session of its own: it outlives the orchestrator. A submission
is on disk before anything of it starts; the wrapper's claim (a directory) decides that no command
ever runs twice; a file lock that the wrapper inherits tells whether it still lives.
"""

from orchestrator.backends.local.backend import LocalBackend

__all__ = ["LocalBackend"]
