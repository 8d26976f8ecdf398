"""Tests of change notifications by a PostgreSQL server that is available."""

import asyncio
import time
from uuid import UUID

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from app.domain.ids import WorkspaceId
from app.pubsub.postgresql import (
    MAX_WORKSPACES_PER_PAYLOAD,
    MIN_NOTIFY_INTERVAL,
    decode_payload,
    encode_payload,
)
from tests.pubsub.notifiers import make_notifier, start_listening
from tests.pubsub.postgres_session import PostgresSession

FIRST, SECOND, THIRD = WORKSPACES = [WorkspaceId(UUID(int=number)) for number in (1, 2, 3)]


async def test_notifiers_wake_each_other_and_skip_their_own_notifications(url: str) -> None:
    a, b = make_notifier(url), make_notifier(url)
    async with start_listening(a) as by_a, start_listening(b) as by_b:
        a.notify(FIRST)
        assert await by_b.next_wake_up() == FIRST
        b.notify(SECOND)  # sent, and so received, after the notification of `a`
        assert [await by_a.next_wake_up() for _ in range(2)] == [FIRST, SECOND]
        assert (by_a.drain(), by_b.drain()) == ([], [SECOND])


async def test_burst_is_sent_as_one_notification(
    url: str, postgres_session: PostgresSession
) -> None:
    await postgres_session.listen()
    a, b = make_notifier(url), make_notifier(url)
    async with start_listening(a) as by_a, start_listening(b) as by_b:
        notified = WORKSPACES * 333 + [FIRST]
        for workspace in notified:
            a.notify(workspace)
        assert by_a.drain() == notified
        assert [await by_b.next_wake_up() for _ in range(3)] == WORKSPACES
        assert await postgres_session.next_payload() == encode_payload(WORKSPACES)
        await postgres_session.notify("the last one")
        assert await postgres_session.next_payload() == "the last one"


async def test_frequent_notifications_are_combined_without_loss(
    url: str, postgres_session: PostgresSession
) -> None:
    await postgres_session.listen()
    a, b = make_notifier(url), make_notifier(url)
    notified = [WorkspaceId(UUID(int=number)) for number in range(MAX_WORKSPACES_PER_PAYLOAD)]
    async with start_listening(a), start_listening(b) as by_b:
        started_at = time.monotonic()
        for workspace in notified:
            a.notify(workspace)
            await asyncio.sleep(0.001)
        assert [await by_b.next_wake_up() for _ in notified] == notified
        assert (
            len(postgres_session.drain_payloads())
            <= 2 + (time.monotonic() - started_at) / MIN_NOTIFY_INTERVAL.total_seconds()
        )


@pytest.mark.parametrize("steps", range(10))
async def test_commit_during_a_send_goes_into_the_next_notification(
    url: str, postgres_session: PostgresSession, steps: int
) -> None:
    await postgres_session.listen()
    a = make_notifier(url)
    async with start_listening(a):
        a.notify(FIRST)
        for _ in range(steps):
            await asyncio.sleep(0)
        for workspace in (SECOND, THIRD, SECOND):
            a.notify(workspace)
        first = await postgres_session.next_payload()
        if first == encode_payload([FIRST]):
            assert await postgres_session.next_payload() == encode_payload([SECOND, THIRD])
        else:  # the first send had not begun
            assert first == encode_payload(WORKSPACES)


async def test_too_many_workspaces_are_sent_as_any_workspace(url: str) -> None:
    a, b = make_notifier(url), make_notifier(url)
    async with start_listening(a) as by_a, start_listening(b) as by_b:
        many = [WorkspaceId(UUID(int=number)) for number in range(5 * MAX_WORKSPACES_PER_PAYLOAD)]
        for workspace in many:
            a.notify(workspace)
        assert await by_b.next_wake_up() is None
        a.notify(FIRST)
        assert await by_b.next_wake_up() == FIRST
        assert by_a.drain() == [*many, FIRST]


