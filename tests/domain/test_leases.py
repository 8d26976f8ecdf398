"""Lease tokens, decoded only by the kind and secret that encoded them, and the limits of a claim."""

from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.domain.errors import InvalidInput
from app.domain.ids import DestinationId, PostId, WorkspaceId
from app.domain.leases import (
    Lease,
    LeaseCodec,
    LeaseKind,
    validate_lease_duration,
    validate_platforms,
)
from tests.domain.errors import NOT_A_PLATFORM, expect_error, input_error

CODEC = LeaseCodec(b"secret", LeaseKind.PUBLISHING)
LEASES = st.builds(
    Lease,
    workspace_id=st.uuids().map(WorkspaceId),
    post_id=st.uuids().map(PostId),
    destination_id=st.uuids().map(DestinationId),
    fence=st.integers(0, 2**31 - 1),
    token=st.uuids(),
)


@given(LEASES)
@example(
    Lease(WorkspaceId(UUID(int=1)), PostId(UUID(int=5)), DestinationId(UUID(int=2)), 3, UUID(int=4))
)
def test_lease_is_decoded(lease: Lease) -> None:
    token = CODEC.encode(lease)
    assert CODEC.decode(token, "leaseToken") == lease
    assert len(token) == 107


@pytest.mark.parametrize(
    "other",
    [
        LeaseCodec(b"secret", LeaseKind.VERIFICATION),
        LeaseCodec(b"another secret", LeaseKind.PUBLISHING),
    ],
)
@given(lease=LEASES)
def test_lease_of_another_kind_or_secret_is_rejected(other: LeaseCodec, lease: Lease) -> None:
    expect_error(InvalidInput, CODEC.decode, other.encode(lease), "leaseToken")
    expect_error(InvalidInput, other.decode, CODEC.encode(lease), "leaseToken")


@given(st.text())
@example("\ud800")
@example("a" * 100_000)
def test_any_other_text_is_rejected(text: str) -> None:
    assert input_error(CODEC.decode, text, "leaseToken") == (
        "leaseToken",
        "leaseToken is not a token of this service. Pass the one of the claim, unchanged.",
    )


def test_limits_are_accepted() -> None:
    for seconds in (1, 60, 3600):
        assert validate_lease_duration(seconds, "leaseSeconds") == timedelta(seconds=seconds)


@pytest.mark.parametrize("seconds", [0, -1, 3601, 2**63])
def test_lease_duration_beyond_limit_is_rejected(seconds: int) -> None:
    problem = f"leaseSeconds must be from 1 to 3,600; it is {seconds:,}."
    assert input_error(validate_lease_duration, seconds, "leaseSeconds") == (
        "leaseSeconds",
        problem,
    )


@pytest.mark.parametrize("names", [None, ["x"], ["instagram", "my-own_platform2", "4chan"]])
def test_platforms_are_accepted(names: list[str] | None) -> None:
    assert validate_platforms(names, "platforms") == names


COUNT = "must have from 1 to 20 platforms; it has {}. Leave it out for all."


@pytest.mark.parametrize(
    ("names", "argument", "problem"),
    [
        ([], "platforms", COUNT.format(0)),
        ([f"p{number}" for number in range(21)], "platforms", COUNT.format(21)),
        (["x", "y", "x"], "platforms", "names a platform twice."),
        (["Instagram"], "platforms[0]", NOT_A_PLATFORM),
        (["x", ""], "platforms[1]", NOT_A_PLATFORM),
    ],
)
def test_invalid_platforms_are_rejected(names: list[str], argument: str, problem: str) -> None:
    assert input_error(validate_platforms, names, "platforms") == (
        argument,
        f"{argument} {problem}",
    )
