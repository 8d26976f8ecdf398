"""Errors as GraphQL prints them: each with `extensions.code`, and nothing internal in any of them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from graphql import GraphQLEnumType, GraphQLError, GraphQLSchema

from app.domain.errors import (
    ErrorCode,
    InternalError,
    PostResultsError,
    ValidationFailed,
)

_UNKNOWN_ENUM_VALUE = re.compile(r"does not exist in ['\"](\w+)['\"] enum\.")
_BAD_VARIABLE = re.compile(r"(Variable '(?P<name>\$\w+)' has invalid value(?: at [^:]*)?): ")
_BAD_ARGUMENT = re.compile(r"Argument '\w+' ")

logger = structlog.stdlib.get_logger(__name__)


def error_entry(error: PostResultsError) -> dict[str, Any]:
    """One of our errors as an entry of `errors`, outside any field."""
    return {"message": error.message, "extensions": _extensions(error)}


def error_entries(
    errors: Sequence[GraphQLError], schema: GraphQLSchema, request_id: str
) -> list[dict[str, Any]]:
    """The entries of `errors`; what is not meant for the caller is logged and masked."""
    return [_entry(error, schema, request_id) for error in errors]


def mark_as_validation(errors: Sequence[GraphQLError]) -> None:
    """Give the errors of document validation their code, where a rule has not given a nearer one."""
    for error in errors:
        if public_cause(error) is None:
            error.extensions = {"code": ValidationFailed.code.name} | (error.extensions or {})


def public_cause(error: BaseException | None) -> PostResultsError | None:
    """The error of ours that a GraphQL error wraps, at any depth."""
    while error is not None and not isinstance(error, PostResultsError):
        error = error.original_error if isinstance(error, GraphQLError) else None
    return error


def _entry(error: GraphQLError, schema: GraphQLSchema, request_id: str) -> dict[str, Any]:
    entry: dict[str, Any] = {"message": _message(error, schema)}
    if error.locations:
        entry["locations"] = [location.formatted for location in error.locations]
    if error.path is not None:
        entry["path"] = error.path
    cause = public_cause(error)
    bad_variable = _BAD_VARIABLE.match(error.message)
    if cause is not None:
        entry["extensions"] = _extensions(cause)
    elif error.extensions and "code" in error.extensions:
        entry["extensions"] = {"code": error.extensions["code"]}
    elif _is_callers(error):
        entry["extensions"] = {"code": ErrorCode.VALIDATION_ERROR.name}
    else:
        failure = error.original_error or error
        logger.error("resolver failed", request_id=request_id, path=error.path, exc_info=failure)
        entry["message"] = _MASK.format(request_id=request_id)
        entry["extensions"] = {"code": InternalError.code.name, "requestId": request_id}
    if bad_variable:
        entry["extensions"].setdefault("field", bad_variable["name"])
    return entry


_MASK = (
    "Something went wrong on this server. Try again; if it stays, give the operator the request"
    " id {request_id}."
)


def _is_callers(error: GraphQLError) -> bool:
    """Whether graphql-core refused what the caller sent: a variable, or an argument made from one.

    It says so by nothing but its sentence; whatever else it raises below a field is our failure.
    """
    cause: BaseException | None = error
    while isinstance(cause, GraphQLError):
        cause = cause.original_error
    return cause is None and (error.path is None or bool(_BAD_ARGUMENT.match(error.message)))


def _extensions(error: PostResultsError) -> dict[str, Any]:
    extensions: dict[str, Any] = {"code": error.code.name}
    if error.argument is not None:
        extensions["field"] = error.argument
    if error.retry_after is not None:
        extensions["retryAfter"] = error.retry_after
    return extensions


def _message(error: GraphQLError, schema: GraphQLSchema) -> str:
    """The message; with our own reason for a bad variable, and with an enum's allowed values."""
    bad_variable = _BAD_VARIABLE.match(error.message)
    cause = public_cause(error)
    if bad_variable and cause:
        return f"{bad_variable[1]}: {cause.message}"
    found = _UNKNOWN_ENUM_VALUE.search(error.message)
    enum = schema.get_type(found[1]) if found else None
    if found and isinstance(enum, GraphQLEnumType):
        return f"{error.message[: found.end()]} It is one of {', '.join(enum.values)}."
    return error.message


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one operation; `data` is absent, not null, where nothing was run."""

    executed: bool
    data: dict[str, Any] | None
    errors: list[dict[str, Any]]

    def body(self) -> dict[str, Any]:
        """The response of the GraphQL specification."""
        body: dict[str, Any] = {"data": self.data} if self.executed else {}
        if self.errors:
            body["errors"] = self.errors
        return body
