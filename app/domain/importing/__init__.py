"""Bringing in what another service answered: from JSON texts to posts as they are stored. No storage."""
