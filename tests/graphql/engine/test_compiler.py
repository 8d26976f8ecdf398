"""Functions made for objects with attributes, and all that makes them leave a value to graphql-core."""

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest
import strawberry
from strawberry.schema.config import StrawberryConfig

from app.graphql.ast.selections import Unsupported
from app.graphql.engine.executable_schema import core_schema
from app.graphql.engine.executor import Executor
from app.graphql.loading.loaders import ListSizeLimit
from app.graphql.schema.scalars import SCALARS
from tests.factories import NOW
from tests.graphql.engine.compiling import compile_object


@strawberry.enum
class Color(StrEnum):
    RED = "red"
    BLUE = "blue"


@strawberry.type
class Inner:
    name: str


@strawberry.type
class Thing:
    text: str | None
    sure_text: str
    number: int | None
    sure_number: int
    ratio: float | None
    truth: bool | None
    key: strawberry.ID | None
    color: Color | None
    time: datetime | None
    uuid: UUID | None
    texts: list[str] | None
    gaps: list[str | None] | None
    inner: Inner | None
    sure_inner: Inner
    inners: list[Inner] | None
    table: list[list[int]] | None

    @strawberry.field
    def told(self) -> str:
        return f"told of {self.text}"

    @strawberry.field
    def loaded(self, info: strawberry.Info[Any, Any]) -> str:
        raise NotImplementedError

    @strawberry.field
    async def awaited(self) -> str:
        raise NotImplementedError


@strawberry.type
class Query:
    @strawberry.field
    def thing(self, info: strawberry.Info[Any, Any]) -> Thing:
        return cast("Thing", info.context.thing)


def build_test_schema(*, is_fast: bool) -> strawberry.Schema:
    return strawberry.Schema(
        Query,
        config=StrawberryConfig(scalar_map=SCALARS),
        execution_context_class=Executor if is_fast else None,
    )


FAST_SCHEMA, REFERENCE_SCHEMA = build_test_schema(is_fast=True), build_test_schema(is_fast=False)

VALID_THING: dict[str, object] = {
    "text": "a",
    "sure_text": "b",
    "number": 2**31 - 1,
    "sure_number": -(2**31),
    "ratio": 1.5,
    "truth": False,
    "key": "k",
    "color": Color.BLUE,
    "time": datetime(2026, 4, 15, 15, 0, 0, 1000, tzinfo=UTC),
    "uuid": UUID(int=1),
    "texts": ["a", ""],
    "gaps": ["a", None],
    "inner": Inner(name="i"),
    "sure_inner": Inner(name="s"),
    "inners": [Inner(name="1"), Inner(name="2")],
    "table": None,
}
NULLABLE = set(VALID_THING) - {"sure_text", "sure_number", "sure_inner"}
SELECTION = (
    "{ text sureText number sureNumber ratio truth key color time uuid texts gaps inner { name }"
    " sureInner { name __typename } inners { n: name } __typename }"
)


def complete_thing(
    selection: str, thing: object, variables: Mapping[str, object] | None = None
) -> object:
    return compile_object(core_schema(FAST_SCHEMA), "Thing", selection)(thing, variables or {})


def test_each_kind_of_field_is_answered_with_as_graphql_core_does() -> None:
    answer = complete_thing(SELECTION, SimpleNamespace(**VALID_THING))

    assert answer == {
        "text": "a",
        "sureText": "b",
        "number": 2147483647,
        "sureNumber": -2147483648,
        "ratio": 1.5,
        "truth": False,
        "key": "k",
        "color": "BLUE",
        "time": "2026-04-15T15:00:00.001Z",
        "uuid": "00000000-0000-0000-0000-000000000001",
        "texts": ["a", ""],
        "gaps": ["a", None],
        "inner": {"name": "i"},
        "sureInner": {"name": "s", "__typename": "Inner"},
        "inners": [{"n": "1"}, {"n": "2"}],
        "__typename": "Thing",
    }
    assert answer == execute_query(REFERENCE_SCHEMA, SELECTION, VALID_THING)["data"]["thing"]


