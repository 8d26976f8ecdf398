"""What can publish: the protocol that the worker speaks, and the adapters of platforms. No database."""
