"""Change notifications between processes: hints to read the change feed, which holds the truth."""
