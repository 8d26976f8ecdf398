"""The operator's own publisher: claims, calls the platforms' adapters and reports. No rules, no SQL."""
