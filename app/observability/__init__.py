"""Log lines and metrics of the running service."""
