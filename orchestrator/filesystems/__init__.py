"""Files by URI: local paths, `s3://`, `http(s)://`. Knows nothing of workflows."""
