"""Benchmark of the post-results server and of alternatives on the same rows."""
