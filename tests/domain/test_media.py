"""Images in `data:` URLs: what is accepted, what readers see of them, and that a copy keeps them."""

import base64
from collections.abc import Sequence
from hashlib import sha256
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import ErrorCode, InvalidInput
from app.domain.media import (
    MAX_DATA_URL_BYTES,
    check_data_urls,
    describe_media,
    parse_data_url,
    restore_data_urls,
)
from app.domain.post_commands import check_new_post
from tests.domain.destination_states import make_post
from tests.domain.post_commands import new_post_request, run_change
from tests.factories import queued

IMAGE = b"\x89PNG\r\n\x1a\nsesame"
URL = f"data:image/png;base64,{base64.b64encode(IMAGE).decode()}"
DIGEST = sha256(IMAGE).hexdigest()
DESCRIPTION = {"contentType": "image/png", "size": len(IMAGE), "sha256": DIGEST}
OPAQUE: list[object] = [
    {"url": "https://example.com/1.png", "data": {"sha256": DIGEST}},
    {"url": 7},
    {"data": URL},
    {"data": {"sha256": 7}},
    {"data": {"sha256": DIGEST}},
    {"data": {**DESCRIPTION, "width": 1}},
    {"data": {**DESCRIPTION, "sha256": 7}},
    {"id": "m1"},
    "data:text/plain,hello",
    None,
]
"""Items that are stored and shown unchanged."""


def image_url(length: int) -> str:
    """A `data:` URL of this length."""
    head = "data:,"
    return head + "a" * (length - len(head))


@pytest.mark.parametrize(
    ("url", "media_type", "content"),
    [
        (URL, "image/png", IMAGE),
        ("data:,a%20b", "", b"a b"),
        ("DATA:Text/Plain;charset=utf-8,ä", "text/plain", "ä".encode()),
        ("data:;base64,YQ==", "", b"a"),
    ],
)
def test_data_url_is_parsed(url: str, media_type: str, content: bytes) -> None:
    assert parse_data_url(url, "url") == (media_type, content)


def test_readers_see_type_size_and_digest_in_place_of_image() -> None:
    media = [{"alt": "A cave", "url": URL, "id": 1}, {"url": "data:,a"}, *OPAQUE]

    shown = describe_media(media)

    assert shown == [
        {"alt": "A cave", "data": DESCRIPTION, "id": 1},
        {"data": {"contentType": None, "size": 1, "sha256": sha256(b"a").hexdigest()}},
        *OPAQUE,
    ]
    assert isinstance(shown[0], dict)
    assert list(shown[0]) == ["alt", "data", "id"]


def test_image_that_an_import_stored_in_an_invalid_url_is_not_shown() -> None:
    url = "data:image/png;base64,%"
    digest = sha256(url.encode()).hexdigest()
    assert describe_media([{"url": url}]) == [
        {"data": {"contentType": None, "size": len(url), "sha256": digest}}
    ]


def test_member_data_of_the_client_gives_way_to_the_description() -> None:
    assert describe_media([{"data": 1, "url": URL}]) == [{"data": DESCRIPTION}]


@given(st.lists(st.binary(min_size=1), unique=True), st.randoms())
def test_media_that_were_read_can_be_written_back_in_any_order(
    contents: list[bytes], random: Random
) -> None:
    stored: list[object] = [
        {"url": f"data:;base64,{base64.b64encode(content).decode()}", "alt": str(index)}
        for index, content in enumerate(contents)
    ]
    pairs = list(zip(stored, describe_media(stored), strict=True))
    random.shuffle(pairs)
    assert restore_data_urls([shown for _, shown in pairs], stored) == [item for item, _ in pairs]


def test_update_keeps_images_that_the_post_has() -> None:
    post = make_post([queued()], media=[{"url": URL, "alt": "A cave"}])
    new_url = "data:image/png;base64,YQ=="

    changed = run_change(post, media=[{"url": new_url}, {"alt": "The cave", "data": DESCRIPTION}])

    assert changed.media == [{"url": new_url}, {"alt": "The cave", "url": URL}]
    assert run_change(post, media=describe_media(post.media)) == post


