"""Import of another server's REST responses: parsed into records, then merged into posts."""
