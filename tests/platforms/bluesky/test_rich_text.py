"""Tests of the limits of texts, and of the links, mentions and tags in them."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.destinations import ErrorCategory
from app.platforms.bluesky.rich_text import (
    Span,
    SpanKind,
    check_text,
    find_spans,
    make_facets,
    mentioned_handles,
)
from app.platforms.protocol import NotPublished

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466"
"""One grapheme of 25 bytes."""

LINK, MENTION, TAG = SpanKind.LINK, SpanKind.MENTION, SpanKind.TAG
FOUND: Mapping[SpanKind, st.SearchStrategy[str]] = {
    LINK: st.sampled_from(
        ["https://example.com", "http://müller.example/ä?q=1#part", "https://a.example/b_(c)"]
    ),
    MENTION: st.sampled_from(["@alice.test", "@b-1.example.com"]),
    TAG: st.sampled_from(["#tag", "#größe", "#日本語", "＃wide", "#2026q1"]),
}
PLAIN = st.sampled_from(["word", "ü", FAMILY, "a@b.example", "#1", "C#x", "@alone", "&#39;"])


@given(st.text())
def test_bytes_of_each_span_are_its_text(text: str) -> None:
    data = text.encode()
    end_of_last = 0
    for span in find_spans(text):
        assert end_of_last <= span.start < span.end <= len(data)
        assert _matches(span, data[span.start : span.end].decode())
        end_of_last = span.end


@given(
    st.lists(
        st.one_of(
            st.tuples(st.none(), PLAIN),
            *(st.tuples(st.just(kind), words) for kind, words in FOUND.items()),
        )
    )
)
def test_spans_are_found_between_other_words(words: list[tuple[SpanKind | None, str]]) -> None:
    text = " ".join(word for _, word in words)
    data = text.encode()

    found = [(span.kind, data[span.start : span.end].decode()) for span in find_spans(text)]

    assert found == [(kind, word) for kind, word in words if kind is not None]


def _matches(span: Span, text: str) -> bool:
    if span.kind is LINK:
        return text == span.value
    return text[0] in "@#＃" and text[1:].lower() == span.value.lower()


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("See https://a.example/x, please.", [(LINK, "https://a.example/x")]),
        ("(https://a.example/x)", [(LINK, "https://a.example/x")]),
        ("HTTPS://A.example!", [(LINK, "HTTPS://A.example")]),
        ("https://... http://", []),
        ("https://a.example/@alice.test#tag", [(LINK, "https://a.example/@alice.test#tag")]),
        ("Hi @Alice.Test.", [(MENTION, "alice.test")]),
        ("mail bob@alice.test @alice@social.example @a.b.c@d.example", []),
        ("@alice.test_x @alice @-a.test @a.1", []),
        ("#one,#two. #three!", [(TAG, "one"), (TAG, "two"), (TAG, "three")]),
        ("#1 #️⃣ ## #! word#tag", []),
        (f"#{'a' * 64} #{'b' * 65}", [(TAG, "a" * 64)]),
        (f"#{FAMILY}", [(TAG, "\U0001f468")]),
    ],
)
def test_spans_end_where_readers_expect(text: str, spans: list[tuple[SpanKind, str]]) -> None:
    assert [(span.kind, span.value) for span in find_spans(text)] == spans


def test_facets_have_byte_offsets_and_leave_unknown_handles_out() -> None:
    spans = find_spans("ä @bob.test @eve.test #ö https://a.example")

    assert mentioned_handles(spans) == {"bob.test", "eve.test"}
    assert make_facets(spans, {"bob.test": "did:plc:bob"}) == [
        {
            "index": {"byteStart": 3, "byteEnd": 12},
            "features": [{"$type": "app.bsky.richtext.facet#mention", "did": "did:plc:bob"}],
        },
        {
            "index": {"byteStart": 23, "byteEnd": 26},
            "features": [{"$type": "app.bsky.richtext.facet#tag", "tag": "ö"}],
        },
        {
            "index": {"byteStart": 27, "byteEnd": 44},
            "features": [{"$type": "app.bsky.richtext.facet#link", "uri": "https://a.example"}],
        },
    ]


@pytest.mark.parametrize("text", ["a" * 300, FAMILY * 120, "ä" * 300])
def test_text_within_both_limits_is_accepted(text: str) -> None:
    check_text(text)


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        (
            "ä" * 301,
            "TEXT_TOO_LONG",
            "The text has 301 characters; Bluesky allows 300. Shorten the text by 1.",
        ),
        (
            "\U0001f1e9" * 100_000,
            "TEXT_TOO_LONG",
            "The text has 400,000 bytes in UTF-8, 397,000 more than Bluesky allows: at most 3,000, and 300"
            " characters. Shorten it.",
        ),
        ("a\0b", "INVALID_TEXT", "The text must not contain a NUL character."),
        ("a\ud83d", "INVALID_TEXT", "The text must not contain a lone surrogate."),
    ],
)
def test_text_that_bluesky_cannot_show_is_rejected(text: str, code: str, message: str) -> None:
    with pytest.raises(NotPublished) as caught:
        check_text(text)

    error = caught.value
    assert (error.category, error.code) == (ErrorCategory.CONTENT_REJECTED, code)
    assert error.message == message