def test_member_data_of_the_client_is_no_reference_to_an_image() -> None:
    check_new_post(new_post_request(media=OPAQUE))
    post = make_post([queued()], media=[{"url": URL}])
    assert run_change(post, media=OPAQUE).media == OPAQUE


def test_description_that_an_older_version_stored_can_be_written_back() -> None:
    media: list[object] = [{"url": "data:,a"}, {"data": DESCRIPTION}, {"id": "m1"}]
    post = make_post([queued()], media=media)
    assert run_change(post, media=describe_media(media)) == post
    assert run_change(post, media=media[1:]).media == media[1:]
    with pytest.raises(InvalidInput):
        run_change(post, media=[{"data": DESCRIPTION, "alt": "A cave"}])


UNKNOWN_DIGEST = (
    "media[1].data.sha256",
    "media[1].data.sha256 is not the digest of an image of this post. Replace `data` by `url`, with the image"
    " as a data: URL or its https: URL.",
)


def rejection(error: pytest.ExceptionInfo[InvalidInput]) -> tuple[str | None, str]:
    assert error.value.code is ErrorCode.VALIDATION_ERROR
    return error.value.argument, error.value.message


def test_digest_of_another_image_is_rejected() -> None:
    media = [{"id": "m1"}, {"data": DESCRIPTION}]
    with pytest.raises(InvalidInput) as of_update:
        run_change(make_post([queued()], media=[{"url": "data:,a"}]), media=media)
    with pytest.raises(InvalidInput) as of_new_post:
        check_new_post(new_post_request(media=media))

    assert rejection(of_update) == rejection(of_new_post) == UNKNOWN_DIGEST


@pytest.mark.parametrize(
    ("media", "argument", "message"),
    [
        (
            [{"url": image_url(MAX_DATA_URL_BYTES - 9)}, {"url": "data:,ääa"}],
            "media",
            "The data: URLs in media have 262,146 bytes together; at most 262,144 are allowed. Use smaller"
            " images, or their https: URLs.",
        ),
        (
            [{"url": URL}, {"url": "data:image/png"}],
            "media[1].url",
            "media[1].url is not a valid data: URL, such as data:image/png;base64,….",
        ),
        ([{"url": "data:;base64,a"}], "media[0].url", "media[0].url is not valid base64."),
        ([{"url": "data:;base64,ä"}], "media[0].url", "media[0].url is not valid base64."),
        (
            [{"url": "data:,a\0"}],
            "media[0].url",
            "media[0].url must not contain a NUL character.",
        ),
        (
            [{"url": "data:,\ud800"}],
            "media[0].url",
            "media[0].url must not contain a lone surrogate.",
        ),
        (
            [{"url": URL, "alt": "a\0"}],
            "media[0].alt",
            "media[0].alt must not contain a NUL character.",
        ),
        (
            [{"data": image_url(100_001)}],
            "media[0].data",
            "media[0].data is 100001 characters long; at most 100000 are allowed.",
        ),
    ],
    ids=lambda value: str(value)[:30],
)
def test_invalid_images_are_rejected_by_name(
    media: Sequence[object], argument: str, message: str
) -> None:
    for accept in (
        lambda: check_new_post(new_post_request(media=media)),
        lambda: run_change(make_post([queued()]), media=media),
    ):
        with pytest.raises(InvalidInput) as caught:
            accept()
        assert rejection(caught) == (argument, message)


def test_images_of_256_kib_together_are_accepted() -> None:
    media = [{"url": image_url(MAX_DATA_URL_BYTES - 8)}, {"url": "data:,ä"}]
    check_new_post(new_post_request(media=media))
    with pytest.raises(InvalidInput):
        check_data_urls([*media, {"url": "data:,"}])


def test_text_of_post_with_larger_images_of_an_older_version_can_be_changed() -> None:
    post = make_post([queued()], media=[{"url": image_url(MAX_DATA_URL_BYTES + 1)}])
    assert run_change(post, content="Else").content == "Else"
