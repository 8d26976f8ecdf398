"""Counts the characters of a text as platforms do."""

import regex

_GRAPHEME = regex.compile(r"\X")
_FLAG = regex.compile("[\U0001f1e6-\U0001f1ff]{2}")
"""Two regional indicators, which are one grapheme."""
_BYTES_OF_FLAG = 8
_EMOJI = regex.compile(r"[\p{Emoji_Presentation}\uFE0F]")
"""Characters by which a grapheme is shown as an emoji."""


def count_graphemes(text: str) -> int:
    """Return the number of user-perceived characters: an emoji of several code points is one."""
    # In a run of flags, `regex` takes quadratic time; a letter counts the same.
    return sum(1 for _ in _GRAPHEME.finditer(_FLAG.sub("x", text)))


def count_with_emojis_as_bytes(text: str) -> int:
    """Return the number of user-perceived characters, where an emoji counts as its bytes in UTF-8."""
    text, flags = _FLAG.subn("x", text)
    graphemes: list[str] = _GRAPHEME.findall(text)
    characters = sum(
        len(grapheme.encode()) if _EMOJI.search(grapheme) else 1 for grapheme in graphemes
    )
    return characters + (_BYTES_OF_FLAG - 1) * int(flags)
