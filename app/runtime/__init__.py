"""What a process shares: fair slots, shutdown, and the limit of its open files."""
