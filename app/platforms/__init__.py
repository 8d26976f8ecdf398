"""The adapter protocol of platforms, and the adapters."""
