"""WDL: source and inputs -> graph of calls; expressions over facts. The only importer of miniwdl.

    bundle -> document -> inputs -> graph -> task -> outputs

Does no I/O beyond reading source files when told to (`bundle.read`): an expression that needs a
size, a content or an existence it has no fact for raises `facts.NeedFacts`. Knows nothing of jobs,
backends or SQL. What is private to miniwdl is used where `miniwdl_private` says.
"""
