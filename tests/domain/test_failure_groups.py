"""Groups of failures: what a normalized message replaces, in linear time, and what a group depends on."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.destinations import ErrorCategory
from app.domain.errors import InvalidInput
from app.domain.failure_groups import failure_group, group_of, normalize_message
from app.domain.ids import parse_failure_group_key
from tests.domain.errors import expect_error
from tests.factories import claimed, failed, published, unknown, waiting_for_retry

KEY = "1-8aefa2d28e95ae7e84ee1ad2bb63f7a2"
KEY_MESSAGE = (
    "filter.failureGroup must be the key of a failure group, as `FailureGroup.key` and"
    " `Destination.failureGroup` return it."
)


@pytest.mark.parametrize(
    ("message", "normalized"),
    [
        ("The caption is too long.", "The caption is too long."),
        ("It has 2201 of 2,200 characters.", "It has <number> of <number>,<number> characters."),
        ("Wait 1.5 s, then 30s", "Wait <number>.<number> s, then <number>s"),
        ("The ratio is 16:9, not -3", "The ratio is <number>:<number>, not -<number>"),
        ("Post 5ba6ed00-0000-4000-8000-00000000000a", "Post <id>"),
        ("fbtrace_id A1b2C3d4E5f", "fbtrace_id <id>"),
        ("Media 17895695668004550", "Media <number>"),
        ("Got http://a.example/x?y=1#z from it", "Got <url> from it"),
        ("See <https://a.example/1>.", "See <<url>>."),
        ('Tag "#sale 5" is banned', "Tag <text> is banned"),
        ("“a” «b» `c` 'd'", "<text> <text> <text> <text>"),
        ("The account can't post; it isn't active", "The account can't post; it isn't active"),
        ('An "open quote of 5', 'An "open quote of <number>'),
        (f'"{"a" * 200}" "{"a" * 201}"', f'<text> "{"a" * 201}"'),
        ("  two\n\tlines \u00a0 here ", "two lines here"),
        ("٣ retries", "<number> retries"),
        ("", ""),
        ("a " * 200, ("a " * 150)),
    ],
)
def test_details_are_replaced_by_the_names_of_their_kinds(message: str, normalized: str) -> None:
    assert normalize_message(message) == normalized


DETAILS = {
    "number": st.integers(0, 10**30).map(str),
    "id": st.uuids().map(str).filter(lambda text: any(each.isdigit() for each in text)),
    "url": st.from_regex(r"https?://[a-z.]{1,20}/[a-z0-9/?=&%]{0,40}", fullmatch=True),
    "text": st.from_regex(r'"[^"\n]{0,200}"', fullmatch=True),
}
WORDS = st.sampled_from(["The", "post", "failed:", "(limit)", "can't", "é", "\U0001f389", "--"])
PIECES = WORDS | st.sampled_from([f"<{kind}>" for kind in DETAILS])


@given(st.lists(PIECES, max_size=20), st.data())
def test_messages_that_differ_only_in_details_are_in_one_group(
    template: list[str], data: st.DataObject
) -> None:
    def draw_message() -> str:
        pieces = [
            data.draw(DETAILS[piece[1:-1]]) if piece.startswith("<") else piece
            for piece in template
        ]
        return " ".join(pieces)

    expected = " ".join(template)[:300]
    for message in (draw_message(), draw_message()):
        assert normalize_message(message) == expected
        assert group_of("x", ErrorCategory.PERMANENT, "A", message) == group_of(
            "x", ErrorCategory.PERMANENT, "A", expected
        )


@given(st.text(max_size=400))
def test_any_text_has_a_short_normalized_message_and_a_valid_group(text: str) -> None:
    assert len(normalize_message(text)) <= 300
    group = group_of("x", ErrorCategory.PERMANENT, "A", text)
    assert parse_failure_group_key(group) == group


HOSTILE = ("1", "\u00a0 ", '"', "'", "“", "'a ", "a.", "http", "a://'", "a: //", '"' + "a" * 150)


@pytest.mark.parametrize("piece", HOSTILE)
def test_one_megabyte_of_any_pattern_takes_linear_time(piece: str) -> None:
    """An eighth takes about an eighth of the time; with quadratic time, it would take a 64th."""
    small, large = (_seconds(piece, length) for length in (131_072, 1_048_576))
    assert large < 30 * small + 0.05


def _seconds(piece: str, length: int) -> float:
    text = (piece * (length // len(piece) + 1))[:length]
    start = time.process_time()
    normalize_message(text)
    return time.process_time() - start


def test_groups_differ_by_platform_category_code_and_message() -> None:
    groups = [
        group_of("x", ErrorCategory.PERMANENT, "A", "It failed."),
        group_of("y", ErrorCategory.PERMANENT, "A", "It failed."),
        group_of("x", ErrorCategory.AUTH, "A", "It failed."),
        group_of("x", ErrorCategory.PERMANENT, "B", "It failed."),
        group_of("x", ErrorCategory.PERMANENT, "A", "It failed again."),
    ]
    assert len(set(groups)) == len(groups)
    assert groups[0] == "1-53ccb535fab81a991c5b07c99479e89e"  # stored: must not change


def test_failures_and_unknown_outcomes_have_a_group() -> None:
    caption = group_of(
        "x", ErrorCategory.CONTENT_REJECTED, "CAPTION_TOO_LONG", "The caption is too long."
    )
    assert failure_group("x", failed()) == caption
    assert failure_group("x", unknown()) is not None
    for state in (waiting_for_retry(), published(), claimed()):
        assert failure_group("x", state) is None


@pytest.mark.parametrize(
    "text",
    [
        *("", "1-", KEY.upper(), KEY[:-1], f"{KEY}0", f" {KEY}", f"{KEY}\n", KEY[1:], KEY[2:]),
        *(f"0000{KEY}", f"-{KEY}", KEY.replace("-", "_"), KEY.replace("8", "g"), f"٣{KEY[1:]}"),
        *("\0", "\ud800"),
    ],
)
def test_any_other_text_is_no_key_of_a_group(text: str) -> None:
    error = expect_error(InvalidInput, parse_failure_group_key, text, "filter.failureGroup")
    assert (error.argument, error.message) == ("filter.failureGroup", KEY_MESSAGE)
    assert parse_failure_group_key(KEY) == KEY
