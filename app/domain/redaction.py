"""Taking secrets out of what platforms say, before it is stored. Recognises forms, not meanings."""

import re

REDACTED = "[redacted]"
_CUT = "…"

# What is no secret though it stands where one may: a word of prose, as in "Invalid token: expired".
_PROSE = r"(?:(?-i:[A-Za-z]?[a-z'’-]{0,20}|[A-Z]{1,20})[.,:;!?)…]*(?=\s|$)|\[redacted\])"
_NEW = r"(?!\[redacted\]|…)"
_START = r"(?<![\w-])"
_VALUE = r"[^\s\"'&,;<>)}\]]*[^\s\"'&,;<>)}\].]"
_SCHEME = r"(?:Bearer|Basic|OAuth|Token|Bot)(?![\w-])"
_PASSWORD = r"[\w-]{0,40}?(?:secret|passw(?:or)?d|passphrase)"
_NAME = (
    r"[\w-]{0,40}?(?:token|secret|passw(?:or)?d|passphrase|credentials?|signature|authorization"
    r"|session_?id|(?:\b|[_-])(?:sig|pwd)"
    r"|(?:api|access|auth|client|consumer|private|signing)[_-]?key)"
)
_SECRETS = re.compile(
    "|".join(
        (
            # A header, to its end or that of its token; in quotes, as in JSON, it is the next form.
            rf"(?P<cookies>\b(?:set-)?cookie\s{{0,3}}:\s{{0,3}}){_NEW}[^\s\"'][^\r\n]*",
            rf"(?P<header>\bauthorization\s{{0,3}}[:=]\s{{0,3}}{_SCHEME}\s{{1,3}}){_NEW}"
            r"[\w.~+/-]{6,}+=*+(?![\"'])",
            rf"(?P<quoted>{_START}(?:{_NAME}|(?:set-)?cookie)(?:\\{{0,3}}[\"'])?\s{{0,3}}[:=]\s{{0,3}}"
            rf"(?P<quote>\\{{0,3}}[\"'])){_NEW}(?:(?!(?P=quote))(?:\\.|.))+",
            rf"(?P<scheme>\b{_SCHEME}\s{{1,3}})(?!{_PROSE})[\w.~+/-]{{6,}}+=*+(?![\"'])",
            rf"(?P<sent>{_START}(?:{_NAME}[:=]|{_PASSWORD}\s{{0,3}}[:=]\s{{0,3}})){_NEW}{_VALUE}",
            rf"(?P<told>{_START}{_NAME}\s{{0,3}}[:=]\s{{0,3}})(?!{_PROSE}|{_SCHEME}){_VALUE}",
            r"(?P<user>://)[^\s/@:]+:[^\s/@]+(?=@)",
            rf"{_START}eyJ[\w-]{{8,}}+\.[\w-]{{4,}}(?:\.[\w-]*)?",  # a JSON web token
            r"\bAIza[\w-]{35}",  # a key of Google's, which is sent in URLs
            r"\b(?:bot)?\d{8,10}:[\w-]{35}",  # a token of Telegram's, which is too
            r"\b[a-z]{2,10}_(?:[a-z]{2,10}_)?[0-9a-f]{32}\b",  # a key of ours, with any prefix
            r"\bwhsec_[\w+/=-]+",
        )
    ),
    re.IGNORECASE | re.DOTALL,
)
_LONG_WORD = re.compile(r"[\w-]{40,}", re.ASCII)
_RUN = re.compile(r"[A-Za-z0-9]{16,}")


def redacted(text: str, *, max_length: int) -> str:
    """The text without what looks like a secret, in at most so many code points, and storable.

    NUL and lone surrogates become U+FFFD. What comes after twice as many is not looked at. A word that
    would be cut is left out, for half a secret is none that can be recognised.
    """
    cut = len(text) > 2 * max_length
    text = _storable(text[: 2 * max_length])
    if cut:
        text = _without_last_word(text)
    text = _LONG_WORD.sub(_hidden_if_random, _SECRETS.sub(_hidden, text))
    if len(text) > max_length:
        text, cut = _without_last_word(text[: max_length - 1]), True
    return text[: max_length - 1] + _CUT if cut else text


def _storable(text: str) -> str:
    return "".join(
        "\ufffd" if each == "\0" or "\ud800" <= each <= "\udfff" else each for each in text
    )


def _without_last_word(text: str) -> str:
    """The same where it is one word."""
    end = max(text.rfind(each) for each in " \t\r\n,;&\"'<>{}()[]")
    return text[: max(end, 0)].rstrip() or text


def _hidden(match: re.Match[str]) -> str:
    before = next((each for each in match.groups() if each), "")
    return before + REDACTED


def _hidden_if_random(match: re.Match[str]) -> str:
    """A long word that is no row of words and numbers, as the last part of a post's URL often is."""
    word = match.group()
    is_random = any(not run.isalpha() and not run.isdecimal() for run in _RUN.findall(word))
    return REDACTED if is_random else word
