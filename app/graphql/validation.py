"""The validation rules of documents: GraphQL's own, with values that name their argument. No limits."""

from contextlib import suppress
from typing import Any

from graphql import GraphQLError, GraphQLInputType, specified_rules
from graphql.language import SKIP, ArgumentNode, ValueNode, VariableDefinitionNode, VisitorAction
from graphql.utilities.validate_input_value import validate_input_literal
from graphql.validation import ValidationContext, ValuesOfCorrectTypeRule

from app.domain.errors import InvalidInput
from app.graphql.errors import public_cause


class NamedValuesOfCorrectType(ValuesOfCorrectTypeRule):
    """A literal that does not fit is a VALIDATION_ERROR (or INVALID_ID) that names its argument."""

    def __init__(self, context: ValidationContext) -> None:
        super().__init__(context)
        self._place = ""

    def enter_argument(self, node: ArgumentNode, *_args: Any) -> None:
        self._place = node.name.value

    def enter_variable_definition(self, node: VariableDefinitionNode, *_args: Any) -> None:
        self._place = f"${node.variable.name.value}"

    def is_valid_value_node(
        self, node: ValueNode, input_type: GraphQLInputType | None
    ) -> VisitorAction:
        reported = 0

        def on_error(error: GraphQLError, path: list[str | int]) -> None:
            nonlocal reported
            reported += 1
            if reported > _MAX_ERRORS_OF_A_VALUE:
                raise _EnoughReported
            # Items share the place of their list, as everywhere.
            place = ".".join([self._place, *(step for step in path if isinstance(step, str))])
            cause = public_cause(error) or InvalidInput(error.message)
            cause.argument = place
            message = f"{place}: {cause.message}"
            self.report_error(GraphQLError(message, error.nodes, original_error=cause))

        if input_type:
            with suppress(_EnoughReported):
                validate_input_literal(
                    node, input_type, on_error, None, None, self.context.hide_suggestions
                )
        return SKIP


class _EnoughReported(Exception):
    """Ends the reading of a value; each of its errors prints the value whole."""


_MAX_ERRORS_OF_A_VALUE = 5


RULES = tuple(
    NamedValuesOfCorrectType if rule is ValuesOfCorrectTypeRule else rule
    for rule in specified_rules
)
