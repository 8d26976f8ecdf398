"""Indexes that serve claims, leases and locks, on analyzed databases with two equal workspaces."""

from datetime import timedelta
from functools import partial
from itertools import product

from sqlalchemy import select

from app.db.core.database import Database, Reader
from app.db.core.statements import Statement
from app.db.models import Destination
from app.db.repositories import (
    account_pauses,
    checkpoints,
    claims,
    duplicate_checks,
    media_checks,
    overdue,
    posts,
)
from app.db.repositories.claims import ClaimGroup, ClaimTime
from app.domain.accounts import AccountPublisher
from app.domain.ids import AccountId
from tests.db.repositories.explain import (
    OWN_WORKSPACE,
    POST_BY_ID,
    UNIQUE_DESTINATION_INDEX,
    Query,
    explain_locking_query,
    explain_query,
)
from tests.factories import NOW

CLAIMABLE, VERIFIABLE = ClaimTime.CLAIMABLE, ClaimTime.VERIFIABLE
ALL_PLATFORMS = ClaimGroup(AccountPublisher.EXTERNAL, None)
ONE_PLATFORM = ClaimGroup(AccountPublisher.EXTERNAL, "platform-1")
KEY_IDS = ["fernet-1"]
CHECKPOINT_BY_ID = "pk_checkpoint"


def locking_query(claim_time: ClaimTime, key_ids: list[str] | None) -> Query:
    return lambda reader: claims.lock_destinations(
        reader,
        claim_time,
        NOW,
        account_ids=[AccountId(1), AccountId(2)],
        locked_ids=[],
        key_ids=key_ids,
        limit_per_account=5,
    )


LOCKING_QUERIES: dict[str, tuple[Query, set[str]]] = {
    "lock_destinations, due": (
        locking_query(CLAIMABLE, None),
        {"ix_destination_account_claimable", POST_BY_ID},
    ),
    "lock_destinations, due with a readable checkpoint": (
        locking_query(CLAIMABLE, KEY_IDS),
        {"ix_destination_account_claimable", POST_BY_ID, CHECKPOINT_BY_ID},
    ),
    "lock_destinations, unknown": (
        locking_query(VERIFIABLE, None),
        {"ix_destination_verifiable", POST_BY_ID},
    ),
    "lock_destinations, unknown with a readable checkpoint": (
        locking_query(VERIFIABLE, KEY_IDS),
        {"ix_destination_verifiable", POST_BY_ID, CHECKPOINT_BY_ID},
    ),
}


async def test_claimable_destinations_of_accounts_are_read_in_index_order_without_a_sort(
    analyzed_database: Database,
) -> None:
    for name, (query, indexes) in LOCKING_QUERIES.items():
        plan = await explain_locking_query(analyzed_database, query)
        assert plan - {"pk_account"} == indexes, name


async def test_post_is_locked_and_loaded_with_attempts_by_keys(
    analyzed_database: Database,
) -> None:
    row = await analyzed_database.reader(OWN_WORKSPACE).first(
        Statement(select(Destination.id, Destination.post_id))
    )
    assert row is not None
    plan = await explain_locking_query(
        analyzed_database,
        lambda reader: posts.load_post_and_attempts_for_update(reader, row.post_id, row.id),
    )

    assert plan == {
        POST_BY_ID,
        UNIQUE_DESTINATION_INDEX,
        "ix_attempt_workspace_id_destination_id_started_at_id",
        "sort",  # the few destinations of the post
    }


async def test_accounts_to_claim_from_cost_one_lookup_each(analyzed_database: Database) -> None:
    for claim_time, platforms, key_ids in product(
        (CLAIMABLE, VERIFIABLE), (None, ["platform-1"]), (None, KEY_IDS)
    ):
        query = partial(
            claims.accounts_to_claim_from,
            claim_time=claim_time,
            now=NOW,
            publishers=[AccountPublisher.EXTERNAL, AccountPublisher.BLUESKY],
            platforms=platforms,
            key_ids=key_ids,
            rotation_start=AccountId(2),
            limit=5,
        )
        plan = await explain_query(analyzed_database, query)
        is_due = claim_time is CLAIMABLE
        expected = {"ix_destination_account_claimable" if is_due else "ix_destination_verifiable"}
        assert {name for name in plan if "destination" in name} == expected
        assert (CHECKPOINT_BY_ID in plan) is (key_ids is not None)


async def test_keys_of_checkpoints_cost_lookups_in_their_index(
    analyzed_database: Database,
) -> None:
    reader = analyzed_database.all_workspaces

    async def keys(_reader: Reader) -> None:
        await checkpoints.checkpoint_key_ids(reader)

    async def waiting(_reader: Reader) -> None:
        await checkpoints.count_waiting_with_keys(reader, KEY_IDS, NOW)

    plan = await explain_query(analyzed_database, keys)
    assert plan - {"scan"} == {"ix_checkpoint_key_id"}  # SQLite scans the keys that it has found
    assert "ix_checkpoint_key_id" in await explain_query(analyzed_database, waiting)


