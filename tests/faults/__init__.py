"""Faults of the database, the machine and the clients, and what a running service does meanwhile."""
