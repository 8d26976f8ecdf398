"""Formats results and `errors`: each error has `extensions.code`, and internal details are masked."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import filterfalse
from typing import Any

import orjson
import structlog
from graphql import (
    ExecutionResult,
    GraphQLEnumType,
    GraphQLError,
    GraphQLInputObjectType,
    GraphQLSchema,
    get_named_type,
)

from app.domain.errors import (
    MASKED_MESSAGE,
    ErrorCode,
    InternalError,
    LimitExceeded,
    PostResultsError,
    RateLimitExceeded,
    ResponseTooLarge,
    ServerError,
    ServiceUnavailable,
    ValidationFailed,
)
from app.graphql.schema.context import Context
from app.graphql.schema.scalars import CREDENTIALS_SCALAR
from app.runtime.computations import compute

# graphql-core reports these causes only by their message.
_NO_SUCH_ENUM_VALUE = re.compile(r"does not exist in '(\w+)' enum\.|Enum '(\w+)' cannot represent")
_PRINTED_VALUE = re.compile(
    r"Expected value of type '(?P<type>\w+)!?'.*?(?P<value>[,;.]? [Ff]ound: )", re.DOTALL
)
_BAD_ARGUMENT = re.compile(r"Argument '(\w+)' (?:has invalid value(?: at ([^:]+))?: )?", re.DOTALL)

logger = structlog.stdlib.get_logger(__name__)


def error_entry(error: PostResultsError, request_id: str) -> dict[str, Any]:
    """Format an error of the application as an entry of `errors` without a path."""
    return {"message": error.message, "extensions": _extensions(error, request_id)}


def error_entries(
    errors: Sequence[GraphQLError], schema: GraphQLSchema, request_id: str
) -> list[dict[str, Any]]:
    """Format the entries of `errors`; log and mask internal failures."""
    return [_format_error(error, schema, request_id) for error in errors]


def add_validation_code(errors: Sequence[GraphQLError]) -> None:
    """Set the code of validation errors, unless a rule has set a more specific one."""
    for error in errors:
        if public_cause(error) is None:
            error.extensions = {"code": ValidationFailed.code.name} | (error.extensions or {})


def public_cause(error: BaseException | None) -> PostResultsError | None:
    """Return the application error that a GraphQL error wraps at any depth, or None."""
    while error is not None and not isinstance(error, PostResultsError):
        error = error.original_error if isinstance(error, GraphQLError) else None
    return error


def argument_path(path: str) -> str:
    """Return the path of an argument without list indexes: `ids` for `ids[3]`."""
    return _LIST_INDEX.sub("", path)


_LIST_INDEX = re.compile(r"\[\d+\]")


def _format_error(error: GraphQLError, schema: GraphQLSchema, request_id: str) -> dict[str, Any]:
    entry: dict[str, Any] = {"message": _truncate(_client_message(error, schema))}
    if error.locations:
        entry["locations"] = [location.formatted for location in error.locations]
    if error.path is not None:
        entry["path"] = error.path
    cause = public_cause(error)
    if cause is not None:
        if isinstance(cause, ServerError):
            _log_failure(error, cause, request_id)
        entry["extensions"] = _extensions(cause, request_id)
    elif error.extensions and "code" in error.extensions:
        entry["extensions"] = {"code": error.extensions["code"]}
    elif _is_client_error(error):
        entry["extensions"] = {"code": ErrorCode.VALIDATION_ERROR.name}
        if argument := _BAD_ARGUMENT.match(error.message):
            entry["extensions"]["field"] = argument_path(argument[1] + (argument[2] or ""))
    else:
        _log_failure(error, error.original_error or error, request_id)
        entry |= error_entry(InternalError(MASKED_MESSAGE), request_id)
    return entry


def _log_failure(error: GraphQLError, failure: Exception, request_id: str) -> None:
    logger.error("resolver failed", request_id=request_id, path=error.path, exc_info=failure)


def _is_client_error(error: GraphQLError) -> bool:
    """Return True if graphql-core rejected the client's variables or arguments.

    Below a field only the message shows it; any other error there is a failure of the server.
    """
    cause: BaseException | None = error
    while isinstance(cause, GraphQLError):
        cause = cause.original_error
    return cause is None and (error.path is None or bool(_BAD_ARGUMENT.match(error.message)))


def _extensions(error: PostResultsError, request_id: str) -> dict[str, Any]:
    extensions: dict[str, Any] = {"code": error.code.name}
    if isinstance(error, InternalError):
        extensions["requestId"] = request_id
    if error.argument is not None:
        extensions["field"] = error.argument
    if error.retry_after is not None:
        extensions["retryAfter"] = error.retry_after
    return extensions


def _client_message(error: GraphQLError, schema: GraphQLSchema) -> str:
    """Return the message for the client: list an enum's values, print literals as JSON, hide credentials."""
    printed_value = _PRINTED_VALUE.search(error.message)
    if printed_value and printed_value["type"] in _types_with_credentials(schema):
        problem = error.message[: printed_value.start("value")]
        return problem if problem.endswith("?") else f"{problem}."
    unknown_value = _NO_SUCH_ENUM_VALUE.search(error.message)
    enum = schema.get_type(unknown_value[1] or unknown_value[2]) if unknown_value else None
    if isinstance(enum, GraphQLEnumType):
        problem = error.message.partition(" Did you mean the enum value")[0]
        return f"{problem} Use one of {', '.join(enum.values)}."
    message = _PYTHON_ERROR_SUFFIX.sub(".", error.message)
    return _QUOTED_TEXT_OR_PYTHON_LITERAL.sub(
        lambda match: _JSON_LITERALS.get(match[0], match[0]), message
    )


