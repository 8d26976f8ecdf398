"""Redaction of secrets in platform responses before they are stored, by patterns."""

import re
from functools import cache

REDACTED = "[redacted]"
_ELLIPSIS = "…"

# Prose in the position of a secret, as in "Invalid token: expired".
_WORD = r"(?-i:[A-Za-z]?[a-z'’-]{0,20}|[A-Z]{1,20})[.,:;!?)…]*"
_PROSE = rf"(?:{_WORD}(?=\s|$)|\[redacted\])"
_NULL_OR_BOOLEAN = r"(?:null|none|nil|true|false|undefined)\b"
_NOT_YET_REDACTED = r"(?!\[redacted\]|…)"
_WORD_START = r"(?<![\w-])"
_VALUE = r"[^\s\"'&,;<>)}\]]*[^\s\"'&,;<>)}\].]"
_SCHEME = r"(?:Bearer|Basic|OAuth|Token|Bot)(?![\w-])"
_PASSWORD_NAME = r"[\w-]{0,40}?(?:secret|passw(?:or)?d|passphrase)"
_SECRET_NAME = (
    r"[\w-]{0,40}?(?:token|secret|passw(?:or)?d|passphrase|credentials?|signature|authorization"
    r"|session_?id|(?:\b|[_-])(?:sig|pwd)"
    r"|(?:api|access|auth|client|consumer|private|signing)[_-]?key)"
)
_ASSIGNMENT = r"(?:\]?\s?=>|[:=])"  # PHP's print_r puts names in brackets
_QUOTE = r"(?:\\{0,3}[\"']|&(?:quot|apos|\#3[49]);)"
_QUOTED_CHARACTER = r"(?:(?!(?P=quote))(?:\\.|.))"
_PERCENT = r"%(?:25){0,2}"  # encoded again for each URL that contains the URL
_BASE64 = r"[\w.~+/-]{6,}+=*+"

_NAMED_SECRETS = (
    # A header: `Cookie: a=1` → `Cookie: [redacted]`. Quoted headers, as in JSON, match the next form.
    rf"(?P<cookies>\b(?:set-)?cookie\s{{0,3}}:\s{{0,3}}){_NOT_YET_REDACTED}[^\s\"'][^\n]*",
    rf"(?P<header>\bauthorization\s{{0,3}}[:=]\s{{0,3}}{_SCHEME}\s{{1,3}}){_NOT_YET_REDACTED}"
    rf"{_BASE64}(?![\"'])",
    # A quoted value, or a list of them: `"token": "a1"` → `"token": "[redacted]"`.
    rf"(?P<quoted>{_WORD_START}(?:{_SECRET_NAME}|(?:set-)?cookie){_QUOTE}?\s{{0,3}}{_ASSIGNMENT}\s{{0,3}}"
    rf"(?P<list>\[\s*+)?(?P<quote>{_QUOTE})){_NOT_YET_REDACTED}{_QUOTED_CHARACTER}+"
    rf"(?(list)(?:(?P=quote)\s*+,\s*+(?P=quote){_QUOTED_CHARACTER}*)*)",
    # An unquoted value of a quoted name, or a list of numbers: `"token": 17` → `"token": [redacted]`.
    rf"(?P<bare>{_WORD_START}{_SECRET_NAME}{_QUOTE}\s{{0,3}}{_ASSIGNMENT}\s{{0,3}})(?!{_PROSE}|{_NULL_OR_BOOLEAN})[\w+/.-]{_VALUE}",
    rf"(?P<numbers>{_WORD_START}{_SECRET_NAME}{_QUOTE}?\s{{0,3}}{_ASSIGNMENT}\s{{0,3}}\[\s*+)(?=[\d-])[^\]\"'\[{{}}]+",
    # The content of an XML element: `<token>a1</token>` → `<token>[redacted]</token>`.
    rf"(?P<element>(?:<|&lt;)(?:\w{{1,20}}:)?{_SECRET_NAME}(?:\s[^<>]{{0,99}})?(?:>|&gt;)"
    rf"\s{{0,9}}(?:<!\[CDATA\[)?){_NOT_YET_REDACTED}[^\s<&\]][^<&\]]*",
    # A percent-encoded part of a URL: `token%3Da1&x=2` → `token%3D[redacted]&x=2`.
    rf"(?P<encoded>{_WORD_START}{_SECRET_NAME}(?:{_PERCENT}2[27])?{_PERCENT}3[AD]"
    rf"(?:{_PERCENT}2[027]|\+)*(?:{_SCHEME}(?:{_PERCENT}20|\+))?){_NOT_YET_REDACTED}"
    rf"(?:[^\s\"'&,;<>)}}\]%]|%(?!(?:25){{0,2}}(?:2[0267C]|3B|[57]D|0[AD])))+",
    # An authentication scheme without a name: `Bearer dGVzdA==` → `Bearer [redacted]`.
    rf"(?P<scheme>\b(?:{_SCHEME}(?:\s{{1,3}}|%20)|Bearer\s{{0,3}}[:=]\s{{0,3}}))"
    rf"(?!{_PROSE}|{_WORD}[\"'\\]){_BASE64}(?!(?<==)[\"'][^\s\"',;)}}\]])",
    # An assigned value; after a space only if it is not prose, unless the name is that of a password.
    rf"(?P<sent>{_WORD_START}(?:{_SECRET_NAME}{_ASSIGNMENT}|{_PASSWORD_NAME}\s{{0,3}}{_ASSIGNMENT}\s{{0,3}})){_NOT_YET_REDACTED}{_VALUE}",
    rf"(?P<assigned>{_WORD_START}{_SECRET_NAME}\s{{0,3}}{_ASSIGNMENT}\s{{0,3}})(?!{_PROSE}|{_SCHEME}){_VALUE}",
    # User and password of a URL: `://user:pw@host` → `://[redacted]@host`.
    r"(?P<user>://)[^\s/@:]+:[^\s/@]+(?=@)",
)
"""Patterns of secrets with a name. The first group of each is not redacted; the first match wins."""

