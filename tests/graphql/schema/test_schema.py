"""Schema document: committed, described, and named by convention."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNonNull,
    GraphQLObjectType,
    build_schema,
    introspection_from_schema,
    is_introspection_type,
    is_specified_scalar_type,
    specified_directives,
    validate_schema,
)

from app.graphql.engine.executable_schema import create_schema, print_sdl
from app.settings import GraphQLLimits

COMMITTED_SDL = Path(__file__).parents[3] / "schema.graphql"
SCHEMA = create_schema(GraphQLLimits())
SDL = print_sdl(SCHEMA)
PRINTED_SCHEMA = build_schema(SDL)


class DescribedElement(NamedTuple):
    """Element of the schema that needs a description."""

    path: str
    description: str | None


def own_types() -> Iterator[tuple[str, object]]:
    for name, type_ in PRINTED_SCHEMA.type_map.items():
        if not is_introspection_type(type_) and not is_specified_scalar_type(type_):
            yield name, type_


def own_type_elements() -> Iterator[DescribedElement]:
    for name, _ in own_types():
        yield DescribedElement(name, PRINTED_SCHEMA.type_map[name].description)


def schema_members() -> Iterator[DescribedElement]:
    """Yield fields, arguments, input fields and enum values."""
    for name, type_ in own_types():
        if isinstance(type_, (GraphQLObjectType, GraphQLInterfaceType)):
            for field_name, field in type_.fields.items():
                yield DescribedElement(f"{name}.{field_name}", field.description)
                for argument_name, argument in field.args.items():
                    path = f"{name}.{field_name}({argument_name})"
                    yield DescribedElement(path, argument.description)
        elif isinstance(type_, GraphQLInputObjectType):
            for field_name, input_field in type_.fields.items():
                yield DescribedElement(f"{name}.{field_name}", input_field.description)
        elif isinstance(type_, GraphQLEnumType):
            for value_name, value in type_.values.items():
                yield DescribedElement(f"{name}.{value_name}", value.description)


def get_object_type(name: str) -> GraphQLObjectType:
    type_ = PRINTED_SCHEMA.type_map[name]
    assert isinstance(type_, GraphQLObjectType)
    return type_


def test_committed_schema_matches_code() -> None:
    assert COMMITTED_SDL.read_text() == SDL


def test_schema_is_printed_deterministically() -> None:
    assert print_sdl(create_schema(GraphQLLimits())) == SDL


def test_schema_is_valid_without_custom_directives() -> None:
    assert validate_schema(PRINTED_SCHEMA) == []
    own_directives = {directive.name for directive in PRINTED_SCHEMA.directives} - {
        directive.name for directive in specified_directives
    }
    assert own_directives == set()


def test_every_element_is_described_by_sentences() -> None:
    for path, description in (*own_type_elements(), *schema_members()):
        assert description, path
        assert re.fullmatch(r"[A-Z`'\"\d].*[.]", description, re.DOTALL), path
        assert description == description.strip(), path
        assert "  " not in description, path


def test_no_default_is_null() -> None:
    assert "= null" not in SDL
    served: Any = introspection_from_schema(SCHEMA.graphql_schema)["__schema"]
    defaults = {
        f"{type_['name']}.{field['name']}": field["defaultValue"]
        for type_ in served["types"]
        for field in (
            *(type_.get("inputFields") or ()),
            *(argument for field in type_.get("fields") or () for argument in field["args"]),
        )
        if not type_["name"].startswith("__") and field["defaultValue"] is not None
    }
    assert "null" not in defaults.values()
    assert defaults["RetryDestinationsInput.first"] == "500"


TOTALS = {"totalCount", "totalCountCapped", "totalCountIsCapped"}


def test_fields_with_their_own_statement_are_nullable() -> None:
    nullable_fields = {
        "Query": set(get_object_type("Query").fields) - {"viewer", "errorCatalog"},
        "Post": {"destinations", "accountIds"},
        "Destination": {"account", "accountName", "post", "attemptLog"},
        "Account": {"health"},
        "Viewer": {"stats"},
        "PostConnection": TOTALS,
        "DestinationConnection": TOTALS,
    }
    for name, fields in nullable_fields.items():
        for field in fields:
            type_ = get_object_type(name).fields[field].type
            assert not isinstance(type_, GraphQLNonNull), f"{name}.{field}"


def test_every_type_with_id_implements_node() -> None:
    nodes = set()
    for name, type_ in own_types():
        if isinstance(type_, GraphQLObjectType) and "id" in type_.fields:
            assert [interface.name for interface in type_.interfaces] == ["Node"]
            assert str(type_.fields["id"].type) == "ID!"
            nodes.add(name)
    assert nodes == {
        *("Post", "Destination", "Account", "FailureGroup", "Webhook", "WebhookDelivery")
    }
