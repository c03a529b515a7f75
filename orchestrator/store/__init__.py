"""SQL: the journal, leases, submissions, facts. SQLite and PostgreSQL, one test-suite on both.

Knows SQL and both dialects; knows nothing of engine decisions or of any API's JSON.
"""
