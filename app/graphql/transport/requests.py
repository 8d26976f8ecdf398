"""What a request asks to run, as GraphQL over HTTP names it, and over WebSockets too. Runs nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from app.domain.errors import InvalidInput
from app.graphql.engine.persisted_documents import DocumentRequest, read_document_request


@dataclass(frozen=True, slots=True)
class OperationRequest:
    document: DocumentRequest
    variables: Mapping[str, object] | None
    operation_name: str | None


def read_operation_request(parameters: Mapping[str, object]) -> OperationRequest:
    """InvalidInput for a parameter of a wrong type; unknown ones are ignored."""
    variables = parameters.get("variables")
    operation_name = parameters.get("operationName")
    if operation_name is not None and not isinstance(operation_name, str):
        raise InvalidInput("operationName must be a string.", argument="operationName")
    for name in ("variables", "extensions"):
        value = parameters.get(name)
        if value is not None and not isinstance(value, dict):
            raise InvalidInput(f"{name} must be a JSON object.", argument=name)
    document = read_document_request(parameters)
    return OperationRequest(
        document, cast("Mapping[str, object] | None", variables), operation_name
    )