_TOKEN_START = r"(?<![A-Za-z0-9])"
_SECRET_FORMATS = (
    rf"{_WORD_START}eyJ[\w-]{{8,}}+\.[\w-]{{4,}}(?:\.[\w-]*)?",  # a JSON web token
    r"-----BEGIN[\w+% ]{0,40}?PRIVATE(?:[+ ]|%20)KEY.*?(?:-----END[\w+% ]{0,60}(?:-----|\Z)|\Z)",
    rf"{_TOKEN_START}AIza[\w-]{{35}}",  # Google: API key, access token, refresh token
    rf"{_TOKEN_START}ya29\.[\w.-]{{8,}}",
    rf"{_TOKEN_START}1//0[\w-]{{20,}}",
    r"\b(?:bot)?\d{8,10}:[\w-]{35}",  # Telegram, also in URLs
    rf"{_TOKEN_START}(?-i:[MNO][\w-]{{23,27}}\.[\w-]{{6}}\.[\w-]{{27,}})",  # Discord
    rf"{_TOKEN_START}(?:xox[a-z]|xapp)-[\w-]{{8,}}",  # Slack
    rf"{_TOKEN_START}[rsp]k_(?:live|test)_\w{{8,}}",  # Stripe
    rf"{_TOKEN_START}whsec_[\w+/=-]+",  # Standard Webhooks
    rf"{_TOKEN_START}(?-i:A[KS]IA[A-Z0-9]{{16,}})",  # Amazon
    rf"{_TOKEN_START}(?:gh[oprsu]|github_pat)_\w{{8,}}",  # GitHub
    rf"{_TOKEN_START}glpat-[\w-]{{8,}}",  # GitLab
    rf"{_TOKEN_START}sk-(?:(?:ant|proj|svcacct)-[\w-]{{20,}}|[A-Za-z0-9]{{20,}})",  # OpenAI, Anthropic
    rf"{_TOKEN_START}SG\.[\w-]{{16,}}\.[\w-]{{16,}}",  # SendGrid
    r"\b[a-z]{2,10}_(?:[a-z]{2,10}_)?[0-9a-f]{32}\b",  # API keys of this service, with any prefix
)
"""Patterns of secrets with a known format, in any position."""

_UNPRINTABLE = re.compile(r"[\0-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_USERINFO = re.compile(r"(?<=://)[^/?#\\]*@")
_LONG_WORD = re.compile(r"[\w-]{40,}", re.ASCII)
_ALPHANUMERIC_RUN = re.compile(r"[A-Za-z0-9]{16,}")


def redact(text: str, *, max_length: int) -> str:
    """Replace likely secrets and unstorable characters; truncate to `max_length` code points.

    Control characters other than newline and tab, which may hide their neighbours, and lone surrogates
    become U+FFFD. Text after twice `max_length` is dropped unread. A truncated word is dropped whole,
    because half a secret is not recognisable.
    """
    is_truncated = len(text) > 2 * max_length
    text = _UNPRINTABLE.sub("\ufffd", text[: 2 * max_length].replace("\r\n", "\n"))
    if is_truncated:
        text = _drop_last_word(text)
    text = _LONG_WORD.sub(_redact_if_random, _secrets().sub(_redact_match, text))
    if len(text) > max_length:
        text, is_truncated = _drop_last_word(text[: max_length - 1]), True
    return text[: max_length - 1] + _ELLIPSIS if is_truncated else text


def redact_url(url: str) -> str:
    """Remove user, password and likely secrets from a public URL.

    Random-looking words stay, because the ids of many platforms look random.
    """
    return _secrets().sub(_redact_match, _USERINFO.sub("", url, count=1))


@cache
def _secrets() -> re.Pattern[str]:
    # Compiled for the first response that is stored: this takes 10 ms, which the start need not wait for.
    return re.compile("|".join((*_NAMED_SECRETS, *_SECRET_FORMATS)), re.IGNORECASE | re.DOTALL)


def _drop_last_word(text: str) -> str:
    """Return the text without its last word; unchanged if there is only one."""
    end = max(map(text.rfind, " \t\r\n,;&\"'<>{}()[]"))
    return text[: max(end, 0)].rstrip() or text


def _redact_match(match: re.Match[str]) -> str:
    name = next((group for group in match.groups() if group), "")
    return name + REDACTED


def _redact_if_random(match: re.Match[str]) -> str:
    """Redact a long word unless it is a hyphenated slug of words and numbers, as in many URLs."""
    word = match.group()
    is_random = any(
        not run.isalpha() and not run.isdecimal() for run in _ALPHANUMERIC_RUN.findall(word)
    )
    return REDACTED if is_random else word
