"""Outages of a platform with many due posts, and what the workers send meanwhile and afterwards."""
