"""Queries and writes of the services, in one module for each table or use case."""