def test_what_may_be_null_is_null() -> None:
    thing = VALID_THING | dict.fromkeys(NULLABLE)

    assert complete_thing("{ text number inner { name } texts }", SimpleNamespace(**thing)) == {
        "text": None,
        "number": None,
        "inner": None,
        "texts": None,
    }
    assert (
        complete_thing(SELECTION, SimpleNamespace(**thing))
        == (execute_query(REFERENCE_SCHEMA, SELECTION, thing)["data"]["thing"])
    )


def test_a_resolver_that_needs_nothing_but_its_object_is_asked() -> None:
    assert complete_thing("{ told }", Thing(**VALID_THING)) == {"told": "told of a"}  # type: ignore[arg-type]


def test_keys_under_conditions_are_there_when_they_hold() -> None:
    thing = SimpleNamespace(**VALID_THING)
    selection = "{ text a: number @include(if: $v) inner @skip(if: $v) { name } }"

    assert complete_thing(selection, thing, {"v": True}) == {"text": "a", "a": 2147483647}
    assert complete_thing(selection, thing, {"v": False}) == {"text": "a", "inner": {"name": "i"}}
    with pytest.raises(Unsupported):
        complete_thing(selection, thing, {})


INVALID_VALUES: tuple[tuple[str, object], ...] = (
    ("sure_text", None),
    ("sure_number", None),
    ("sure_inner", None),
    ("text", 5),
    ("text", True),
    ("text", b"x"),
    ("text", ["a"]),
    ("number", 2**31),
    ("number", -(2**31) - 1),
    ("number", "5"),
    ("number", 5.0),
    ("number", True),
    ("truth", 1),
    ("truth", "yes"),
    ("key", 7),
    ("color", "green"),
    ("color", []),
    ("time", "2026-04-15"),
    ("time", 5),
    ("ratio", "nope"),
    ("ratio", float("inf")),
    ("texts", ["a", None]),
    ("texts", ("a",)),
    ("texts", "a"),
    ("texts", [1]),
    ("gaps", [1]),
    ("inner", SimpleNamespace()),
    ("inners", [None]),
    ("inners", (Inner(name="1"),)),
    ("inners", [Inner(name=cast("str", None))]),
    ("sure_inner", Inner(name=cast("str", 5))),
)


UNUSUAL_VALUES: tuple[tuple[str, object], ...] = (
    ("uuid", "nope"),
    ("ratio", 7),
    ("color", "red"),
    ("time", datetime(2026, 4, 15)),  # noqa: DTZ001 - without a zone on purpose
)
"""What may be answered with all the same."""


@pytest.mark.parametrize(("name", "value"), [*INVALID_VALUES, *UNUSUAL_VALUES])
def test_a_strange_value_is_answered_as_graphql_core_does(name: str, value: object) -> None:
    """With its errors, their paths and places."""
    thing = VALID_THING | {name: value}

    assert execute_query(FAST_SCHEMA, SELECTION, thing) == execute_query(
        REFERENCE_SCHEMA, SELECTION, thing
    )


@pytest.mark.parametrize(("name", "value"), INVALID_VALUES)
def test_a_strange_value_makes_a_function_fail(name: str, value: object) -> None:
    with pytest.raises(Exception):  # noqa: B017, PT011 - whatever it is
        complete_thing(SELECTION, SimpleNamespace(**(VALID_THING | {name: value})))


@pytest.mark.parametrize("selection", ["{ loaded }", "{ awaited }", "{ table }", "{ told loaded }"])
def test_what_needs_a_resolver_or_is_not_known_has_no_function(selection: str) -> None:
    with pytest.raises(Unsupported):
        complete_thing(selection, None)


def test_types_that_tell_of_the_schema_have_no_function() -> None:
    with pytest.raises(Unsupported):
        compile_object(core_schema(FAST_SCHEMA), "__Type", "{ name }")


def execute_query(schema: strawberry.Schema, selection: str, thing: Mapping[str, object]) -> Any:
    """Data in the order of its keys, and errors."""
    context = SimpleNamespace(
        thing=SimpleNamespace(**thing), clock=lambda: NOW, list_entries=ListSizeLimit(None)
    )
    result = schema.execute_sync(f"{{ thing {selection} }}", context_value=context)
    errors = [each.formatted for each in result.errors or ()]
    return {"data": result.data, "order": str(result.data), "errors": errors}
