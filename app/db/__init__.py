"""All SQL of the service, for SQLite and PostgreSQL. The only package that imports SQLAlchemy."""
