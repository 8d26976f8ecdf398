"""The built-in publisher: claims due destinations, calls platform adapters and reports the results."""