@cache
def _types_with_credentials(schema: GraphQLSchema) -> set[str]:
    """Return the scalar of credentials, and the input objects that contain it at any depth."""
    names, size = {CREDENTIALS_SCALAR}, 0
    while len(names) > size:
        size = len(names)
        names |= {
            input_object.name
            for input_object in schema.type_map.values()
            if isinstance(input_object, GraphQLInputObjectType)
            and any(
                get_named_type(field.type).name in names for field in input_object.fields.values()
            )
        }
    return names


def _truncate(message: str) -> str:
    """Shorten long values in a message, which the client has sent itself."""
    short = _LONG_WORD.sub(lambda word: f"{word[0][:_MAX_WORD_LENGTH]}…{word[0][-1]}", message)
    return short if len(short) <= _MAX_LENGTH else f"{short[:_MAX_LENGTH]}…"


_MAX_LENGTH = 1000
_MAX_WORD_LENGTH = 100
_LONG_WORD = re.compile(rf"\S{{{_MAX_WORD_LENGTH + 2},}}")

# graphql-core prints values as Python literals, and appends the message of a Python error.
_PYTHON_ERROR_SUFFIX = re.compile(r", but encountered error .*", re.DOTALL)
_QUOTED_TEXT_OR_PYTHON_LITERAL = re.compile(r"'[^']*'|\"[^\"]*\"|\b(?:None|True|False)\b")
_JSON_LITERALS = {"None": "null", "True": "true", "False": "false"}


@dataclass(frozen=True, slots=True)
class OperationResult:
    """Result of one operation; without execution the response has no `data`, not even null."""

    is_executed: bool
    data: dict[str, Any] | None
    errors: list[dict[str, Any]]
    encoded: bytes | None = None
    """The encoded response, if it is large; `data` is then dropped."""

    def to_response_body(self) -> dict[str, Any]:
        """Return the response map of the GraphQL specification."""
        body: dict[str, Any] = {"data": self.data} if self.is_executed else {}
        if self.errors:
            body["errors"] = self.errors
        return body


def build_result(
    schema: GraphQLSchema, context: Context, result: ExecutionResult
) -> OperationResult:
    """Format the result of an execution, and record its error codes for log and metrics.

    Raises RateLimitExceeded instead of returning it as an error.
    """
    too_large = context.response_limit.error
    if not result.errors and too_large is None:
        return OperationResult(is_executed=True, data=result.data, errors=[])
    errors = result.errors or []
    for cause in (public_cause(error) for error in errors if error.path is None):
        if isinstance(cause, RateLimitExceeded):
            raise cause
    if too_large is not None:
        if context.response_limit.is_refused:
            result.data = None
            errors = [GraphQLError(str(too_large), original_error=too_large)]
        # Every later value above the limit failed with the same message; report it once.
        errors = [*[*filter(_is_too_large, errors)][:1], *filterfalse(_is_too_large, errors)]
    # An error that propagated to the root has a path; without a path nothing was executed.
    is_executed = result.data is not None or any(error.path is not None for error in errors)
    if (rest := len(errors) - _MAX_ERRORS) > 1:
        more = LimitExceeded(f"There are {rest:,} more errors; at most {_MAX_ERRORS} are returned.")
        errors = [*errors[:_MAX_ERRORS], GraphQLError(str(more), original_error=more)]
    entries = error_entries(errors, schema, context.request.request_id)
    # In lower case like those of REST, and each code once: a list of many ids may fail many times.
    codes = dict.fromkeys(entry["extensions"]["code"].lower() for entry in entries)
    context.request.error_codes = tuple(codes)
    return OperationResult(is_executed, result.data, entries)


