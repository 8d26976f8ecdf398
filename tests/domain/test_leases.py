"""Leases as publishers have them: read back by the kind that wrote them; how long, and on which platforms."""

from datetime import timedelta
from string import ascii_letters, digits
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import ErrorCode, InvalidInput
from app.domain.ids import DestinationId, WorkspaceId
from app.domain.leases import Lease, LeaseCodec, LeaseKind, parse_lease_duration, parse_platforms

PUBLISHING = LeaseCodec(b"secret", LeaseKind.PUBLISHING)
VERIFICATION = LeaseCodec(b"secret", LeaseKind.VERIFICATION)
ALPHABET = set(ascii_letters + digits + "-_")
UNKNOWN_TOKEN_MESSAGE = (
    "leaseToken is not a token of this service. Pass the one of the claim, unchanged."
)

LEASES = st.builds(
    Lease,
    workspace_id=st.uuids().map(WorkspaceId),
    destination_id=st.uuids().map(DestinationId),
    fence=st.integers(0, 2**31 - 1),
    token=st.uuids(),
)
LEASE = Lease(WorkspaceId(UUID(int=1)), DestinationId(UUID(int=2)), 3, UUID(int=4))


def is_rejected(codec: LeaseCodec, text: str) -> bool:
    try:
        codec.decode(text, "leaseToken")
    except InvalidInput:
        return True
    return False


@given(LEASES)
def test_a_lease_is_read_back_and_fits_into_an_address(lease: Lease) -> None:
    text = PUBLISHING.encode(lease)
    assert PUBLISHING.decode(text, "leaseToken") == lease
    assert set(text) <= ALPHABET
    assert len(text) == 86


@pytest.mark.parametrize(
    "other", [VERIFICATION, LeaseCodec(b"another secret", LeaseKind.PUBLISHING)]
)
@given(lease=LEASES)
def test_a_lease_of_another_kind_or_installation_is_refused(
    other: LeaseCodec, lease: Lease
) -> None:
    assert is_rejected(PUBLISHING, other.encode(lease))
    assert is_rejected(other, PUBLISHING.encode(lease))


def test_a_lease_with_any_character_changed_is_refused() -> None:
    text = PUBLISHING.encode(LEASE)
    for place, character in enumerate(text):
        for other in ALPHABET | set("=+/ \n.é"):
            changed = text[:place] + other + text[place + 1 :]
            assert is_rejected(PUBLISHING, changed) == (other != character), changed


@pytest.mark.parametrize("text", ["", "a", "null", "\0", "\ud800", "é", "a" * 100_000])
def test_what_was_never_a_lease_is_refused_with_the_argument(text: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        PUBLISHING.decode(text, "leaseToken")
    error = refusal.value
    assert (error.code, error.argument) == (ErrorCode.VALIDATION_ERROR, "leaseToken")
    assert error.message == UNKNOWN_TOKEN_MESSAGE


@given(st.text())
def test_no_text_breaks_the_reading_of_a_lease(text: str) -> None:
    assert is_rejected(PUBLISHING, text)


@pytest.mark.parametrize("seconds", [1, 60, 3600])
def test_a_lease_may_last_from_a_second_to_an_hour(seconds: int) -> None:
    assert parse_lease_duration(seconds, "leaseSeconds") == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0"),
        (-1, "-1"),
        (3601, "3,601"),
        (10 * 365 * 86400, "315,360,000"),
        (2**63, "9,223,372,036,854,775,808"),
    ],
)
def test_another_length_is_refused(seconds: int, shown: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        parse_lease_duration(seconds, "leaseSeconds")
    assert refusal.value.argument == "leaseSeconds"
    assert refusal.value.message == f"leaseSeconds must be from 1 to 3,600; it is {shown}."


@pytest.mark.parametrize("names", [None, ["x"], ["instagram", "my-own_platform2", "4chan"]])
def test_any_platforms_that_accounts_can_be_on_may_be_chosen(names: list[str] | None) -> None:
    assert parse_platforms(names, "platforms") == names


@pytest.mark.parametrize("name", ["", "Instagram", " x", "x ", "é", "x\n", "ｘ", "_x"])
def test_a_platform_that_no_account_can_be_on_is_refused_by_its_place(name: str) -> None:
    for names, argument in (([name], "platforms[0]"), (["x", name], "platforms[1]")):
        with pytest.raises(InvalidInput) as refusal:
            parse_platforms(names, "platforms")
        error = refusal.value
        assert (error.code, error.argument) == (ErrorCode.VALIDATION_ERROR, argument)
        assert error.message == (
            f"{argument} must be a word of lower-case letters, digits, _ and -, such as instagram."
        )
