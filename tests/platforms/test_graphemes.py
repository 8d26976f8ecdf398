"""Tests of the counts of characters."""

from functools import partial

import pytest
import regex
from hypothesis import example, given
from hypothesis import strategies as st

from app.platforms.graphemes import (
    check_character_count,
    count_graphemes,
    count_with_emojis_as_bytes,
)
from app.platforms.protocol import NotPublished

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466"
FLAG = "\U0001f1e9\U0001f1ea"
PARTS = st.sampled_from(
    [*FLAG, FAMILY, "\u200d", "\ufe0f", "\u0301", "\u0600", "\u0903", "\U0001f3fb", "a", "\r", "\n"]
)
"""Texts with regional indicators in them, before and after characters that join others."""


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("abc", 3),
        ("e\u0301", 1),
        (FAMILY, 1),
        (FLAG, 1),
        (FLAG * 2 + FLAG[0], 3),
        ("\r\n", 1),
    ],
)
def test_graphemes_are_counted_as_people_see_them(text: str, count: int) -> None:
    assert count_graphemes(text, 99) == count


@given(st.lists(PARTS, max_size=12).map("".join))
@example("\u0600" + FLAG + FLAG[1])
def test_count_is_that_of_unicode(text: str) -> None:
    assert count_graphemes(text, 99) == len(regex.findall(r"\X", text))


def test_long_run_of_flags_is_counted() -> None:
    assert count_graphemes(FLAG * 100_000, 200_000) == 100_000


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("Grüße e\u0301\r\n\u00a9", 9),
        ("\U0001f44d", 4),
        ("\u2764\ufe0f", 6),
        ("1\ufe0f\u20e3", 7),
        (FAMILY, 25),
        ("\r" + FLAG * 2 + "\n", 18),
    ],
)
def test_emoji_counts_as_its_bytes(text: str, count: int) -> None:
    assert count_with_emojis_as_bytes(text, 99) == count


def test_emojis_of_long_run_of_flags_are_counted() -> None:
    assert count_with_emojis_as_bytes(FLAG * 100_000, 900_000) == 800_000


@given(st.lists(PARTS, max_size=12).map("".join), st.integers(1, 20))
@example("\u0600" + FLAG * 3, 2)
def test_counts_stop_at_a_number(text: str, at_most: int) -> None:
    for count in (count_graphemes, count_with_emojis_as_bytes):
        assert count(text, at_most) == min(count(text, 999), at_most)


@pytest.mark.parametrize(
    ("characters", "message"),
    [
        (20, "The text has 20 characters; Acme allows 2. Shorten the text by 18."),
        (
            21,
            "The text has more than 20 characters; Acme allows 2. Shorten the text by more than 18.",
        ),
        (
            99,
            "The text has more than 20 characters; Acme allows 2. Shorten the text by more than 18.",
        ),
    ],
)
def test_text_is_counted_up_to_ten_times_its_limit(characters: int, message: str) -> None:
    with pytest.raises(NotPublished) as caught:
        check_character_count(partial(count_graphemes, "a" * characters), 2, "Acme")
    assert caught.value.message == message
