"""Parameters of a request to execute an operation, the same in every transport.

https://graphql.github.io/graphql-over-http/draft/#sec-Request-Parameters
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from app.domain.errors import InvalidInput

NO_QUERY = "query must be a GraphQL document."
PERSISTED_QUERY = "extensions.persistedQuery"


class OperationRequest(NamedTuple):
    """Parameters of a request; absent, null and empty ones that identify the document are None."""

    query: str | None = None
    document_id: str | None = None
    sha256_hash: str | None = None
    """Hash from `extensions.persistedQuery`."""
    variables: Mapping[str, object] | None = None
    operation_name: str | None = None


_PARAMETERS: Mapping[str, tuple[type, str]] = {
    "operationName": (str, "a string"),
    "variables": (dict, "a JSON object"),
    "extensions": (dict, "a JSON object"),
    "query": (str, "a GraphQL document"),
    "documentId": (str, "a string"),
}


def read_operation_request(parameters: Mapping[str, Any]) -> OperationRequest:
    """Read the request parameters; raises InvalidInput for a wrong type. Unknown ones are ignored."""
    for name, (kind, form) in _PARAMETERS.items():
        value = parameters.get(name)
        if value is not None and not isinstance(value, kind):
            raise InvalidInput(f"{name} must be {form}.", argument=name)
    persisted = (parameters.get("extensions") or {}).get("persistedQuery")
    return OperationRequest(
        query=parameters.get("query") or None,
        document_id=parameters.get("documentId") or None,
        sha256_hash=None if persisted is None else _read_sha256_hash(persisted),
        variables=parameters.get("variables"),
        operation_name=parameters.get("operationName"),
    )


def _read_sha256_hash(persisted: object) -> str:
    if not isinstance(persisted, dict):
        raise InvalidInput(f"{PERSISTED_QUERY} must be a JSON object.", argument=PERSISTED_QUERY)
    version, sha256_hash = persisted.get("version"), persisted.get("sha256Hash")
    if type(version) is not int or version != 1:  # true is 1 to Python
        argument = f"{PERSISTED_QUERY}.version"
        raise InvalidInput(f"{argument} must be 1, the only version.", argument=argument)
    if not isinstance(sha256_hash, str) or not sha256_hash:
        argument = f"{PERSISTED_QUERY}.sha256Hash"
        raise InvalidInput(f"{argument} must be the SHA-256 hash of a query.", argument=argument)
    return sha256_hash
