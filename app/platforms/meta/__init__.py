"""Adapters for Threads and Instagram, contract-tested only: never run against Meta's servers.

Their requests follow the documented parameters, and a local server answers as documented.
"""
