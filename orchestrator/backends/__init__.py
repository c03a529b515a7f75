"""Where jobs run: the port (`base`) and its adapters.

Backends know how to run a submission and report on it. They know nothing of retries, caching, the
graph or SQL, nor why a job exists. Called by the engine only.
"""
