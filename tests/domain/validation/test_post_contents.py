"""What may stand in a post: at the limits, one beyond them, and what no engine stores alike."""

from collections.abc import Mapping

import pytest

from app.domain.errors import ErrorCode, InvalidInput
from app.domain.validation.post_contents import check_contents, check_reference, check_timezone

LONG = 100_000


def make_contents(**facts: object) -> Mapping[str, object]:
    return {"content": "", "media_ids": [], "media": [], "platform_content": {}, **facts}


@pytest.mark.parametrize(
    "given",
    [
        make_contents(content="x"),
        make_contents(
            content="\U0001f389" * LONG
        ),  # code points, whatever they take in UTF-8 or UTF-16
        make_contents(media_ids=["m"]),
        make_contents(media_ids=["x" * 500] * 100),
        make_contents(media=[{}] * 100),
        make_contents(media=[None]),
        make_contents(
            platform_content={"x": {"content": "y" * LONG, "settings": {"n": 2**63 - 1}}}
        ),
        make_contents(platform_content={str(number): {"content": "Sale"} for number in range(50)}),
        make_contents(content="Sale", platform_content={"x": {"content": None}}),
    ],
)
def test_contents_are_taken(given: Mapping[str, object]) -> None:
    check_contents(**given)  # type: ignore[arg-type]


NO_PLATFORM = (
    "platformContent has a key that is not the name of a platform: printable, 1 to 500 characters."
)
EMPTY = "The post is empty: it needs content, media, or content for a platform."


@pytest.mark.parametrize(
    ("given", "argument", "message"),
    [
        (make_contents(), "content", EMPTY),
        (make_contents(content=" \n\t"), "content", EMPTY),
        (make_contents(platform_content={"x": {}}), "content", EMPTY),
        (make_contents(platform_content={"x": {"content": " ", "settings": {}}}), "content", EMPTY),
        (make_contents(content="a\0b"), "content", "content must not contain a NUL character."),
        (make_contents(content="\udfff"), "content", "content must not contain a lone surrogate."),
        (
            make_contents(media_ids=["m"] * 101),
            "mediaIds",
            "There are 101 media; at most 100 are allowed.",
        ),
        (make_contents(media=[{}] * 101), "media", "There are 101 media; at most 100 are allowed."),
        (
            make_contents(media_ids=["m", "x" * 501]),
            "mediaIds[1]",
            "mediaIds[1] is 501 characters long; at most 500 are allowed.",
        ),
        (
            make_contents(media_ids=["\0"]),
            "mediaIds[0]",
            "mediaIds[0] must not contain a NUL character.",
        ),
        (make_contents(media=[{"n": 2**63}]), "media[0].n", "media[0].n must fit into 64 bits."),
        (
            make_contents(media=[{"n": float("nan")}]),
            "media[0].n",
            "media[0].n must be a finite number.",
        ),
        (
            make_contents(platform_content={str(number): {} for number in range(51)}),
            "platformContent",
            "There is content for 51 platforms; at most 50 are allowed.",
        ),
        (
            make_contents(platform_content={"x" * 501: {}}),
            "platformContent",
            NO_PLATFORM,
        ),
        (
            make_contents(platform_content={"\ud800": 5}),
            "platformContent",
            NO_PLATFORM,
        ),
        (make_contents(platform_content={"": {}}), "platformContent", NO_PLATFORM),
        (make_contents(platform_content={"x\n": {}}), "platformContent", NO_PLATFORM),
        (
            make_contents(platform_content={"x": "Sale"}),
            "platformContent.x",
            "platformContent.x must be an object.",
        ),
        (
            make_contents(platform_content={"x": None}),
            "platformContent.x",
            "platformContent.x must be an object.",
        ),
        (
            make_contents(platform_content={"x": {"content": 5}}),
            "platformContent.x.content",
            "platformContent.x.content must be a string.",
        ),
        (
            make_contents(platform_content={"x": {"a": {"b": "\ud800"}}}),
            "platformContent.x.a.b",
            "platformContent.x.a.b must not contain a lone surrogate.",
        ),
    ],
)
def test_contents_are_refused(given: Mapping[str, object], argument: str, message: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_contents(**given)  # type: ignore[arg-type]

    error = refused.value
    assert (error.code, error.argument) == (ErrorCode.VALIDATION_ERROR, argument)
    assert error.message == message


@pytest.mark.parametrize(
    ("given", "argument"),
    [
        (make_contents(content="x" * (LONG + 1)), "content"),
        (
            make_contents(platform_content={"x": {"content": "x" * (LONG + 1)}}),
            "platformContent.x.content",
        ),
    ],
)
def test_a_text_that_is_too_long_has_a_code_of_its_own(
    given: Mapping[str, object], argument: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_contents(**given)  # type: ignore[arg-type]

    assert (refused.value.code, refused.value.argument) == (ErrorCode.CONTENT_TOO_LONG, argument)


@pytest.mark.parametrize("reference", [None, "r", "x" * 200, " "])
def test_a_reference_is_taken(reference: str | None) -> None:
    check_reference(reference)


@pytest.mark.parametrize("reference", ["", "x" * 201, "\0", "\ud800"])
def test_a_reference_is_refused(reference: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_reference(reference)

    assert refused.value.argument == "reference"


@pytest.mark.parametrize("timezone", [None, "UTC", "Europe/Berlin", "America/Argentina/Ushuaia"])
def test_a_time_zone_is_taken(timezone: str | None) -> None:
    check_timezone(timezone)


@pytest.mark.parametrize(
    "timezone",
    [
        "",
        "localtime",
        "Factory",
        "europe/berlin",
        "Mars/Olympus",
        "+02:00",
        "../etc/passwd",
        "\0",
        "\ud800",
    ],
)
def test_a_time_zone_is_refused(timezone: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_timezone(timezone)

    error = refused.value
    assert (error.code, error.argument) == (ErrorCode.INVALID_TIMEZONE, "timezone")
    assert error.message == "There is no such time zone."
