"""The benchmark: our server beside those that a user could pick instead, on the same rows. No tests."""
