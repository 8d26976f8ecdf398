"""The REST API: routes over GraphQL documents, answered in the documented envelope."""
