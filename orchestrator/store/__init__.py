"""SQL: the journal, leases, submissions, facts. SQLite and PostgreSQL, one test-suite on both.

    base        the port
    sql         its implementation for both dialects
    leases      who may write to which workflow, in SQL
    schema      the tables; `migrations` builds them, `rows` turns records into rows and back
    database    connections, transactions and their retry, the errors of drivers in plain words
    memory      a fake behind the same port, for tests of what stands above it

Knows SQL and both dialects; knows nothing of engine decisions or of any API's JSON. The engine, and
every door, calls it through the port; only `assembly` names an implementation.
"""
