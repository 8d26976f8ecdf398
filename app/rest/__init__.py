"""The REST door: routes over GraphQL documents, in the documented envelope. No rules, no data."""
