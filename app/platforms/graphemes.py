"""Counts the characters of a text as platforms do, and checks their number."""

from collections.abc import Callable
from itertools import islice

import regex

from app.platforms.protocol import content_error

_COUNTED_MULTIPLE = 10
"""Multiple of its limit up to which a text is counted: the count of a longer one would take long."""

_GRAPHEME = regex.compile(r"\X")
_FLAG = regex.compile("[\U0001f1e6-\U0001f1ff]{2}")
"""Two regional indicators, which are one grapheme."""
_BYTES_OF_FLAG = 8
_EMOJI = regex.compile(r"[\p{Emoji_Presentation}\uFE0F]")
"""Characters by which a grapheme is shown as an emoji."""


def check_character_count(
    count: Callable[[int], int], limit: int, subject: str, note: str = ""
) -> None:
    """Raise NotPublished for more characters than allowed; `subject` names who allows them.

    `count` takes the number at which it stops. `note` is a sentence on how characters are counted.
    """
    most_counted = _COUNTED_MULTIPLE * limit
    characters = count(most_counted + 1)
    if characters <= limit:
        return
    at_least = "more than " if characters > most_counted else ""
    shown = min(characters, most_counted)
    raise content_error(
        "TEXT_TOO_LONG",
        f"The text has {at_least}{shown:,} characters; {subject} allows {limit:,}.{note} Shorten the text"
        f" by {at_least}{shown - limit:,}.",
    )


def count_graphemes(text: str, at_most: int) -> int:
    """Return the number of user-perceived characters, or `at_most` if there are more.

    An emoji of several code points is one.
    """
    # In a run of flags, `regex` takes quadratic time; a letter counts the same.
    letters = _FLAG.sub("x", text, count=at_most)
    return sum(1 for _ in islice(_GRAPHEME.finditer(letters), at_most))


def count_with_emojis_as_bytes(text: str, at_most: int) -> int:
    """Return the number of user-perceived characters, or `at_most` if there are more.

    An emoji counts as its bytes in UTF-8: https://developers.facebook.com/docs/threads/posts.
    """
    letters, flags = _FLAG.subn("x", text, count=at_most)
    graphemes = (match.group() for match in islice(_GRAPHEME.finditer(letters), at_most))
    characters = sum(
        len(grapheme.encode()) if _EMOJI.search(grapheme) else 1 for grapheme in graphemes
    )
    return min(characters + (_BYTES_OF_FLAG - 1) * int(flags), at_most)
