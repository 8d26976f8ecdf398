"""Static analysis of parsed documents: index, selected fields and a memo of derived values."""
