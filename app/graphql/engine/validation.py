"""Validation rules, and errors of invalid values that name their argument."""

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from graphql import GraphQLError, GraphQLInputType, specified_rules
from graphql.language import SKIP, ArgumentNode, ValueNode, VariableDefinitionNode, VisitorAction
from graphql.utilities.validate_input_value import validate_input_literal
from graphql.validation import ValidationContext, ValuesOfCorrectTypeRule

from app.domain.errors import InvalidInput, PostResultsError
from app.domain.ids import invalid_account_id_error
from app.graphql.ast.document_index import ArgumentPath
from app.graphql.engine.errors import argument_path, public_cause
from app.graphql.schema.connections import PAGE_ARGUMENT_RANGES, out_of_range_error

_MAX_ERRORS_PER_VALUE = 5
"""Limit of errors per value, because each error prints the whole value."""

# graphql-core names the variable and the path inside it only in its message.
_BAD_VARIABLE = re.compile(r"Variable '\$(\w+)' has invalid value(?: at ([^:]+))?: ", re.DOTALL)


class ValuesOfCorrectTypeWithPathRule(ValuesOfCorrectTypeRule):
    """Rule that reports an invalid literal as VALIDATION_ERROR or INVALID_ID with its argument's path."""

    def __init__(self, context: ValidationContext) -> None:
        super().__init__(context)
        self._path = ""

    def enter_argument(self, node: ArgumentNode, *_args: Any) -> None:
        self._path = node.name.value

    def enter_variable_definition(self, node: VariableDefinitionNode, *_args: Any) -> None:
        self._path = f"${node.variable.name.value}"

    def is_valid_value_node(
        self, node: ValueNode, input_type: GraphQLInputType | None
    ) -> VisitorAction:
        reported = 0

        def on_error(error: GraphQLError, path: list[str | int]) -> None:
            nonlocal reported
            reported += 1
            if reported > _MAX_ERRORS_PER_VALUE:
                raise _TooManyErrors
            steps = (f".{step}" if isinstance(step, str) else f"[{step}]" for step in path)
            self.report_error(_error_with_path(error, error.message, self._path + "".join(steps)))

        if input_type:
            with suppress(_TooManyErrors):
                validate_input_literal(
                    node, input_type, on_error, None, None, self.context.hide_suggestions
                )
        return SKIP


class _TooManyErrors(Exception):
    """Sign to stop the validation of a value."""


def add_argument_paths(
    errors: Iterable[GraphQLError], variable_paths: Mapping[str, ArgumentPath]
) -> list[GraphQLError]:
    """Reword errors of variables like those of literals: by the path of the argument, if known."""
    reworded = []
    for error in errors:
        match = _BAD_VARIABLE.match(error.message)
        if match is None:
            reworded.append(error)
            continue
        variable, path = match.groups()
        start = str(variable_paths.get(variable, f"${variable}"))
        problem = error.message[match.end() :]
        reworded.append(_error_with_path(error, problem, start + (path or "")))
    return reworded


def _error_with_path(error: GraphQLError, problem: str, path: str) -> GraphQLError:
    """Return the error of a value at a path such as `filter.accountId[2]`."""
    argument = argument_path(path)
    cause = public_cause(error) or _number_error(argument, problem) or InvalidInput(problem)
    cause.argument = argument
    has_path = cause.message.startswith(path)
    message = cause.message if has_path else f"{path}: {cause.message}"
    return GraphQLError(message, error.nodes, original_error=cause)


def _number_error(argument: str, problem: str) -> PostResultsError | None:
    """Return the error of an invalid Int whose allowed range is known, more precise than GraphQL's own."""
    if not problem.startswith(("Int cannot represent", "Expected value of type 'Int'")):
        return None
    if argument.rpartition(".")[2] == "accountId":
        return invalid_account_id_error(argument)
    return out_of_range_error(argument) if argument in PAGE_ARGUMENT_RANGES else None


VALIDATION_RULES = tuple(
    ValuesOfCorrectTypeWithPathRule if rule is ValuesOfCorrectTypeRule else rule
    for rule in specified_rules
)
