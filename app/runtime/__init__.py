"""Shared resources of a process: fair slots, computation threads, shutdown, and the limit of open files."""
