"""Texts of Bluesky posts: their limits, and the links, mentions and tags in them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

import regex

from app.domain.errors import InvalidInput
from app.domain.validation.post_contents import MAX_CONTENT_LENGTH
from app.domain.validation.text import validate_text
from app.platforms.graphemes import check_character_count, count_graphemes
from app.platforms.limits import BLUESKY_LIMITS, BLUESKY_MAX_LENGTH_BYTES
from app.platforms.protocol import content_error

_MAX_TAG_GRAPHEMES = 64
_MAX_TAG_BYTES = 640

_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_SPAN = regex.compile(
    rf"""
      (?<!\w)(?P<link>[Hh][Tt][Tt][Pp][Ss]?://[^\s\p{{C}}<>"]+)
    | (?<![\w@./-])@(?P<mention>(?>(?:{_LABEL}\.)+(?=[a-zA-Z]){_LABEL}))(?![\w@])
    | (?<![\w&/])[\#＃](?!\ufe0f)(?P<tag>[^\s\p{{C}}\#＃]+)
    """,
    regex.VERBOSE,
)
"""Links come first: their fragments are no tags, and names in their paths are no mentions."""

_LINK_END = ".,;:!?'\"…»”’"
_LINK = regex.compile(r"[^:]+://[^\s/]*\w.*")
_TAG_END = regex.compile(r"\p{P}+$")
_TAG = regex.compile(r".*[^\d\p{P}].*")


class SpanKind(StrEnum):
    """Kind of a part of a text that clients show as a link."""

    LINK = "link"
    MENTION = "mention"
    TAG = "tag"


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a text, from `start` to before `end`, in bytes of its UTF-8 form."""

    kind: SpanKind
    value: str
    """The URL, the handle in lower case, or the tag without its sign."""
    start: int
    end: int


def check_text(text: str) -> None:
    """Raise NotPublished if Bluesky would reject the text, or store it in an unusable form."""
    try:
        validate_text(text, "The text", max_length=MAX_CONTENT_LENGTH)
    except InvalidInput as error:
        raise content_error("INVALID_TEXT", error.message) from None
    max_bytes, max_graphemes = BLUESKY_MAX_LENGTH_BYTES, BLUESKY_LIMITS.max_length
    if (size := len(text.encode())) > max_bytes:
        raise content_error(
            "TEXT_TOO_LONG",
            f"The text has {size:,} bytes in UTF-8, {size - max_bytes:,} more than Bluesky allows: at most"
            f" {max_bytes:,}, and {max_graphemes} characters. Shorten it.",
        )
    check_character_count(partial(count_graphemes, text), max_graphemes, "Bluesky")


def find_spans(text: str) -> list[Span]:
    """Return the links, mentions and tags of a text, in their order; they do not overlap."""
    spans = []
    for match in _SPAN.finditer(text):
        kind = SpanKind(match.lastgroup)
        value = _NORMALIZE[kind](match[kind])
        if value is None:
            continue
        start = len(text[: match.start()].encode())
        sign = text[match.start() : match.start(kind)]
        spans.append(Span(kind, value, start, start + len((sign + value).encode())))
    return spans


def mentioned_handles(spans: Iterable[Span]) -> set[str]:
    """Return the handles of mentions."""
    return {span.value for span in spans if span.kind is SpanKind.MENTION}


def make_facets(spans: Iterable[Span], dids: Mapping[str, str]) -> list[Mapping[str, object]]:
    """Return the facets of spans; a mention needs the DID of its handle, and is left out without."""
    facets: list[Mapping[str, object]] = []
    for span in spans:
        value = dids.get(span.value) if span.kind is SpanKind.MENTION else span.value
        if value is not None:
            feature = {
                "$type": f"app.bsky.richtext.facet#{span.kind}",
                _FEATURE_MEMBER[span.kind]: value,
            }
            index = {"byteStart": span.start, "byteEnd": span.end}
            facets.append({"index": index, "features": [feature]})
    return facets


_FEATURE_MEMBER = {SpanKind.LINK: "uri", SpanKind.MENTION: "did", SpanKind.TAG: "tag"}


def _trim_link(link: str) -> str | None:
    """Return a URL without the punctuation of the sentence after it; None if no host is left."""
    while link.endswith(tuple(_LINK_END)) or (
        link.endswith(")") and link.count(")") > link.count("(")
    ):
        link = link[:-1]
    return link if _LINK.fullmatch(link) else None


def _trim_tag(tag: str) -> str | None:
    """Return a tag without the punctuation after it; None for a number, or beyond Bluesky's limits."""
    tag = _TAG_END.sub("", tag)
    is_valid = (
        _TAG.fullmatch(tag)
        and count_graphemes(tag, _MAX_TAG_GRAPHEMES + 1) <= _MAX_TAG_GRAPHEMES
        and len(tag.encode()) <= _MAX_TAG_BYTES
    )
    return tag if is_valid else None


_NORMALIZE: Mapping[SpanKind, Callable[[str], str | None]] = {
    SpanKind.LINK: _trim_link,
    SpanKind.MENTION: str.lower,
    SpanKind.TAG: _trim_tag,
}
"""Function that returns the value of a span from its match; None if it is none after all."""
