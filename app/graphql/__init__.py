"""The GraphQL door: one file per concept. The only package that imports Strawberry; it never writes."""

import app.graphql.schema.enums  # noqa: F401 - an enum must be described before a type that uses it is made
