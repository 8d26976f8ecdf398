"""The GraphQL API: the only package that imports Strawberry and graphql-core."""

import app.graphql.schema.enums  # noqa: F401 - registers enums before the types that use them
