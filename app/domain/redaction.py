"""Taking secrets out of what platforms say, before it is stored. Recognises forms, not meanings."""

import re

REDACTED = "[redacted]"
_CUT = "…"

_NAMES = (
    r"(?:access|refresh|bearer|auth|id|session|page|user|client|api|app|private|secret)?[_-]?"
    r"(?:token|secret|password|passwd|api[_-]?key|credential|signature|sig|key|authorization|cookie)"
)
_SECRETS = re.compile(
    "|".join(
        (
            r"(?P<scheme>\b(?:Bearer|Basic|OAuth|Token)\s+)[\w.~+/=-]{6,}",
            rf"(?P<name>\b{_NAMES}[\"']?\s{{0,3}}[:=]\s{{0,3}}[\"']?)(?!{re.escape(REDACTED)})[^\s\"'&,;<>)}}\]]+",
            r"(?P<user>://)[^\s/@:]+:[^\s/@]+(?=@)",
            r"\beyJ[\w-]{8,}\.[\w-]{4,}(?:\.[\w-]*)?",  # a JSON web token
            r"\b(?=[\w-]{0,79}\d)(?=[\w-]{0,79}[A-Za-z])[A-Za-z0-9][\w-]{39,}",  # a long random word
        )
    ),
    re.IGNORECASE,
)


def redacted(text: str, *, max_length: int) -> str:
    """The text without what looks like a secret, in at most so many code points, and storable.

    NUL and lone surrogates become U+FFFD. A word that would be cut is left out, for half a secret is
    none that can be recognised.
    """
    cut = len(text) > 2 * max_length
    text = _storable(text[: 2 * max_length])
    if cut:
        text = _without_last_word(text)
    text = _SECRETS.sub(_hidden, text)
    if len(text) > max_length:
        text, cut = _without_last_word(text[: max_length - 1]), True
    return text[: max_length - 1] + _CUT if cut else text


def _storable(text: str) -> str:
    return "".join(
        "\ufffd" if each == "\0" or "\ud800" <= each <= "\udfff" else each for each in text
    )


def _without_last_word(text: str) -> str:
    """The same where it is one word."""
    shorter = text.rstrip().rpartition(" ")[0]
    return shorter or text


def _hidden(match: re.Match[str]) -> str:
    before = next((each for each in match.groups() if each), "")
    return before + REDACTED