def workspaces_query(database: Database, claim_time: ClaimTime, groups: list[ClaimGroup]) -> Query:
    return lambda _: claims.workspaces_to_claim_from(
        database.all_workspaces,
        claim_time,
        NOW,
        groups=groups,
        workspace_id=None,
        rotation_start=OWN_WORKSPACE,
        limit=5,
    )


async def test_workspaces_to_claim_from_cost_one_lookup_each(analyzed_database: Database) -> None:
    publishers = [ClaimGroup(publisher, None) for publisher in AccountPublisher]
    platforms = [ONE_PLATFORM, ClaimGroup(AccountPublisher.EXTERNAL, "platform-2")]
    for claim_time, groups, index in (
        (CLAIMABLE, publishers, "ix_destination_claimable_publisher"),
        (CLAIMABLE, platforms, "ix_destination_claimable_platform"),
        (VERIFIABLE, publishers, "ix_destination_verifiable"),
        (VERIFIABLE, platforms, "ix_destination_verifiable"),
    ):
        query = workspaces_query(analyzed_database, claim_time, groups)
        plan = await explain_query(analyzed_database, query)
        assert plan - {"sort"} == {"pk_workspace", index}  # PostgreSQL may sort a few workspaces


async def test_expired_leases_are_found_in_the_index_of_leases(analyzed_database: Database) -> None:
    async def query(_reader: Reader) -> None:
        await claims.expired_leases(analyzed_database.all_workspaces, NOW, limit=5)

    plan = await explain_query(analyzed_database, query)
    assert plan - {"scan"} == {"ix_destination_leased"}  # SQLite scans the whole index


async def test_backlog_is_read_in_the_indexes_of_claimable_and_leased_destinations(
    analyzed_database: Database,
) -> None:
    async def query(_reader: Reader) -> None:
        await overdue.read_backlog(analyzed_database.all_workspaces, NOW)

    plan = await explain_query(analyzed_database, query)
    indexes = {
        *("pk_workspace", "ix_destination_claimable", "ix_destination_leased"),
        *("pk_account", "pk_account_pause", "pk_account_breaker"),
    }
    # In so small a table, PostgreSQL may also sort the rows of another partial index, and reads all servers.
    assert (
        plan
        - {
            "scan",
            "sort",
            "ix_destination_claimable_platform",
            "ix_destination_claimable_publisher",
            "ix_destination_account_claimable",
            "pk_server_breaker",
        }
        == indexes
    )


async def test_calls_in_flight_are_counted_in_the_index_of_unsettled_destinations(
    analyzed_database: Database,
) -> None:
    plan = await explain_query(
        analyzed_database,
        lambda reader: account_pauses.count_in_flight(reader, AccountId(1)),
    )
    assert plan == {"ix_destination_account_unsettled"}


async def test_due_duplicate_checks_are_read_from_their_index(analyzed_database: Database) -> None:
    async def query(_reader: Reader) -> None:
        await duplicate_checks.due_checks(
            analyzed_database.all_workspaces,
            NOW,
            key_ids=KEY_IDS,
            max_accounts=5,
            max_of_account=5,
        )

    plan = await explain_query(analyzed_database, query)
    assert {"ix_duplicate_check_check_at", CHECKPOINT_BY_ID} == {
        name for name in plan if "check" in name
    }


async def test_due_media_checks_are_read_from_their_index(analyzed_database: Database) -> None:
    async def workspaces(_reader: Reader) -> None:
        await media_checks.workspaces_with_due_media_checks(
            analyzed_database.all_workspaces,
            NOW,
            max_bytes=1,
            excluded=[],
            rotation_start=OWN_WORKSPACE,
            limit=5,
        )

    async def checks(reader: Reader) -> None:
        await media_checks.due_media_checks(reader, OWN_WORKSPACE, NOW, limit=5)

    plan = await explain_query(analyzed_database, workspaces)
    assert "ix_media_check_due" in plan
    # PostgreSQL may sort so few rows.
    assert await explain_query(analyzed_database, checks) - {"sort"} == {"ix_media_check_due"}


async def test_what_duplicates_are_compared_with_is_read_from_indexes_of_the_account(
    analyzed_database: Database,
) -> None:
    accounts, since = [AccountId(1), AccountId(2)], NOW - timedelta(days=1000)
    reported = await explain_query(
        analyzed_database,
        lambda reader: duplicate_checks.reported_publications(reader, accounts, since),
    )
    open_posts = await explain_query(
        analyzed_database,
        lambda reader: duplicate_checks.posts_without_known_publication(
            reader, accounts, since, limit=5
        ),
    )
    assert {name for name in reported if "destination_" in name} == {
        "ix_destination_account_published"
    }
    assert open_posts == {
        "ix_destination_account_unsettled",
        "ix_destination_account_failed",
        "ix_destination_account_published",
    }