def _is_too_large(error: GraphQLError) -> bool:
    return isinstance(public_cause(error), ResponseTooLarge)


_MAX_ERRORS = 100
"""Errors of a response; formatting them takes about 10 ms."""

_ORJSON_MIN_BYTES = 4096
"""Memory of any bytes made by orjson, as measured."""


_MAX_INLINE_BYTES = 1_000_000
"""Estimated bytes that are encoded in the event loop; escape sequences make them at most 6 times as many."""

_BYTES_PER_ESTIMATED_BYTE = 10
"""Factor by which the bytes may exceed the estimate, except for many values such as long URLs."""

_PART_DEPTH = 5
"""Levels down to which a large response is encoded in parts: nodes of a connection, and their fields."""


async def encode_if_large(
    schema: GraphQLSchema, context: Context, result: OperationResult
) -> OperationResult:
    """Encode a response in a thread if it may be large, or above the limit; then an error replaces it.

    A mutation is committed, so its response is returned even if it is above the limit. An error replaces it
    only if the API key has not read enough of its earlier responses: they wait in memory.
    """
    limit = context.response_limit
    if (
        result.data is None
        or limit.max_bytes is None
        or limit.byte_count <= min(_MAX_INLINE_BYTES, limit.max_bytes // _BYTES_PER_ESTIMATED_BYTE)
    ):
        return result
    max_bytes = None if limit.allows_partial_data else limit.max_bytes
    errors = {"errors": tuple(result.errors)} if result.errors else {}
    encoded = await compute(_encode_in_parts, {"data": result.data, **errors}, max_bytes)
    if encoded is None:
        limit.exceed_bytes()
        return build_result(schema, context, ExecutionResult())
    try:
        context.request.check_memory()
    except ServiceUnavailable:
        return _build_unsent_result(schema, context, len(encoded))
    return replace(result, data=None, encoded=encoded)


def _build_unsent_result(schema: GraphQLSchema, context: Context, size: int) -> OperationResult:
    """Return the error that replaces the result of an executed mutation."""
    unsent = LimitExceeded(
        f"The mutation was executed, but its result of {size:,} bytes is not sent, because too many large"
        " responses wait until their clients have read them. Query what it changed."
    )
    error = GraphQLError(str(unsent), original_error=unsent)
    result = build_result(schema, context, ExecutionResult(errors=[error]))
    return replace(result, is_executed=True)


def to_json(result: OperationResult) -> bytes:
    """Encode the response; a short one takes no more memory than it needs."""
    if result.encoded is not None:
        return result.encoded
    body = orjson.dumps(result.to_response_body())
    return body if len(body) >= _ORJSON_MIN_BYTES else bytes(memoryview(body))


def _encode_in_parts(body: dict[str, Any], max_bytes: int | None) -> bytes | None:
    """Encode JSON like orjson, but part by part; return None if it has more than `max_bytes`.

    orjson lets no other thread run meanwhile, and neither does freeing all values at the end.
    """
    parts: list[bytes] = []
    size = 0
    for part in _iter_parts(body, _PART_DEPTH):
        parts.append(part)
        size += len(part)
        if max_bytes is not None and size > max_bytes:
            return None
    return b"".join(parts)


def _iter_parts(value: Any, depth: int) -> Iterator[bytes]:
    """Yield the parts of encoded JSON, and drop each value: those `depth` levels below are one part each."""
    if not depth or not isinstance(value, (dict, list)):
        yield orjson.dumps(value)
        return
    is_object = isinstance(value, dict)
    separator = b"{" if is_object else b"["
    for key in value if is_object else range(len(value)):
        yield b"%b%b:" % (separator, orjson.dumps(key)) if is_object else separator
        yield from _iter_parts(value[key], depth - 1)
        value[key] = None
        separator = b","
    if not value:
        yield separator
    yield b"}" if is_object else b"]"
