"""What an operator sees of the running service: log lines and metrics. Decides nothing."""
