"""Checks, prepares and executes operations, faster than graphql-core with equal results."""
