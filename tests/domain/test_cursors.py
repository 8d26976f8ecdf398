"""Cursors: read back by the list that wrote them, and by nothing else."""

import base64
from datetime import UTC, datetime
from string import ascii_letters, digits
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.cursors import CursorCodec, KeysetPosition
from app.domain.errors import BadCursor
from app.domain.ids import WorkspaceId
from app.domain.times import FIRST_YEAR, LAST_YEAR, truncate_to_ms

WORKSPACE = WorkspaceId(UUID("00000000-0000-4000-8000-000000000001"))
OTHER_WORKSPACE = WorkspaceId(UUID("00000000-0000-4000-8000-000000000002"))
CURSOR_SCOPE = "posts:created_at:desc"
POSTS = CursorCodec(b"secret", WORKSPACE, CURSOR_SCOPE)
POSITION = KeysetPosition(
    datetime(2026, 4, 15, 14, 30, 5, 123_000, tzinfo=UTC), "f47ac10b-58cc-4372-a567-0e02b2c3d479"
)

INSTANTS = st.datetimes(
    datetime(FIRST_YEAR, 1, 1),  # noqa: DTZ001 - the strategy adds the time zone
    datetime(LAST_YEAR, 12, 31),  # noqa: DTZ001
    timezones=st.just(UTC),
).map(truncate_to_ms)
KEYS = st.uuids().map(str) | st.text(st.characters(codec="utf-8"))
POSITIONS = st.builds(KeysetPosition, value=st.none() | INSTANTS, key=KEYS)
ALPHABET = ascii_letters + digits + "-_"


def is_rejected(codec: CursorCodec, cursor: str) -> bool:
    try:
        codec.decode(cursor, "after")
    except BadCursor:
        return True
    return False


@given(POSITIONS)
def test_a_position_is_read_back(position: KeysetPosition) -> None:
    assert POSTS.decode(POSTS.encode(position), "after") == position


def test_a_position_without_a_value_is_read_back() -> None:
    position = KeysetPosition(None, POSITION.key)
    assert POSTS.decode(POSTS.encode(position), "after") == position
    assert POSTS.encode(position) != POSTS.encode(POSITION)


@given(POSITIONS)
def test_a_cursor_fits_into_an_address_as_it_is(position: KeysetPosition) -> None:
    assert set(POSTS.encode(position)) <= set(ALPHABET)


def test_the_same_position_always_has_the_same_cursor() -> None:
    again = CursorCodec(b"secret", WORKSPACE, CURSOR_SCOPE)
    assert again.encode(POSITION) == POSTS.encode(POSITION)


@pytest.mark.parametrize(
    "codec",
    [
        CursorCodec(b"secret", WORKSPACE, "posts:created_at:asc"),
        CursorCodec(b"secret", WORKSPACE, "posts:updated_at:desc"),
        CursorCodec(b"secret", WORKSPACE, "destinations:created_at:desc"),
        CursorCodec(b"secret", WORKSPACE, ""),
        CursorCodec(b"secret", OTHER_WORKSPACE, CURSOR_SCOPE),
        CursorCodec(b"another secret", WORKSPACE, CURSOR_SCOPE),
    ],
)
@given(position=POSITIONS)
def test_the_cursor_of_another_list_workspace_or_secret_is_refused(
    codec: CursorCodec, position: KeysetPosition
) -> None:
    assert is_rejected(codec, POSTS.encode(position))
    assert is_rejected(POSTS, codec.encode(position))


def test_a_cursor_with_any_character_changed_is_refused() -> None:
    cursors = [
        POSTS.encode(KeysetPosition(POSITION.value, POSITION.key + "x" * n)) for n in range(3)
    ]
    assert {len(cursor) % 4 for cursor in cursors} == {0, 2, 3}
    for cursor in cursors:
        for place, character in enumerate(cursor):
            for other in ALPHABET + "=+/ \n.é":
                changed = cursor[:place] + other + cursor[place + 1 :]
                assert is_rejected(POSTS, changed) == (other != character), changed


@given(POSITIONS, st.data())
def test_a_cursor_with_a_character_more_or_less_is_refused(
    position: KeysetPosition, data: st.DataObject
) -> None:
    cursor = POSTS.encode(position)
    place = data.draw(st.integers(0, len(cursor)))
    character = data.draw(st.characters())
    assert is_rejected(POSTS, cursor[:place] + character + cursor[place:])
    if place < len(cursor):
        assert is_rejected(POSTS, cursor[:place] + cursor[place + 1 :])


@given(POSITIONS)
def test_another_spelling_of_the_same_bytes_is_refused(position: KeysetPosition) -> None:
    cursor = POSTS.encode(position)
    padding = "=" * (-len(cursor) % 4)
    raw = base64.urlsafe_b64decode(cursor + padding)
    spellings = {
        cursor + padding,
        cursor + "====",
        base64.b64encode(raw).decode(),
        base64.b64encode(raw).decode().rstrip("="),
        base64.encodebytes(raw).decode(),
        raw.hex(),
        f" {cursor}",
        f"{cursor}\n",
    }
    for spelling in spellings - {cursor}:
        assert is_rejected(POSTS, spelling), spelling


@pytest.mark.parametrize(
    "text",
    ["", "=", "a", "AAAA", "null", "é", "\0", "\ud800", pytest.param("a" * 100_000, id="long")],
)
def test_what_was_never_a_cursor_is_refused_with_the_argument(text: str) -> None:
    with pytest.raises(BadCursor) as refused:
        POSTS.decode(text, "after")
    assert refused.value.argument == "after"
    assert refused.value.message == (
        "after is not a cursor of this list in this order."
        " Pass one that an earlier page returned, unchanged, or leave it out."
    )


@given(st.text())
def test_no_text_breaks_the_reading_of_a_cursor(text: str) -> None:
    assert is_rejected(POSTS, text)
