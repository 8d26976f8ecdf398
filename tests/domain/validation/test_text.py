"""Validation of text and URLs, and case folding for search."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.validation.text import (
    fold_each_for_search,
    fold_for_search,
    normalize_url,
    percent_encode_url,
    validate_text,
    validate_url,
)
from tests.domain.errors import NOT_A_URL, NUL, SURROGATE, input_error

STORABLE_TEXT = st.text(st.characters(exclude_characters="\0", codec="utf-8"))


@given(STORABLE_TEXT)
def test_storable_text_passes_through(text: str) -> None:
    assert validate_text(text, "content", max_length=len(text)) is text


@pytest.mark.parametrize(
    "text", ["", "a" * 10, "😀" * 10, "e\u0301" * 5, "\ue000\uffff\U0010ffff\x01"]
)
def test_length_counts_code_points_up_to_the_limit(text: str) -> None:
    assert validate_text(text, "search", max_length=10) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a" * 11, "search is 11 characters long; at most 10 are allowed."),
        ("😀" * 11, "search is 11 characters long; at most 10 are allowed."),
        ("\0" * 11, "search is 11 characters long; at most 10 are allowed."),
        ("\0", f"search {NUL}"),
        ("a\0b", f"search {NUL}"),
        ("\ud800", f"search {SURROGATE}"),
        ("a\udfffb", f"search {SURROGATE}"),
        ("\udc00\ud800", f"search {SURROGATE}"),
    ],
)
def test_text_that_one_database_rejects_is_invalid(text: str, message: str) -> None:
    assert input_error(validate_text, text, "search", max_length=10) == ("search", message)


@pytest.mark.parametrize(
    "url",
    [
        *("https://example.com", "http://example.com/", "HTTPS://EXAMPLE.COM/A"),
        *("https://user@example.com:8443?a=b#c", "http://[::1]:80/p", "https://пример.рф/пост/😀"),
        *("https://x#", "https://example.com:/", "https://example.com:65535?a[b]={c}"),
        *("https://%D1%80%D1%84.example/", "https://example.com/a%20b?u=https://example.org/"),
        f"https://example.com/{'a' * 1980}",
    ],
)
def test_url_that_a_browser_opens_is_accepted(url: str) -> None:
    assert validate_url(url, "platform_post_url") is url


@pytest.mark.parametrize(
    "url",
    [
        *("", "example.com", "//example.com", "/posts/1", "https:/example.com", "https://"),
        *("https:///path", "https://?a", "ftp://example.com"),
        *("javascript:alert(1)//https://example.com", "data:text/html,https://example.com"),
        *(" https://example.com", "https://example.com ", "https://example.com\n"),
        *("https://exa mple.com", "https://example.com/a b", "https://example.com/a\u2028b"),
        *("https://example.com/\x1b[2J", "https://exam\x7fple.com", "https://[::1/"),
        *("https://::1]/", "https://[example]/", "https://example.com:65536/"),
        *("https://example.com:-1/", "https://example.com:８０/", "https://example.com:80:80/"),
        *("https://:80/", "https://user@/", "https://exam℀ple.com/", 'https://exam"ple.com/'),
        *("https://<b>/", "https://example.com\\@example.org/"),
    ],
)
def test_any_other_url_is_rejected(url: str) -> None:
    assert input_error(validate_url, url, "url") == ("url", f"url {NOT_A_URL}")


ENCODED_URLS = {
    'https://example.com/"><script>': "https://example.com/%22%3E%3Cscript%3E",
    "https://example.com?q=a b|\\^`{}#<c>": "https://example.com?q=a%20b%7C%5C%5E%60%7B%7D#%3Cc%3E",
    "  https://example.com/a%20b ": "https://example.com/a%20b",
}


@pytest.mark.parametrize(("url", "expected"), ENCODED_URLS.items())
def test_illegal_characters_are_encoded_from_the_path_on(url: str, expected: str) -> None:
    assert percent_encode_url(url) == expected
    assert validate_url(expected, "url") == percent_encode_url(expected) == expected


@pytest.mark.parametrize(
    "url", ["", "javascript:alert('<b>')", "https://<b>", "https://exa mple.com", "a b"]
)
def test_text_without_valid_host_is_not_encoded(url: str) -> None:
    assert percent_encode_url(url) == url


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("a" * 1981, "url is 2001 characters long; at most 2000 are allowed."),
        ("\0", f"url {NUL}"),
        ("\ud800", f"url {SURROGATE}"),
    ],
)
def test_url_that_is_invalid_text_is_rejected(path: str, message: str) -> None:
    assert input_error(validate_url, f"https://example.com/{path}", "url") == ("url", message)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Straße", "STRASSE"),
        ("ÄÖÜ", "äöü"),
        ("ΣΊΣΥΦΟΣ", "σίσυφος"),
        ("İ", "i\u0307"),
        ("ﬃ", "FFI"),
        ("Ǆ", "ǆ"),
        ("K", "k"),
        ("é", "e\u0301"),
        ("É", "e\u0301"),
        ("Å", "a\u030a"),
        ("\u1fb4", "\u03b1\u0345\u0301"),
        ("q\u0307\u0323", "Q\u0323\u0307"),
    ],
)
def test_folding_ignores_case_and_composition(one: str, other: str) -> None:
    assert fold_for_search(one) == fold_for_search(other)


@pytest.mark.parametrize(
    ("one", "other"), [("e", "é"), ("i", "İ"), ("ı", "i"), ("²", "2"), ("a b", "ab")]
)
def test_folding_distinguishes_letters(one: str, other: str) -> None:
    assert fold_for_search(one) != fold_for_search(other)


def test_match_never_spans_two_texts() -> None:
    assert fold_for_search() == ""
    joined = fold_for_search("One", "Straße", "two\x1fthree")
    for part in ("one", "strasse", "two three"):
        assert fold_for_search(part) in joined
    for part in ("e\ns", "e s", "es", "e\x1fs"):
        assert fold_for_search(part) not in joined


@given(st.lists(STORABLE_TEXT))
def test_texts_folded_together_are_those_folded_alone(texts: list[str]) -> None:
    assert fold_each_for_search(texts) == [fold_for_search(text) for text in texts]


@given(STORABLE_TEXT)
def test_folding_is_idempotent(text: str) -> None:
    folded = fold_for_search(text)
    assert fold_for_search(folded) == folded
    assert unicodedata.is_normalized("NFC", folded)


@given(STORABLE_TEXT, st.sampled_from(("NFC", "NFD")))
def test_folding_of_any_text_ignores_composition(text: str, form: str) -> None:
    composed = unicodedata.normalize("NFC" if form == "NFC" else "NFD", text)
    assert fold_for_search(composed) == fold_for_search(text)


@given(st.text(st.characters(codec="ascii")), st.text(st.characters(codec="ascii")))
def test_part_of_text_is_found_in_any_case(part: str, rest: str) -> None:
    assert fold_for_search(part.swapcase()) in fold_for_search(rest + part + rest)


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        ("https://x.com/1", "https://x.com/1"),
        ("HTTPS://X.Com/Acme/1", "https://x.com/Acme/1"),
        ("https://x.com:443/1", "https://x.com/1"),
        ("http://x.com:80/1", "http://x.com/1"),
        ("https://x.com:80/1", "https://x.com:80/1"),
        ("http://x.com:443/1", "http://x.com:443/1"),
        ("https://x.com:/1", "https://x.com/1"),
        ("https://[2001:DB8::1]:443/1", "https://[2001:db8::1]/1"),
        ("https://x.com", "https://x.com/"),
        ("https://x.com?a", "https://x.com/?a"),
        ("https://x.com#a", "https://x.com/#a"),
        ("https://x.com/%7eacme/%c3%a9%2f", "https://x.com/~acme/%C3%A9%2F"),
        ("https://x.com/é", "https://x.com/%C3%A9"),
        ("https://%58.com/1", "https://x.com/1"),
        ("https://x.com/a/./b/../1", "https://x.com/a/1"),
        ("https://x.com/a/%2e%2E/1", "https://x.com/1"),
        ("https://x.com/../1", "https://x.com/1"),
        ("https://x.com/a/..", "https://x.com/"),
        ("https://x.com/a/.", "https://x.com/a/"),
        ("https://x.com/a//1", "https://x.com/a//1"),
        ("https://x.com/1/", "https://x.com/1/"),
        ("https://x.com/1?b=%7e&a=../A#/./%7E", "https://x.com/1?b=~&a=../A#/./~"),
        ("https://x.com/1?", "https://x.com/1"),
        ("https://x.com/1#", "https://x.com/1"),
        ("https://x.com/1?#", "https://x.com/1"),
        ("https://x.com/1?#a", "https://x.com/1#a"),
        ("https://x.com?", "https://x.com/"),
        ("https://x.com/1?a?", "https://x.com/1?a?"),
        ("https://x.com/1#a#", "https://x.com/1#a#"),
        ("https://x.com/1??", "https://x.com/1??"),
        ("https://M\u00fcnchen.de/1", "https://xn--mnchen-3ya.de/1"),
        ("https://Mu\u0308nchen.de:443/1", "https://xn--mnchen-3ya.de/1"),
        ("https://m%C3%BCnchen.de/1", "https://xn--mnchen-3ya.de/1"),
        ("https://XN--mnchen-3ya.de/1", "https://xn--mnchen-3ya.de/1"),
        ("https://a..\u00fc.de/1", "https://a..%c3%bc.de/1"),
        ("https://a%FF%2f.de/1", "https://a%ff%2f.de/1"),
        ("https://a%2f100%.de/1", "https://a%2F100%25.de/1"),
        ("https://[2001:DB8::1]/1", "https://[2001:db8::1]/1"),
        ("https://Ann:Se%63ret@X.com:443/1", "https://Ann:Secret@x.com/1"),
    ],
)
def test_url_has_a_normal_form_for_comparison(url: str, normal: str) -> None:
    assert normalize_url(url) == normal
    assert normalize_url(normal) == normal
