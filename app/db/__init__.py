"""All SQL of the service, for SQLite and PostgreSQL; the only package that imports SQLAlchemy."""
