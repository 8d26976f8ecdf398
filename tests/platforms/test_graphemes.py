"""Tests of the counts of characters."""

import pytest
import regex
from hypothesis import example, given
from hypothesis import strategies as st

from app.platforms.graphemes import count_graphemes, count_with_emojis_as_bytes

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
    assert count_graphemes(text) == count


@given(st.lists(PARTS, max_size=12).map("".join))
@example("\u0600" + FLAG + FLAG[1])
def test_count_is_that_of_unicode(text: str) -> None:
    assert count_graphemes(text) == len(regex.findall(r"\X", text))


def test_long_run_of_flags_is_counted() -> None:
    assert count_graphemes(FLAG * 100_000) == 100_000


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
    assert count_with_emojis_as_bytes(text) == count


def test_emojis_of_long_run_of_flags_are_counted() -> None:
    assert count_with_emojis_as_bytes(FLAG * 100_000) == 800_000
