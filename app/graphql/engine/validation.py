"""The validation rules of documents, and values that name their argument: literals and variables."""

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
from app.graphql.ast.argument_paths import ArgumentPath
from app.graphql.engine.errors import argument_path, public_cause
from app.graphql.schema.connections import PAGE_ARGUMENT_RANGES, out_of_range_error

MAX_ERRORS_PER_VALUE = 5
"""Each of them prints the whole value."""

# graphql-core says which variable was wrong, and where in it, in nothing but its sentence.
_BAD_VARIABLE = re.compile(r"Variable '\$(\w+)' has invalid value(?: at ([^:]+))?: ", re.DOTALL)


class ValuesOfCorrectTypeWithPathRule(ValuesOfCorrectTypeRule):
    """A literal that does not fit is a VALIDATION_ERROR (or INVALID_ID) that names its argument."""

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
            if reported > MAX_ERRORS_PER_VALUE:
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
    """Ends the reading of a value."""


def add_argument_paths(
    errors: Iterable[GraphQLError], variable_paths: Mapping[str, ArgumentPath]
) -> list[GraphQLError]:
    """Errors of variables in the words of those of literals: by the argument, where it is known."""
    named = []
    for error in errors:
        found = _BAD_VARIABLE.match(error.message)
        if found is None:
            named.append(error)
            continue
        variable, path = found.groups()
        place = variable_paths.get(variable)
        start = f"${variable}" if place is None else str(place)
        named.append(_error_with_path(error, error.message[found.end() :], start + (path or "")))
    return named


def _error_with_path(error: GraphQLError, problem: str, path: str) -> GraphQLError:
    """The error of a value at a place such as `filter.accountId[2]`."""
    argument = argument_path(path)
    cause = public_cause(error) or _number_error(argument, problem) or InvalidInput(problem)
    cause.argument = argument
    names_itself = cause.message.startswith(path)
    message = cause.message if names_itself else f"{path}: {cause.message}"
    return GraphQLError(message, error.nodes, original_error=cause)


def _number_error(argument: str, problem: str) -> PostResultsError | None:
    """What to say instead of GraphQL's sentence for any Int, where the numbers are known."""
    if not problem.startswith(("Int cannot represent", "Expected value of type 'Int'")):
        return None
    if argument.rpartition(".")[2] == "accountId":
        return invalid_account_id_error(argument)
    return out_of_range_error(argument) if argument in PAGE_ARGUMENT_RANGES else None


VALIDATION_RULES = tuple(
    ValuesOfCorrectTypeWithPathRule if rule is ValuesOfCorrectTypeRule else rule
    for rule in specified_rules
)
