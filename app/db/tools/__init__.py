"""Operator's tools over all rows: copy, integrity check and domain invariants."""
