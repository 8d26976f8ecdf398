"""Use cases of the service, and the only callers of `Database.write`."""
