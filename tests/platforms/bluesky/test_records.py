"""Tests of record keys, the owner's marker, and images."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from app.domain.ids import DestinationId
from app.platforms.bluesky.records import (
    RecordAddress,
    embedded_image,
    has_marker,
    make_publication_key,
    make_record,
    record_addresses,
    record_key,
)
from app.platforms.media import Media
from tests.factories import NOW

DESTINATION_ID = DestinationId(UUID("f47ac10b-58cc-4372-a567-0e02b2c3d479"))
PUBLICATION_KEY = make_publication_key(DESTINATION_ID, 0)
KEY_DIGITS = "234567abcdefghijklmnopqrstuvwxyz"
SECOND = timedelta(seconds=1)
IMAGE = Media(content=b"", content_type="image/png", alt="A cat", width=None, height=None)


def microseconds_of(key: str) -> int:
    number = 0
    for digit in key:
        number = number * 32 + KEY_DIGITS.index(digit)
    return number >> 10


def test_record_key_is_a_timestamp_identifier_of_the_second_of_creation() -> None:
    key = record_key(PUBLICATION_KEY, NOW + timedelta(milliseconds=987), 0)

    assert key == "3mjk5w6vas3nu"
    assert len(key) == 13
    instant = datetime.fromtimestamp(microseconds_of(key) // 1_000_000, UTC)
    assert instant == NOW


def test_record_keys_of_one_second_differ_and_precede_those_of_the_next() -> None:
    ids = [DestinationId(UUID(int=number)) for number in range(2000)]
    keys = {record_key(make_publication_key(each, 0), NOW, 0) for each in ids}

    assert len(keys) == 2000
    assert max(keys) < record_key(PUBLICATION_KEY, NOW + SECOND, 0)


def test_addresses_of_a_publication_have_different_keys() -> None:
    addresses = record_addresses("did:plc:a", PUBLICATION_KEY, NOW)

    assert [address.key for address in addresses] == [
        record_key(PUBLICATION_KEY, NOW, salt) for salt in (0, 1, 2)
    ]
    assert len({address.key for address in addresses}) == 3


def test_publication_has_the_time_of_the_record_and_a_url_with_the_did() -> None:
    publication = RecordAddress("did:plc:a", "3mjklc").publication(
        {"createdAt": "2026-04-15T14:00:00.123456Z"}
    )

    assert publication.platform_post_id == "at://did:plc:a/app.bsky.feed.post/3mjklc"
    assert publication.platform_post_url == "https://bsky.app/profile/did:plc:a/post/3mjklc"
    assert publication.published_at == datetime(2026, 4, 15, 14, 0, 0, 123000, UTC)


def test_publications_of_a_destination_have_different_keys() -> None:
    keys = {record_key(make_publication_key(DESTINATION_ID, rounds), NOW, 0) for rounds in range(4)}

    assert len(keys) == 4


def test_record_has_the_marker_of_its_publication_only() -> None:
    record = make_record(
        "Hi", languages=[], facets=[], images=[], publication_key=PUBLICATION_KEY, created_at=NOW
    )

    assert record["postResults"] == "ddaf2ffd40244f23"
    assert has_marker(record | {"text": "Edited"}, PUBLICATION_KEY)
    assert not has_marker(record, make_publication_key(DestinationId(UUID(int=1)), 0))
    assert not has_marker(record, make_publication_key(DESTINATION_ID, 1))
    assert not has_marker({"text": "Hi"}, PUBLICATION_KEY)


def test_image_has_an_aspect_ratio_if_its_size_is_known() -> None:
    blob = {"$type": "blob"}
    sized = Media(content=b"", content_type="image/png", alt="", width=4, height=3)

    assert embedded_image(sized, blob) == {
        "image": blob,
        "alt": "",
        "aspectRatio": {"width": 4, "height": 3},
    }
    assert embedded_image(IMAGE, blob) == {"image": blob, "alt": "A cat"}
