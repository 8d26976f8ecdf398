"""Weak entity tags and If-None-Match."""

import pytest

from app.rest.envelope import etag_matches, weak_etag


def test_etag_is_weak_and_depends_on_bytes() -> None:
    assert weak_etag(b"data") == 'W/"3a6eb0790f39ac87c94f3856b2dd2c5d"'
    assert weak_etag(b"data") != weak_etag(b"date")


@pytest.mark.parametrize(
    "if_none_match",
    [
        'W/"tag"',
        '"tag"',
        "*",
        " * ",
        'W/"other", W/"tag"',
        '"other","tag"',
        'W/"with,comma",W/"tag" , "third"',
        ', "tag",',
        '"other"\t,\t"tag"',
    ],
)
def test_header_with_tag_matches(if_none_match: str) -> None:
    assert etag_matches(if_none_match, 'W/"tag"')


@pytest.mark.parametrize(
    "if_none_match",
    [
        None,
        "",
        'W/"other"',
        "tag",
        '"TAG"',
        '"tag',
        '"tags"',
        '"*"',
        '"a*"',
        '"not, tag"',
        '"quoted "tag',
        "W/",
        ",,,",
    ],
)
def test_header_without_tag_does_not_match(if_none_match: str | None) -> None:
    assert not etag_matches(if_none_match, 'W/"tag"')
