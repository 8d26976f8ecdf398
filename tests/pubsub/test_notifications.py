"""What a notification says is read as it was written, fits, and is never an error, whoever wrote it."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.ids import WorkspaceId
from app.pubsub.postgresql import MAX_WORKSPACES_PER_PAYLOAD, decode_payload, encode_payload

FIRST = WorkspaceId(UUID("f47ac10b-58cc-4372-a567-0e02b2c3d479"))
SECOND = WorkspaceId(UUID("07a5e8f2-3c11-4a52-9d0b-6a7e5a3b2c1d"))


def workspace_ids(count: int) -> set[WorkspaceId]:
    return {WorkspaceId(UUID(int=number)) for number in range(count)}


@pytest.mark.parametrize(
    ("workspaces", "payload"),
    [
        ({FIRST}, "f47ac10b-58cc-4372-a567-0e02b2c3d479"),
        (
            {FIRST, SECOND},
            "07a5e8f2-3c11-4a52-9d0b-6a7e5a3b2c1d,f47ac10b-58cc-4372-a567-0e02b2c3d479",
        ),
        (workspace_ids(MAX_WORKSPACES_PER_PAYLOAD + 1), ""),
    ],
)
def test_it_names_the_workspaces_or_says_any(workspaces: set[WorkspaceId], payload: str) -> None:
    assert encode_payload(workspaces) == payload


@pytest.mark.parametrize("count", [1, 2, MAX_WORKSPACES_PER_PAYLOAD])
def test_what_is_named_is_read_again(count: int) -> None:
    payload = encode_payload(workspace_ids(count))

    assert decode_payload(payload) == sorted(workspace_ids(count))
    assert len(payload.encode()) < 8000


@pytest.mark.parametrize(
    "payload",
    [
        "",
        "*",
        ",",
        f"{FIRST},",
        f"{FIRST};{SECOND}",
        f"{FIRST},x",
        f" {FIRST}",
        FIRST.hex,
        "x" * 7999,
    ],
)
def test_whatever_is_no_list_of_ids_is_any_workspace(payload: str) -> None:
    assert decode_payload(payload) == [None]


@given(st.text())
def test_no_text_is_an_error(payload: str) -> None:
    assert decode_payload(payload) == [None]
