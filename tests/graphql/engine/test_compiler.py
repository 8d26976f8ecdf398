"""Compiled completion of objects with attributes, and its fallback to graphql-core."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from types import SimpleNamespace
from typing import Any, TypeVar, cast
from uuid import UUID

import pytest
import strawberry
from strawberry.schema.config import StrawberryConfig

from app.graphql.ast.selections import NotCompilable
from app.graphql.engine.executor import Executor
from app.graphql.loading.response_limit import ResponseLimit
from app.graphql.schema.scalars import SCALARS
from tests.factories import NOW
from tests.graphql.engine.compiling import compile_object

T = TypeVar("T")


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
    def summary(self) -> str:
        return f"summary of {self.text}"

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

    @strawberry.field
    def things(self, info: strawberry.Info[Any, Any]) -> list[Thing]:
        return [cast("Thing", info.context.thing)]


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
    return compile_object(FAST_SCHEMA._schema, "Thing", selection)(
        thing, variables or {}, ResponseLimit(None, None)
    )


def test_every_kind_of_field_is_completed_like_by_graphql_core() -> None:
    data = complete_thing(SELECTION, SimpleNamespace(**VALID_THING))

    assert data == {
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
    assert data == execute_query(REFERENCE_SCHEMA, SELECTION, VALID_THING)["data"]["thing"]


def test_none_in_a_nullable_field_is_null() -> None:
    thing = VALID_THING | dict.fromkeys(NULLABLE)
    data = complete_thing(SELECTION, SimpleNamespace(**thing))

    assert isinstance(data, dict)
    assert {name for name, value in data.items() if value is not None} == {
        *("sureText", "sureNumber", "sureInner", "__typename")
    }
    assert data == execute_query(REFERENCE_SCHEMA, SELECTION, thing)["data"]["thing"]


def test_a_resolver_that_needs_only_its_parent_is_called() -> None:
    assert complete_thing("{ summary }", Thing(**VALID_THING)) == {"summary": "summary of a"}  # type: ignore[arg-type]


def test_conditional_fields_are_included_if_their_condition_holds() -> None:
    thing = SimpleNamespace(**VALID_THING)
    selection = "{ text a: number @include(if: $v) inner @skip(if: $v) { name } }"

    assert complete_thing(selection, thing, {"v": True}) == {"text": "a", "a": 2147483647}
    assert complete_thing(selection, thing, {"v": False}) == {"text": "a", "inner": {"name": "i"}}
    with pytest.raises(NotCompilable):
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
    ("time", datetime(2026, 4, 15)),  # noqa: DTZ001 - deliberately without a time zone
)
"""Values that graphql-core completes without an error."""


@pytest.mark.parametrize(("name", "value"), [*INVALID_VALUES, *UNUSUAL_VALUES])
def test_an_unexpected_value_gets_the_result_of_graphql_core(name: str, value: object) -> None:
    thing = VALID_THING | {name: value}

    assert execute_query(FAST_SCHEMA, SELECTION, thing) == execute_query(
        REFERENCE_SCHEMA, SELECTION, thing
    )


@pytest.mark.parametrize(("name", "value"), INVALID_VALUES)
def test_an_invalid_value_makes_the_compiled_function_fail(name: str, value: object) -> None:
    with pytest.raises(Exception):  # noqa: B017, PT011 - of any type
        complete_thing(SELECTION, SimpleNamespace(**(VALID_THING | {name: value})))


@pytest.mark.parametrize(
    ("parent", "selection"),
    [
        *(
            ("Thing", f"{{ {field} }}")
            for field in ("loaded", "awaited", "table", "summary loaded")
        ),
        ("__Type", "{ name }"),
    ],
)
def test_fields_that_need_other_resolvers_are_not_compiled(parent: str, selection: str) -> None:
    with pytest.raises(NotCompilable):
        compile_object(FAST_SCHEMA._schema, parent, selection)


class RecordingLimit(ResponseLimit):
    def __init__(self) -> None:
        super().__init__(None, None)
        self.completed: list[object] = []

    def rollback_on_error(self, complete: Callable[..., T], *arguments: object) -> T:
        completed = super().rollback_on_error(complete, *arguments)
        self.completed.append(completed)
        return completed


@pytest.mark.parametrize("field", ["thing", "things"])
def test_the_executor_completes_objects_and_lists_by_compiled_functions(field: str) -> None:
    limit = RecordingLimit()
    result = execute_query(FAST_SCHEMA, SELECTION, VALID_THING, field=field, response_limit=limit)

    assert limit.completed == [result["data"][field]]
    assert result == execute_query(REFERENCE_SCHEMA, SELECTION, VALID_THING, field=field)


def execute_query(
    schema: strawberry.Schema,
    selection: str,
    thing: Mapping[str, object],
    *,
    field: str = "thing",
    response_limit: ResponseLimit | None = None,
) -> Any:
    """Return the data, its key order and the errors."""
    context = SimpleNamespace(
        thing=SimpleNamespace(**thing),
        clock=lambda: NOW,
        response_limit=response_limit or ResponseLimit(None, None),
        value_count=0,
    )
    result = schema.execute_sync(f"{{ {field} {selection} }}", context_value=context)
    errors = [error.formatted for error in result.errors or ()]
    return {"data": result.data, "order": str(result.data), "errors": errors}