@pytest.mark.parametrize("payload", ["", "*", "x" * 7999, f"{FIRST},", "Zoë “☃” 🎉", "'; DROP"])
async def test_foreign_notification_is_any_workspace(
    url: str, postgres_session: PostgresSession, payload: str
) -> None:
    a, b = make_notifier(url), make_notifier(url)
    with structlog.testing.capture_logs() as logs:
        async with start_listening(a) as by_a, start_listening(b):
            await postgres_session.notify(payload)
            assert await by_a.next_wake_up() is None
            b.notify(FIRST)
            assert await by_a.next_wake_up() == FIRST
    assert logs == []


async def test_notification_before_listening_is_sent(url: str) -> None:
    a, b = make_notifier(url), make_notifier(url)
    a.notify(FIRST)
    async with start_listening(b) as by_b, start_listening(a):
        assert await by_b.next_wake_up() == FIRST


@pytest.mark.parametrize("steps", range(10))
async def test_notification_right_before_the_end_is_sent(url: str, steps: int) -> None:
    """Also while an earlier notification is being sent."""
    a, b = make_notifier(url), make_notifier(url)
    async with start_listening(b) as by_b:
        async with start_listening(a):
            # After the interval, the next notification is sent immediately.
            await asyncio.sleep(3 * MIN_NOTIFY_INTERVAL.total_seconds())
            a.notify(FIRST)
            for _ in range(steps):
                await asyncio.sleep(0)
            a.notify(SECOND)
        assert [await by_b.next_wake_up() for _ in range(2)] == [FIRST, SECOND]


async def test_notifier_has_one_connection_and_closes_it(
    url: str, postgres_session: PostgresSession
) -> None:
    a = make_notifier(url, "counted")
    tasks = asyncio.all_tasks()
    async with start_listening(a):
        for workspace in WORKSPACES:
            a.notify(workspace)
        assert len(await postgres_session.backend_pids("counted")) == 1
    await postgres_session.wait_until_disconnected("counted")
    assert asyncio.all_tasks() == tasks


# Payloads.


FIRST_ID = WorkspaceId(UUID("f47ac10b-58cc-4372-a567-0e02b2c3d479"))
SECOND_ID = WorkspaceId(UUID("07a5e8f2-3c11-4a52-9d0b-6a7e5a3b2c1d"))


def workspace_ids(count: int) -> set[WorkspaceId]:
    return {WorkspaceId(UUID(int=number)) for number in range(count)}


@pytest.mark.parametrize(
    ("workspaces", "payload"),
    [
        ({FIRST_ID}, "f47ac10b-58cc-4372-a567-0e02b2c3d479"),
        (
            {FIRST_ID, SECOND_ID},
            "07a5e8f2-3c11-4a52-9d0b-6a7e5a3b2c1d,f47ac10b-58cc-4372-a567-0e02b2c3d479",
        ),
        (workspace_ids(MAX_WORKSPACES_PER_PAYLOAD + 1), ""),
    ],
)
def test_payload_lists_the_workspaces_or_means_any(
    workspaces: set[WorkspaceId], payload: str
) -> None:
    assert encode_payload(workspaces) == payload


@pytest.mark.parametrize("count", [1, 2, MAX_WORKSPACES_PER_PAYLOAD])
def test_payload_fits_and_is_decoded_to_the_same_workspaces(count: int) -> None:
    payload = encode_payload(workspace_ids(count))

    assert decode_payload(payload) == sorted(workspace_ids(count))
    assert len(payload.encode()) < 8000


@pytest.mark.parametrize(
    "payload",
    [
        "",
        "*",
        ",",
        f"{FIRST_ID},",
        f"{FIRST_ID};{SECOND_ID}",
        f"{FIRST_ID},x",
        f" {FIRST_ID}",
        FIRST_ID.hex,
        "x" * 7999,
    ],
)
def test_malformed_payload_is_any_workspace(payload: str) -> None:
    assert decode_payload(payload) == [None]


@given(st.text())
def test_any_text_is_decoded_without_error(payload: str) -> None:
    assert decode_payload(payload) == [None]
