"""A call of each repository function that writes or locks rows of one workspace."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import TypeAlias
from uuid import UUID

from app.db.core.database import Reader
from app.db.core.write_session import WriteSession
from app.db.repositories import (
    account_pauses,
    accounts,
    api_keys,
    attempts,
    checkpoints,
    circuit_breakers,
    claims,
    content_errors,
    credentials,
    duplicate_checks,
    encrypted_rows,
    events,
    idempotency_keys,
    media_checks,
    posts,
    sessions,
    webhook_deliveries,
    webhooks,
    workspaces,
)
from app.domain.accounts import AccountPublisher
from app.domain.api_keys import NewApiKey, Scope
from app.domain.attempts import Evidence, Publication
from app.domain.circuit_breakers import Breaker
from app.domain.credentials import EncryptedData
from app.domain.events import Event, EventKind
from app.domain.ids import (
    AccountId,
    ApiKeyId,
    DeliveryId,
    DestinationId,
    PostId,
    SessionId,
    WebhookId,
    WorkspaceId,
    WorkspaceKind,
)
from app.domain.sessions import BoardSession
from app.domain.transitions import content_checked
from app.domain.webhooks.deliveries import DeliveryAttempt, DeliveryState
from app.domain.webhooks.event_types import WebhookEventType
from tests.db import all_tables
from tests.factories import NOW

LATER = NOW + timedelta(days=1)
OWN = WorkspaceId(all_tables.WORKSPACE)
ACCOUNT = AccountId(1)
UNKNOWN_ON_ACCOUNT = AccountId(4)
"""Account of a destination with an unknown outcome."""
KEY = ApiKeyId(all_tables.KEY)
POST = PostId(all_tables.POST)
PUBLISHED, FAILED = DestinationId(all_tables.PUBLISHED), DestinationId(all_tables.FAILED)
WEBHOOK, DELIVERY = WebhookId(all_tables.WEBHOOK), DeliveryId(all_tables.DELIVERY)
SESSION = SessionId(all_tables.SESSION)
NEW_ID = UUID(int=0x99)
NEW_DATA = EncryptedData("fedcba9876543210", b"\x07")
DATA = EncryptedData("0123456789abcdef", b"\x00\xff")

STORED_CREDENTIALS = credentials.StoredCredentials(DATA, 1, NOW, NOW, 1, None)
BREAKER = circuit_breakers.AccountBreakerRecord(
    breaker=Breaker(), publisher=AccountPublisher.MASTODON, origin="https://other.example"
)
PENDING = credentials.PendingVerification(OWN, ACCOUNT, NOW, 1)
CHECK = duplicate_checks.PendingCheck(OWN, PUBLISHED, POST, ACCOUNT, NOW, NOW, 1)
MEDIA_CHECK = media_checks.PendingMediaCheck(OWN, POST, NOW, 1)
MEDIA_WARNING = media_checks.MediaWarning("MEDIA_REJECTED", "media[0] is too large.")
EVENT = Event(kind=EventKind.POST_CHANGED, values={})
EVIDENCE = Evidence(
    fence=7,
    counted=False,
    publication=Publication(platform_post_id="7", platform_post_url=None, published_at=NOW),
    reported_at=NOW,
)
DELIVERY_STATE = DeliveryState(
    attempts=1, round_attempts=1, next_attempt_at=NOW, lease_token=UUID(int=0x10)
)
STORED_DELIVERY = webhook_deliveries.StoredDelivery(
    id=DELIVERY, event_id=UUID(int=0x12), post_id=POST, body="{}", state=DELIVERY_STATE
)
NEW_DELIVERY = webhook_deliveries.NewDelivery(
    id=DeliveryId(NEW_ID),
    webhook_id=WEBHOOK,
    event_seq=2,
    event_type=WebhookEventType.POST_PUBLISHED,
    event_id=UUID(int=0x13),
    post_id=POST,
    body="{}",
    created_at=NOW,
)
FAILURES = webhook_deliveries.FailureRange(since=NOW)
DELIVERY_ATTEMPT = DeliveryAttempt(started_at=NOW, duration=timedelta(seconds=1), status_code=200)
BOARD_SESSION = BoardSession(
    id=SESSION,
    person="Ann",
    scopes=(Scope.READ,),
    created_at=NOW,
    last_used_at=LATER,
    expires_at=LATER,
)
NEW_KEY = NewApiKey(token="", digest=b"\x05" * 32, display_prefix="pe_")

WriteCase: TypeAlias = Callable[[WriteSession, Reader], Awaitable[object]]


async def change_account(session: WriteSession, reader: Reader) -> None:
    stored = await accounts.load_accounts(reader, [ACCOUNT])
    changed = replace(stored[ACCOUNT], display_name="changed")
    added = replace(changed, id=AccountId(99))
    await accounts.write_accounts(session, [changed, added], previous=stored)


async def add_key_twice(session: WriteSession, _reader: Reader) -> None:
    for name in ("added", "changed"):
        await api_keys.upsert_key(
            session, ApiKeyId(NEW_ID), NEW_KEY, name=name, scopes=(), expires_at=None, now=NOW
        )


async def change_post(session: WriteSession, reader: Reader) -> None:
    """Change a post with one of its destinations, and add another."""
    stored = await posts.load_posts(reader, [POST])
    first, *others = stored[POST].destinations
    first = replace(first, platform="x")
    changed = replace(stored[POST], content="changed", destinations=(first, *others))
    copy = replace(
        changed, id=PostId(NEW_ID), destinations=(replace(first, id=DestinationId(NEW_ID)),)
    )
    await posts.write_posts(session, [changed, copy], previous=stored)


async def lock_destinations(
    reader: Reader, claim_time: claims.ClaimTime, account_id: AccountId
) -> list[claims.ClaimableDestination]:
    return await claims.lock_destinations(
        reader,
        claim_time,
        LATER,
        account_ids=[account_id],
        locked_ids=[],
        key_ids=(),
        limit_per_account=9,
    )


async def clear_content_errors(session: WriteSession, reader: Reader) -> None:
    """Store the content error of a waiting destination, and clear those of its account."""
    (waiting, *_) = await lock_destinations(reader, claims.ClaimTime.CLAIMABLE, ACCOUNT)
    stored = await posts.load_posts(reader, [waiting.post_id])
    post = stored[waiting.post_id]
    state = content_checked(post.destination(waiting.id).state, "It does not fit.")
    await posts.write_posts(session, [post.with_state(waiting.id, state, LATER)], previous=stored)
    await content_errors.clear_content_errors(session, ACCOUNT)


async def clear_media_warnings(session: WriteSession, reader: Reader) -> None:
    """Store the warnings of destinations of two posts, and clear those of one."""
    (waiting, *_) = await lock_destinations(reader, claims.ClaimTime.CLAIMABLE, ACCOUNT)
    await media_checks.store_media_warnings(
        session, {FAILED: MEDIA_WARNING, waiting.id: MEDIA_WARNING}
    )
    await media_checks.clear_media_warnings(session, [POST])


async def clear_media_warnings_on_account(session: WriteSession, _reader: Reader) -> None:
    """Store the warning of a destination, and clear those of an account."""
    await media_checks.store_media_warnings(
        session, {FAILED: MEDIA_WARNING, PUBLISHED: MEDIA_WARNING}
    )
    await media_checks.clear_media_warnings_on_account(session, ACCOUNT)


async def remove_destinations(session: WriteSession, reader: Reader) -> None:
    """Remove the destinations without an attempt from posts that can be claimed."""
    claimable = await lock_destinations(reader, claims.ClaimTime.CLAIMABLE, ACCOUNT)
    stored = await posts.load_posts(reader, [each.post_id for each in claimable])
    changed = [
        replace(post, destinations=tuple(each for each in post.destinations if each.state.attempts))
        for post in stored.values()
    ]
    await posts.write_posts(session, changed, previous=stored)


async def change_attempt(session: WriteSession, reader: Reader) -> None:
    loaded = await posts.load_post_and_attempts_for_update(reader, POST, FAILED)
    assert loaded is not None
    post, (attempt, *_) = loaded
    changed = replace(attempt, worker="changed")
    added = replace(attempt, id=NEW_ID, number=9, fence=9)
    await attempts.write_attempts(
        session, post.destination(FAILED), [changed, added], previous=[attempt]
    )


async def add_history(session: WriteSession, reader: Reader) -> None:
    loaded = await posts.load_post_and_attempts_for_update(reader, POST, FAILED)
    assert loaded is not None
    post, (attempt, *_) = loaded
    await attempts.insert_histories(
        session,
        [post.destination(FAILED)],
        {FAILED: [replace(attempt, id=NEW_ID, number=9, fence=9)]},
        {PUBLISHED: [EVIDENCE]},
    )


async def change_webhook(session: WriteSession, reader: Reader) -> None:
    stored = await webhooks.find_webhook(reader, WEBHOOK)
    assert stored is not None
    await webhooks.update_webhooks(session, [replace(stored, feed_seq=3)])


async def add_webhook(session: WriteSession, reader: Reader) -> None:
    stored = await webhooks.find_webhook(reader, WEBHOOK)
    assert stored is not None
    endpoint = replace(stored.endpoint, id=WebhookId(NEW_ID))
    await webhooks.insert_webhook(session, replace(stored, endpoint=endpoint))


async def remove_webhook(session: WriteSession, _reader: Reader) -> None:
    everywhere = session.all_workspaces()
    await webhook_deliveries.delete_deliveries(everywhere, [(OWN, DELIVERY)], LATER)
    await webhooks.remove_webhooks(everywhere, [(OWN, WEBHOOK)])


async def add_workspace(session: WriteSession, _reader: Reader) -> None:
    new = session.all_workspaces().in_workspace(WorkspaceId(NEW_ID))
    await workspaces.insert_workspace(
        new, name="New", kind=WorkspaceKind.LOCAL, mirror_of=None, now=NOW
    )


CASES: Mapping[str, WriteCase] = {
    "extend_pause": lambda session, _: account_pauses.extend_pause(session, ACCOUNT, LATER),
    "begin_account_probe": lambda session, _: circuit_breakers.begin_account_probe(
        session, ACCOUNT, LATER, until=LATER
    ),
    "release_account_probe": lambda session, _: circuit_breakers.release_account_probe(
        session, ACCOUNT, NOW, until=all_tables.PROBE_UNTIL
    ),
    "save_account_breaker": lambda session, _: circuit_breakers.save_account_breaker(
        session, ACCOUNT, BREAKER
    ),
    "delete_account_breaker": lambda session, _: circuit_breakers.delete_account_breaker(
        session, ACCOUNT
    ),
    "clear_content_errors": clear_content_errors,
    "delete_pause": lambda session, _: account_pauses.delete_pause(session, ACCOUNT),
    "write_accounts": change_account,
    "upsert_key": add_key_twice,
    "revoke_other_keys": lambda session, _: api_keys.revoke_other_keys(
        session, NEW_KEY, name="Test key", now=LATER
    ),
    "update_last_used": lambda session, _: api_keys.update_last_used(
        session.all_workspaces(), {(OWN, KEY): LATER}
    ),
    "write_attempts": change_attempt,
    "insert_evidence": lambda session, _: attempts.insert_evidence(session, PUBLISHED, EVIDENCE),
    "update_evidence": lambda session, _: attempts.update_evidence(
        session, PUBLISHED, replace(EVIDENCE, fence=1)
    ),
    "insert_histories": add_history,
    "save_checkpoint": lambda session, _: checkpoints.save_checkpoint(
        session, FAILED, NEW_DATA, LATER
    ),
    "delete_checkpoints": lambda session, _: checkpoints.delete_checkpoints(session, [FAILED]),
    "lease_verification": lambda session, _: credentials.lease_verification(
        session, PENDING, LATER
    ),
    "settle_verification": lambda session, _: credentials.settle_verification(
        session, PENDING, verified_at=LATER, verify_at=None, error=None
    ),
    "set_credentials": lambda session, _: credentials.set_credentials(
        session, ACCOUNT, NEW_DATA, LATER, is_verified=True
    ),
    "delete_credentials": lambda session, _: credentials.delete_credentials(session, ACCOUNT),
    "begin_refresh": lambda session, _: credentials.begin_refresh(
        session, ACCOUNT, STORED_CREDENTIALS, now=LATER, until=LATER + timedelta(hours=1)
    ),
    "end_refresh": lambda session, _: credentials.end_refresh(
        session, ACCOUNT, STORED_CREDENTIALS, fence=1
    ),
    "store_refreshed": lambda session, _: credentials.store_refreshed(
        session, ACCOUNT, NEW_DATA, STORED_CREDENTIALS, fence=1
    ),
    "replace_encrypted_rows credentials": lambda session, _: encrypted_rows.replace_encrypted_rows(
        session.all_workspaces(),
        encrypted_rows.CREDENTIALS,
        [(encrypted_rows.EncryptedRow(OWN, "", ACCOUNT, "", DATA), NEW_DATA)],
    ),
    "replace_encrypted_rows checkpoints": lambda session, _: encrypted_rows.replace_encrypted_rows(
        session.all_workspaces(),
        encrypted_rows.CHECKPOINTS,
        [(encrypted_rows.EncryptedRow(OWN, "", FAILED, "", DATA), NEW_DATA)],
    ),
    "add_check": lambda session, _: duplicate_checks.add_check(
        session, replace(CHECK, destination_id=FAILED)
    ),
    "lease_check": lambda session, _: duplicate_checks.lease_check(session, CHECK, LATER),
    "delete_check": lambda session, _: duplicate_checks.delete_check(session, CHECK),
    "upsert_media_checks": lambda session, _: media_checks.upsert_media_checks(
        session, {POST: LATER}
    ),
    "delete_media_checks": lambda session, _: media_checks.delete_media_checks(session, [POST]),
    "lease_media_check": lambda session, _: media_checks.lease_media_check(
        session, MEDIA_CHECK, LATER
    ),
    "settle_media_check": lambda session, _: media_checks.settle_media_check(
        session, MEDIA_CHECK, checked_at=LATER, check_at=None, attempts=0
    ),
    "store_media_warnings": lambda session, _: media_checks.store_media_warnings(
        session, {FAILED: MEDIA_WARNING}
    ),
    "clear_media_warnings": clear_media_warnings,
    "clear_media_warnings_on_account": clear_media_warnings_on_account,
    "add_media_bytes": lambda session, _: media_checks.add_media_bytes(session, 7, LATER),
    "append_events": lambda session, _: events.append_events(
        session, [EVENT], actor=KEY, operation="test", now=NOW
    ),
    "delete_events": lambda session, _: events.delete_events(session, 2),
    "store_outcome": lambda session, _: idempotency_keys.store_outcome(
        session,
        "createPost",
        "given:k",
        fingerprint=b"\x02",
        outcome={},
        now=LATER,
        expires_at=LATER,
    ),
    "write_posts": change_post,
    "write_posts without destinations": remove_destinations,
    "insert_session": lambda session, _: sessions.insert_session(
        session, KEY, replace(BOARD_SESSION, id=SessionId(NEW_ID)), b"\x03" * 32
    ),
    "update_used_sessions": lambda session, _: sessions.update_used_sessions(
        session.all_workspaces(), [(OWN, BOARD_SESSION)]
    ),
    "delete_session": lambda session, _: sessions.delete_session(session, SESSION),
    "delete_sessions_of_key": lambda session, _: sessions.delete_sessions_of_key(session, KEY),
    "delete_oldest_sessions": lambda session, _: sessions.delete_oldest_sessions(
        session, KEY, keep=0
    ),
    "insert_deliveries": lambda session, _: webhook_deliveries.insert_deliveries(
        session, [NEW_DELIVERY], NOW
    ),
    "store_leases": lambda session, _: webhook_deliveries.store_leases(
        session, [DELIVERY], UUID(int=0x20), LATER
    ),
    "settle_deliveries": lambda session, _: webhook_deliveries.settle_deliveries(
        session,
        [(STORED_DELIVERY, replace(DELIVERY_STATE, attempts=2, lease_token=None))],
    ),
    "resume_deliveries due": lambda session, _: webhook_deliveries.resume_deliveries(
        session, WEBHOOK, after=0, now=LATER
    ),
    "resume_deliveries given up": lambda session, _: webhook_deliveries.resume_deliveries(
        session, WEBHOOK, after=1, now=LATER
    ),
    "update_deliveries": lambda session, _: webhook_deliveries.update_deliveries(
        session, {DELIVERY: replace(DELIVERY_STATE, attempts=2)}
    ),
    "insert_attempts": lambda session, _: webhook_deliveries.insert_attempts(
        session, [(DELIVERY, 2, DELIVERY_ATTEMPT)]
    ),
    "delete_deliveries": lambda session, _: webhook_deliveries.delete_deliveries(
        session.all_workspaces(), [(OWN, DELIVERY)], LATER
    ),
    "remove_webhooks": remove_webhook,
    "insert_webhook": add_webhook,
    "update_webhooks": change_webhook,
    "delete_webhook": lambda session, _: webhooks.delete_webhook(session, WEBHOOK, LATER),
    "insert_workspace": add_workspace,
    "reserve_account_ids": lambda session, _: workspaces.reserve_account_ids(
        session, highest_id=AccountId(500)
    ),
    "allocate_account_id": lambda session, _: workspaces.allocate_account_id(session),
}
"""Writes, by the name of the function, perhaps with a word for a second case."""

LOCKING_CASES: Mapping[str, WriteCase] = {
    "lock_platform_account": lambda session, _: accounts.lock_platform_account(
        session, "x", "user"
    ),
    "lock_idempotency_key": lambda session, _: idempotency_keys.lock_idempotency_key(
        session, "createPost", "given:k", wait=False
    ),
    "lock_workspace": lambda session, _: workspaces.lock_workspace(session),
    "lock_event_counter": lambda session, _: webhooks.lock_event_counter(session),
    "lock_webhooks_behind_feed": lambda session, _: webhooks.lock_webhooks_behind_feed(session),
    "lock_credentials_key": lambda session, _: credentials.lock_credentials_key(session, ACCOUNT),
    "lock_account_breaker": lambda session, _: circuit_breakers.lock_account_breaker(
        session, ACCOUNT, BREAKER.publisher
    ),
    "lock_accounts": lambda _, reader: accounts.lock_accounts(reader, [ACCOUNT]),
    "load_posts_for_update": lambda _, reader: posts.load_posts_for_update(reader, [POST]),
    "load_post_and_attempts_for_update": lambda _, reader: posts.load_post_and_attempts_for_update(
        reader, POST, FAILED
    ),
    "lock_destinations to publish": lambda _, reader: lock_destinations(
        reader, claims.ClaimTime.CLAIMABLE, ACCOUNT
    ),
    "lock_destinations to verify": lambda _, reader: lock_destinations(
        reader, claims.ClaimTime.VERIFIABLE, UNKNOWN_ON_ACCOUNT
    ),
    "load_webhook_for_update": lambda _, reader: webhooks.load_webhook_for_update(reader, WEBHOOK),
    "lock_due_deliveries": lambda _, reader: webhook_deliveries.lock_due_deliveries(
        reader, WEBHOOK, LATER, limit=9
    ),
    "load_deliveries_for_update": lambda _, reader: webhook_deliveries.load_deliveries_for_update(
        reader, [DELIVERY]
    ),
    "lock_failed_deliveries": lambda _, reader: webhook_deliveries.lock_failed_deliveries(
        reader, WEBHOOK, FAILURES, LATER, limit=9
    ),
}
"""Reads and locks inside a write, which change nothing."""
