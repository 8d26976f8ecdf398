"""Cursors: decoded only for the list, order, workspace and secret that encoded them."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.domain.errors import BadCursor
from app.domain.ids import WorkspaceId
from app.domain.signing import CursorCodec, KeysetPosition
from app.domain.times import FIRST_YEAR, LAST_YEAR, truncate_to_ms
from tests.domain.errors import expect_error

WORKSPACE, OTHER_WORKSPACE = WorkspaceId(UUID(int=1)), WorkspaceId(UUID(int=2))
SCOPE = "posts:created_at:desc"
CODEC = CursorCodec(b"secret", WORKSPACE, SCOPE)

INSTANTS = st.datetimes(
    datetime(FIRST_YEAR, 1, 1),  # noqa: DTZ001 - the strategy adds the time zone
    datetime(LAST_YEAR, 12, 31),  # noqa: DTZ001
    timezones=st.just(UTC),
).map(truncate_to_ms)
KEYS = st.uuids().map(str) | st.text(st.characters(codec="utf-8"))
POSITIONS = st.builds(KeysetPosition, value=st.none() | INSTANTS, key=KEYS)


@given(POSITIONS)
@example(KeysetPosition(None, "f47ac10b-58cc-4372-a567-0e02b2c3d479"))
def test_position_is_decoded(position: KeysetPosition) -> None:
    cursor = CODEC.encode(position)
    assert CODEC.decode(cursor, "after") == position
    assert CursorCodec(b"secret", WORKSPACE, SCOPE).encode(position) == cursor


@pytest.mark.parametrize(
    "codec",
    [
        CursorCodec(b"secret", WORKSPACE, "posts:created_at:asc"),
        CursorCodec(b"secret", WORKSPACE, "posts:updated_at:desc"),
        CursorCodec(b"secret", WORKSPACE, "destinations:created_at:desc"),
        CursorCodec(b"secret", WORKSPACE, ""),
        CursorCodec(b"secret", OTHER_WORKSPACE, SCOPE),
        CursorCodec(b"another secret", WORKSPACE, SCOPE),
    ],
)
@given(position=POSITIONS)
def test_cursor_of_another_list_workspace_or_secret_is_rejected(
    codec: CursorCodec, position: KeysetPosition
) -> None:
    expect_error(BadCursor, codec.decode, CODEC.encode(position), "after")
    expect_error(BadCursor, CODEC.decode, codec.encode(position), "after")


@given(st.text())
@example("AAAA")
@example("\ud800")
@example("a" * 100_000)
def test_any_other_text_is_rejected(text: str) -> None:
    error = expect_error(BadCursor, CODEC.decode, text, "after")
    assert error.argument == "after"
    assert error.message == (
        "after is not a cursor of this list in this order."
        " Pass one that an earlier page returned, unchanged, or leave it out."
    )
