"""Warnings in the outcomes of idempotent requests."""

from app.domain.accounts import HealthReason
from app.domain.ids import AccountId
from app.services.post_warnings import (
    AccountWarning,
    ContentWarning,
    PostWarnings,
    parse_stored_warnings,
    to_stored_warnings,
)

ACCOUNTS = (AccountWarning(AccountId(1), HealthReason.TOKEN_EXPIRED),)
CONTENTS = (ContentWarning(AccountId(2), "bluesky", "TEXT_TOO_LONG", "Shorten it."),)


def test_warnings_are_restored_from_the_outcome() -> None:
    warnings = PostWarnings(ACCOUNTS, CONTENTS)
    assert parse_stored_warnings(to_stored_warnings(warnings)) == warnings


def test_outcome_of_an_older_version_has_no_warnings_of_contents() -> None:
    outcome = to_stored_warnings(PostWarnings(ACCOUNTS, CONTENTS))
    del outcome["content_warnings"]
    assert parse_stored_warnings(outcome) == PostWarnings(ACCOUNTS, ())
