"""Use cases: the only callers of Database.write. They know no transport; SQL is in app.db."""
