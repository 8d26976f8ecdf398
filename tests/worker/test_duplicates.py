"""Checks for duplicates: when they are planned, what they store, and which accounts they ask."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import uuid4

import pytest
from sqlalchemy import func, select, update

from app.db.core.database import Database
from app.db.models import Account, Destination, DuplicateCheck
from app.db.tools.integrity import find_problems
from app.domain.accounts import AccountPublisher
from app.domain.attempts import Publication
from app.domain.destinations import DestinationState, ErrorCategory
from app.domain.events import EventKind
from app.domain.ids import AccountId, WorkspaceId
from app.domain.settlement import DUPLICATE_CHECK_DELAY
from app.domain.verification import VerificationFinding
from app.platforms.protocol import NotPublished, OutcomeUnknown, PublishRequest
from app.services.claims import Claim
from app.services.duplicate_checks import DuplicateCheckService
from app.services.secret_cipher import SecretCipher, new_secrets_key
from tests.credential_rows import add_credentials
from tests.domain.attempt_histories import make_failure
from tests.factories import (
    NOW,
    add_account,
    add_post,
    add_workspace,
    published,
    queued,
    unknown,
    waiting_for_retry,
)
from tests.graphql.schema.mutations.mutation_calls import stored_events
from tests.platforms.publish_requests import publish_problem
from tests.raw_statements import run_raw
from tests.services import publishing_calls
from tests.services.publishing_calls import report_service
from tests.worker.worker_bench import (
    CIPHER,
    SECRETS_KEY,
    FakeClock,
    ScriptedPlatform,
    SentPost,
    WorkerBench,
    is_published,
)

SANDBOX, MASTODON = AccountPublisher.SANDBOX, AccountPublisher.MASTODON
EXTERNAL = AccountPublisher.EXTERNAL
NOT_PUBLISHED = VerificationFinding.NOT_PUBLISHED
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
DAY = timedelta(days=1)
CHECK_AT = NOW + DUPLICATE_CHECK_DELAY
TEXT = "Spring sale\nstarts today"


def publication(post_id: str, published_at: datetime = NOW) -> Publication:
    return Publication(
        platform_post_id=post_id,
        platform_post_url=f"https://a.test/{post_id}",
        published_at=published_at,
    )


FIRST, SECOND_COPY, THIRD_COPY = (
    publication(str(number), NOW + number * SECOND) for number in (1, 2, 3)
)


class FindingPlatform(ScriptedPlatform):
    """A platform on which a search finds the same publications, or fails."""

    def __init__(self, *found: Publication) -> None:
        super().__init__(FIRST)
        self.found: Sequence[Publication] | Exception = found
        self.searches: list[Sequence[PublishRequest]] = []

    async def can_repeat(self, request: PublishRequest) -> bool:
        return False

    async def find_unreported(
        self, requests: Sequence[PublishRequest]
    ) -> Sequence[Sequence[Publication]]:
        self.searches.append(requests)
        if isinstance(self.found, Exception):
            raise self.found
        return [self.found] * len(requests)


class Check(NamedTuple):
    """Columns of a stored check."""

    check_at: datetime
    attempts: int


class Bench(WorkerBench):
    """Workers on one platform, whose clock only the test moves."""

    platform: FindingPlatform

    @classmethod
    def create(cls, database: Database, *found: Publication) -> "Bench":
        platform = FindingPlatform(*found)
        bench = cls(database, adapters={MASTODON: platform})
        bench.platform = platform
        return bench

    async def check_after(self, delay: timedelta) -> None:
        """Check this time after NOW."""
        assert isinstance(self.clock, FakeClock)
        self.clock.seconds = delay.total_seconds()
        await self.check_duplicates()

    async def checks(self) -> list[Check]:
        columns = (DuplicateCheck.check_at, DuplicateCheck.attempts)
        async with self.database.read_connection() as connection:
            rows = await connection.execute(select(*columns).order_by(DuplicateCheck.check_at))
            return [Check(*row) for row in rows]


async def add_mastodon_account(database: Database, workspace: WorkspaceId) -> AccountId:
    """Add an account of the same platform user as the others."""
    return await add_account(
        database,
        workspace,
        platform="mastodon",
        publisher=MASTODON,
        platform_user_id="1@social.example",
    )


async def claim_one(database: Database, of: AccountPublisher = MASTODON) -> Claim:
    (claim,) = await publishing_calls.claim(database, of=of)
    await publishing_calls.start_attempt(database, claim.lease)
    return claim


async def fail_unknown(database: Database, of: AccountPublisher = MASTODON) -> None:
    """Attempt the only due destination with an unknown outcome, and do not find it on the platform."""
    claim = await claim_one(database, of)
    await report_service(database).report_unknown(claim.lease, make_failure())
    (verification,) = await publishing_calls.claim_for_verification(database, of=of)
    await publishing_calls.report_verified(database, verification.lease, NOT_PUBLISHED)


async def publish_after_unknown(
    database: Database,
    workspace: WorkspaceId,
    account: AccountId,
    *,
    reported: Publication = FIRST,
    unknown_attempts: int = 1,
    content: str = TEXT,
    of: AccountPublisher = MASTODON,
) -> SentPost:
    """Publish a post at NOW, after attempts of unknown outcome that lookups did not find."""
    post = await add_post(database, workspace, {account: queued()}, content=content)
    for _ in range(unknown_attempts):
        await fail_unknown(database, of)
    claim = await claim_one(database, of)
    await report_service(database).report_published(claim.lease, reported)
    return SentPost(database, workspace, account, post.id, post.destinations[0])


@pytest.fixture
async def workspace(database: Database) -> WorkspaceId:
    return await add_workspace(database)


@pytest.fixture
async def account(database: Database, workspace: WorkspaceId) -> AccountId:
    return await add_mastodon_account(database, workspace)


async def count_duplicate_events(database: Database) -> int:
    events = await stored_events(database)
    return sum(event.kind == EventKind.DESTINATION_DUPLICATED for event in events)


async def test_second_publication_is_reported_once_by_two_workers(
    database: Database, workspace: WorkspaceId, account: AccountId
) -> None:
    bench = Bench.create(database, FIRST, SECOND_COPY)
    sent = await publish_after_unknown(database, workspace, account)
    before = await sent.state()

    await bench.check_after(DUPLICATE_CHECK_DELAY - SECOND)
    assert (bench.platform.searches, await sent.duplicates()) == ([], [])
    await asyncio.gather(
        bench.check_after(DUPLICATE_CHECK_DELAY), bench.check_after(DUPLICATE_CHECK_DELAY)
    )
    await bench.check_after(DUPLICATE_CHECK_DELAY + HOUR)

    assert await sent.duplicates() == [SECOND_COPY]
    assert await sent.state() == before
    assert await count_duplicate_events(database) == 1
    assert len(bench.platform.searches) == 1
    assert (bench.platform.searches[0][0].destination_id, await bench.checks()) == (sent.id, [])
    assert await find_problems(database) == []


async def test_check_that_a_kill_interrupts_is_repeated_after_its_lease(
    database: Database, workspace: WorkspaceId, account: AccountId
) -> None:
    class HangingPlatform(FindingPlatform):
        was_asked = asyncio.Event()

        async def find_unreported(
            self, requests: Sequence[PublishRequest]
        ) -> Sequence[Sequence[Publication]]:
            self.was_asked.set()
            await asyncio.Event().wait()
            return ()

    sent = await publish_after_unknown(database, workspace, account)
    killed = Bench.create(database)
    hanging = HangingPlatform()
    killed.adapters = {MASTODON: hanging}
    check = asyncio.create_task(killed.check_after(DUPLICATE_CHECK_DELAY))
    await hanging.was_asked.wait()
    check.cancel()
    await asyncio.wait({check})

    bench = Bench.create(database, SECOND_COPY)
    await bench.check_after(DUPLICATE_CHECK_DELAY + 59 * SECOND)
    assert await bench.checks() == [Check(CHECK_AT + MINUTE, 1)]
    await bench.check_after(DUPLICATE_CHECK_DELAY + MINUTE)
    assert await sent.duplicates() == [SECOND_COPY]
    assert await count_duplicate_events(database) == 1


@pytest.mark.parametrize("unknown_attempts", [1, 2, 3])
async def test_publications_beyond_the_unknown_attempts_are_duplicates_too(
    database: Database, workspace: WorkspaceId, account: AccountId, unknown_attempts: int
) -> None:
    bench = Bench.create(database, THIRD_COPY, SECOND_COPY)
    sent = await publish_after_unknown(
        database, workspace, account, unknown_attempts=unknown_attempts
    )

    await bench.check_after(DUPLICATE_CHECK_DELAY)

    assert await sent.duplicates() == [SECOND_COPY, THIRD_COPY]
    assert await count_duplicate_events(database) == 2
    assert await find_problems(database) == []


async def test_publication_that_is_reported_for_another_post_is_no_duplicate(
    database: Database, workspace: WorkspaceId, account: AccountId
) -> None:
    bench = Bench.create(database, FIRST, SECOND_COPY, THIRD_COPY)
    sent = await publish_after_unknown(database, workspace, account)
    other = published(platform_post_id="2", platform_post_url=None)
    by_url = published(platform_post_id=None, platform_post_url=THIRD_COPY.platform_post_url)
    await add_post(database, workspace, {account: other})
    await add_post(database, workspace, {account: by_url}, content="Other")

    await bench.check_after(DUPLICATE_CHECK_DELAY)

    assert (len(bench.platform.searches), await sent.duplicates()) == (1, [])
    assert await bench.checks() == []


async def test_reports_of_another_workspace_do_not_count(
    database: Database, workspace: WorkspaceId, account: AccountId
) -> None:
    foreign = await add_workspace(database)
    foreign_account = await add_mastodon_account(database, foreign)
    assert foreign_account == account
    await add_post(database, foreign, {foreign_account: published(platform_post_id="2")})
    await add_post(database, foreign, {foreign_account: unknown()})
    bench = Bench.create(database, SECOND_COPY)
    sent = await publish_after_unknown(database, workspace, account)

    await bench.check_after(DUPLICATE_CHECK_DELAY)

    assert await sent.duplicates() == [SECOND_COPY]


@pytest.mark.parametrize(
    ("content", "state", "expected"),
    [
        (TEXT, unknown(), []),
        (f" {TEXT}\n", unknown(), []),
        (TEXT, published(platform_post_id=None, platform_post_url="https://b.test/9"), []),
        (TEXT.replace("\n", "\r\n"), unknown(), []),
        ("Other", unknown(), [SECOND_COPY]),
        (TEXT, queued(), [SECOND_COPY]),
    ],
)
async def test_publication_that_may_be_another_post_with_the_same_text_is_not_reported(
    database: Database,
    workspace: WorkspaceId,
    account: AccountId,
    content: str,
    state: DestinationState,
    expected: list[Publication],
) -> None:
    bench = Bench.create(database, SECOND_COPY)
    sent = await publish_after_unknown(database, workspace, account)
    await add_post(database, workspace, {account: state}, content=content)

    await bench.check_after(DUPLICATE_CHECK_DELAY)

    assert await sent.duplicates() == expected
    postponed = [] if expected else [Check(CHECK_AT + MINUTE, 1)]
    assert await bench.checks() == postponed


@pytest.mark.parametrize(
    "error",
    [
        OutcomeUnknown("No answer."),
        NotPublished(ErrorCategory.TRANSIENT, "BUSY", "Busy."),
        RuntimeError("A bug."),
    ],
)
async def test_check_that_fails_is_repeated_up_to_eight_times(
    database: Database, workspace: WorkspaceId, account: AccountId, error: Exception
) -> None:
    bench = Bench.create(database)
    bench.platform.found = error
    await publish_after_unknown(database, workspace, account)

    waits = []
    while checks := await bench.checks():
        due_in = checks[0].check_at - NOW
        await bench.check_after(due_in)
        waits += [check.check_at - NOW - due_in for check in await bench.checks()]

    minutes = [1, 4, 16, 64, 256, 360, 360, 360]
    assert waits == [minute * MINUTE for minute in minutes]
    assert len(bench.platform.searches) == 8


async def test_paused_account_is_asked_after_its_pause(
    database: Database, workspace: WorkspaceId, account: AccountId
) -> None:
    bench = Bench.create(database)
    bench.platform.found = NotPublished(
        ErrorCategory.RATE_LIMITED, "HTTP_429", "Too many.", retry_after=10 * MINUTE
    )
    await publish_after_unknown(database, workspace, account)
    await bench.check_after(DUPLICATE_CHECK_DELAY)
    await bench.check_after(DUPLICATE_CHECK_DELAY + MINUTE)

    assert len(bench.platform.searches) == 1
    await bench.check_after(DUPLICATE_CHECK_DELAY + 10 * MINUTE)
    assert len(bench.platform.searches) == 2


async def test_account_of_a_missing_key_is_left_to_other_workers(
    database: Database, workspace: WorkspaceId, account: AccountId
) -> None:
    bench = Bench.create(database)
    await publish_after_unknown(database, workspace, account)
    await add_credentials(
        database, workspace, account, platform="mastodon", cipher=SecretCipher([new_secrets_key()])
    )
    before = await bench.checks()

    await bench.check_after(DUPLICATE_CHECK_DELAY)

    assert bench.platform.searches == []
    assert await bench.checks() == before
    await add_credentials(database, workspace, account, platform="mastodon", cipher=CIPHER)
    await bench.check_after(DUPLICATE_CHECK_DELAY)
    assert len(bench.platform.searches) == 1


async def test_account_without_access_is_not_asked(
    database: Database, workspace: WorkspaceId, account: AccountId
) -> None:
    bench = Bench.create(database)
    await publish_after_unknown(database, workspace, account)
    await database.write_all_workspaces(
        lambda session: run_raw(session, update(Account).values(needs_reconnection_since=NOW))
    )

    await bench.check_after(DUPLICATE_CHECK_DELAY)

    assert bench.platform.searches == []
    assert await bench.checks() == [Check(CHECK_AT + MINUTE, 1)]


async def test_posts_of_an_account_are_searched_for_together(
    database: Database, workspace: WorkspaceId, account: AccountId
) -> None:
    bench = Bench.create(database)
    other = await add_mastodon_account(database, workspace)
    sent = [
        await publish_after_unknown(
            database, workspace, of_account, reported=publication(str(number)), content=str(number)
        )
        for number, of_account in enumerate([account, account, other])
    ]

    await bench.check_after(DUPLICATE_CHECK_DELAY)

    searched = {
        requests[0].account.id: {request.destination_id for request in requests}
        for requests in bench.platform.searches
    }
    assert searched == {account: {sent[0].id, sent[1].id}, other: {sent[2].id}}
    assert len(bench.platform.searches) == 2
    assert await bench.checks() == []


async def test_search_is_for_50_posts_within_an_hour_at_most(
    database: Database, workspace: WorkspaceId, account: AccountId
) -> None:
    bench = Bench.create(database)
    for number in range(53):
        await publish_after_unknown(database, workspace, account, content=str(number))
    rows = select(DuplicateCheck.destination_id).order_by(DuplicateCheck.destination_id)
    async with database.read_connection() as connection:
        ids = [*await connection.scalars(rows)]
    late = update(DuplicateCheck).where(DuplicateCheck.destination_id.in_(ids[-2:]))
    values = late.values(first_attempt_at=NOW + HOUR + SECOND, check_at=CHECK_AT + SECOND)
    await database.write_all_workspaces(lambda session: run_raw(session, values))

    sizes = []
    for _ in range(3):
        await bench.check_after(DUPLICATE_CHECK_DELAY + SECOND)
        sizes.append(len(bench.platform.searches[-1]))

    assert sizes == [50, 1, 2]
    assert await bench.checks() == []


async def test_platform_that_cannot_publish_twice_is_not_asked(
    database: Database, workspace: WorkspaceId, account: AccountId
) -> None:
    bench = WorkerBench(database, adapters={MASTODON: ScriptedPlatform(FIRST)})
    sent = await publish_after_unknown(database, workspace, account)
    assert isinstance(bench.clock, FakeClock)
    bench.clock.seconds = DUPLICATE_CHECK_DELAY.total_seconds()

    await bench.check_duplicates()

    assert await sent.duplicates() == []
    async with database.read_connection() as connection:
        assert await connection.scalar(select(func.count()).select_from(DuplicateCheck)) == 0


async def test_check_is_planned_only_if_another_attempt_may_have_published(
    database: Database, workspace: WorkspaceId, account: AccountId
) -> None:
    bench = Bench.create(database)
    await publish_after_unknown(database, workspace, account, unknown_attempts=0)
    await add_post(database, workspace, {account: queued()})
    claim = await claim_one(database)
    await report_service(database).report_unknown(claim.lease, make_failure())
    (verification,) = await publishing_calls.claim_for_verification(database, of=MASTODON)
    await publishing_calls.report_verified(
        database, verification.lease, VerificationFinding.PUBLISHED
    )
    without_id = replace(FIRST, platform_post_id=None)
    await publish_after_unknown(database, workspace, account, reported=without_id)
    external = await add_account(database, workspace, platform="x", publisher=EXTERNAL)
    await publish_after_unknown(database, workspace, external, of=EXTERNAL)
    assert await bench.checks() == []

    await publish_after_unknown(database, workspace, account)
    assert await bench.checks() == [Check(CHECK_AT, 0)]


class RepeatingPlatform(FindingPlatform):
    """A platform that says whether it can repeat requests, or does not answer."""

    answer: bool | Exception = True

    async def can_repeat(self, request: PublishRequest) -> bool:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize("is_unknown_first", [True, False])
@pytest.mark.parametrize(
    ("answer", "is_planned"), [(True, True), (OutcomeUnknown("No answer."), True), (False, False)]
)
async def test_every_publication_is_checked_where_requests_can_be_repeated(
    database: Database,
    workspace: WorkspaceId,
    account: AccountId,
    answer: bool | Exception,
    *,
    is_planned: bool,
    is_unknown_first: bool,
) -> None:
    platform = RepeatingPlatform()
    platform.answer = answer
    if is_unknown_first:  # the lookup finds the post
        platform.publish_result, platform.lookup_result = OutcomeUnknown("Lost."), FIRST
    post = await add_post(database, workspace, {account: queued(NOW)}, submitted_now=True)
    sent = SentPost(database, workspace, account, post.id, post.destinations[0])
    bench = Bench(database, adapters={MASTODON: platform})

    async with bench.running_worker():
        await sent.wait_until(is_published)

    assert (len(await bench.checks()), platform.searches) == (int(is_planned), [])


async def test_check_is_not_planned_for_a_publisher_that_cannot_publish_twice(
    database: Database, workspace: WorkspaceId
) -> None:
    account = await add_account(database, workspace, platform="sandbox", publisher=SANDBOX)
    await publish_after_unknown(database, workspace, account, of=SANDBOX)

    assert await Bench.create(database).checks() == []


@pytest.mark.parametrize(
    "state",
    [
        unknown(due_at=NOW - 2 * DAY),
        waiting_for_retry(NOW + HOUR, due_at=NOW - 2 * DAY),
    ],
)
async def test_post_whose_attempts_ended_a_day_before_is_not_the_one_that_was_found(
    database: Database, workspace: WorkspaceId, account: AccountId, state: DestinationState
) -> None:
    bench = Bench.create(database, SECOND_COPY)
    sent = await publish_after_unknown(database, workspace, account)
    old = await add_post(database, workspace, {account: state}, content=TEXT)
    ended = update(Destination).where(Destination.id == old.destinations[0])
    await database.write_all_workspaces(
        lambda session: run_raw(session, ended.values(updated_at=NOW - 2 * DAY))
    )

    await bench.check_after(DUPLICATE_CHECK_DELAY)

    assert await sent.duplicates() == [SECOND_COPY]


@pytest.mark.parametrize(
    "state", [published(platform_post_id="2", platform_post_url=None), unknown()]
)
async def test_posts_of_other_accounts_of_the_platform_user_are_no_duplicates(
    database: Database, workspace: WorkspaceId, account: AccountId, state: DestinationState
) -> None:
    bench = Bench.create(database, SECOND_COPY)
    other = await add_mastodon_account(database, workspace)
    await add_post(database, workspace, {other: state}, content=TEXT)
    sent = await publish_after_unknown(database, workspace, account)

    await bench.check_after(DUPLICATE_CHECK_DELAY)

    assert (len(bench.platform.searches), await sent.duplicates()) == (1, [])
    expected = {FIRST.platform_post_id, FIRST.platform_post_url, state.platform_post_id}
    assert await bench.platform.searches[0][0].find_reported() == expected - {None}


async def test_error_of_one_check_does_not_stop_the_others(
    database: Database, workspace: WorkspaceId, account: AccountId
) -> None:
    bench = Bench.create(database, SECOND_COPY)
    other = await add_mastodon_account(database, workspace)
    await publish_after_unknown(database, workspace, account)
    sent = await publish_after_unknown(
        database, workspace, other, reported=THIRD_COPY, content="Other"
    )
    missing = update(DuplicateCheck).where(DuplicateCheck.account_id == account)
    await database.write_all_workspaces(
        lambda session: run_raw(session, missing.values(account_id=999))
    )

    with pytest.raises(ExceptionGroup) as raised:
        await bench.check_after(DUPLICATE_CHECK_DELAY)

    assert await sent.duplicates() == [SECOND_COPY]
    assert await bench.checks() == [Check(CHECK_AT + MINUTE, 1)]
    assert list(map(repr, raised.value.exceptions)) == ["KeyError(999)"]


@pytest.mark.parametrize(
    ("set_at", "duplicates"), [(NOW - SECOND, [SECOND_COPY]), (NOW + SECOND, [])]
)
async def test_search_with_credentials_that_are_newer_than_the_attempts_finds_nothing(
    database: Database,
    workspace: WorkspaceId,
    account: AccountId,
    set_at: datetime,
    duplicates: list[Publication],
) -> None:
    bench = Bench.create(database, SECOND_COPY)
    sent = await publish_after_unknown(database, workspace, account)
    await add_credentials(
        database,
        workspace,
        account,
        cipher=SecretCipher([SECRETS_KEY]),
        platform="mastodon",
        set_at=set_at,
        is_verified=False,
    )

    await bench.check_after(DUPLICATE_CHECK_DELAY)

    assert (await sent.duplicates(), await bench.checks()) == (duplicates, [])


async def test_outage_during_a_search_is_reported_like_that_of_a_checkpoint(
    database: Database, workspace: WorkspaceId, account: AccountId
) -> None:
    bench = Bench.create(database)
    await publish_after_unknown(database, workspace, account)
    await bench.check_after(DUPLICATE_CHECK_DELAY)
    asked = bench.platform.searches[0][0].account

    async with Database("sqlite+aiosqlite:////no/such/folder/post-results.db") as missing:
        checks = DuplicateCheckService(
            database=missing, key_ids=(), new_id=uuid4, clock=bench.clock.now
        )
        problem = await publish_problem(checks.find_reported(workspace, asked, NOW))

    assert problem[:2] == (ErrorCategory.TRANSIENT, "DATABASE_UNAVAILABLE")
