"""Validation of values from clients and platforms before they are stored."""
