"""What the tests of GraphQL ask for: a workspace with a key, and a client of the service that holds it."""

from tests.rest.conftest import acme

__all__ = ["acme"]
