"""Transports of the GraphQL API: HTTP, server-sent events and WebSockets."""
