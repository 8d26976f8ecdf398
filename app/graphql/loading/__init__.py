"""Sources of the fields of row-backed types, and DataLoaders that read related rows in batches."""
