"""Random histories of destinations, and their statistics by a plain computation over a list."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from random import Random
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

from app.domain.attempts import AttemptKind
from app.domain.destinations import DestinationState, ErrorCategory, Outcome
from app.domain.ids import AccountId
from app.domain.times import format_instant
from tests.clients import Tenant
from tests.factories import (
    AddedPost,
    add_account,
    add_attempt,
    add_post,
    draft,
    failed,
    published,
    queued,
    unknown,
)

MINUTE = timedelta(minutes=1)
PLATFORMS = ("instagram", "linkedin", "x")
COUNTS = "published failed unknown userCaused firstTry savedByRetry attempts successRate"
LATENESS = "lateness { p50Seconds p95Seconds p99Seconds maxSeconds maxErrorPercent }"


@dataclass(frozen=True, slots=True)
class Started:
    """A counted attempt."""

    at: datetime
    category: ErrorCategory | None


@dataclass(frozen=True, slots=True)
class History:
    """A destination of a post that is not deleted, with its counted attempts."""

    platform: str
    account_id: AccountId
    state: DestinationState
    attempts: Sequence[Started]


@dataclass(frozen=True, slots=True)
class Query:
    """Arguments of `outcomeStats`."""

    start: datetime
    end: datetime
    interval: str | None
    timezone: str
    group_by: Sequence[str]
    filter: dict[str, list[Any]]

    def variables(self) -> dict[str, Any]:
        return {
            "from": format_instant(self.start),
            "to": format_instant(self.end),
            "interval": self.interval,
            "timezone": self.timezone,
            "groupBy": list(self.group_by),
            "filter": self.filter,
        }


class HistoryWriter:
    """Stores random posts of a workspace around a time."""

    def __init__(self, tenant: Tenant, random: Random, around: datetime) -> None:
        self._tenant, self._random, self._around = tenant, random, around
        self._accounts: dict[AccountId, str] = {}

    async def add_accounts(self) -> None:
        for platform in (*PLATFORMS, PLATFORMS[0]):
            account = await add_account(
                self._tenant.database, self._tenant.workspace, platform=platform
            )
            self._accounts[account] = platform

    async def add_post(self) -> list[History]:
        """Add a post with attempts; return what counts of it: nothing if it is deleted or a draft."""
        random = self._random
        accounts = random.sample([*self._accounts], random.randint(1, len(self._accounts)))
        is_draft, is_deleted = random.random() < 0.1, random.random() < 0.2
        states = {account: draft() if is_draft else self._state() for account in accounts}
        post = await add_post(
            self._tenant.database,
            self._tenant.workspace,
            states,
            is_draft=is_draft,
            imported_at=self._instant() if random.random() < 0.3 else None,
            deleted_at=self._instant() if is_deleted else None,
        )
        histories = [
            History(
                self._accounts[account],
                account,
                state,
                [await self._add_attempt(post, index, number) for number in range(state.attempts)],
            )
            for index, (account, state) in enumerate(states.items())
        ]
        return [] if is_deleted else histories

    def _instant(self) -> datetime:
        """Return a time within four days, often one at a full quarter of an hour."""
        minutes = self._random.randint(-4 * 24 * 60, 4 * 24 * 60)
        if self._random.random() < 0.3:
            return self._around + minutes // 15 * 15 * MINUTE
        return (
            self._around
            + minutes * MINUTE
            + timedelta(milliseconds=self._random.randint(0, 59_999))
        )

    def _state(self) -> DestinationState:
        random, settled_at = self._random, self._instant()
        due_at = settled_at - timedelta(milliseconds=random.choice([0, 7, 90_000, 7_200_000]))
        attempts = random.choice([0, 1, 1, 1, 2, 3])
        category = random.choice([*ErrorCategory])
        match random.randint(0, 6):
            case 0:
                return queued(due_at)
            case 1:
                return unknown(due_at=due_at, attempts=attempts, settled_at=settled_at)
            case 2 | 3:
                return failed(
                    due_at=due_at, attempts=attempts, category=category, settled_at=settled_at
                )
        published_at = settled_at - timedelta(milliseconds=random.randint(0, 100_000))
        return published(published_at, due_at=due_at, attempts=attempts, settled_at=settled_at)

    async def _add_attempt(self, post: AddedPost, index: int, number: int) -> Started:
        random, at = self._random, self._instant()
        outcome = random.choice([Outcome.PUBLISHED, Outcome.FAILED, Outcome.NONE])
        category = random.choice([*ErrorCategory])
        database, workspace = self._tenant.database, self._tenant.workspace
        destination = post.destinations[index]
        await add_attempt(
            database,
            workspace,
            destination,
            number=number + 1,
            fence=number + 1,
            outcome=outcome,
            category=category,
            started_at=at,
        )
        if random.random() < 0.2:  # a late report is not counted
            await add_attempt(
                database,
                workspace,
                destination,
                id=uuid4(),
                kind=AttemptKind.LATE,
                number=None,
                fence=None,
                started_at=at,
            )
        return Started(at, category if outcome is Outcome.FAILED else None)


def random_query(random: Random, around: datetime, timezone: str, accounts: int) -> Query:
    """Return a query whose period has full minutes as limits."""
    start = around + random.randint(-4 * 24 * 60, 0) * MINUTE
    filters: dict[str, list[Any]] = {}
    if random.random() < 0.3:
        filters["platform"] = random.sample(PLATFORMS, 2)
    if random.random() < 0.3:
        filters["accountId"] = random.sample(range(1, accounts + 1), 2)
    if random.random() < 0.2:
        filters["errorCategory"] = [each.name for each in random.sample([*ErrorCategory], 3)]
    return Query(
        start=start,
        end=start + random.randint(1, 8 * 24 * 60) * MINUTE,
        interval=random.choice(["HOUR", "DAY", "WEEK", None]),
        timezone=timezone,
        group_by=random.sample(
            ["PLATFORM", "ACCOUNT", "CATEGORY", "HOUR_OF_WEEK"], random.randint(0, 2)
        ),
        filter=filters,
    )


def expected_buckets(query: Query, histories: Sequence[History]) -> list[dict[str, Any]]:
    """Compute the buckets of `outcomeStats` from a list of all destinations."""
    return [_expected_bucket(query, histories, *limits) for limits in _bucket_limits(query)]


def _expected_bucket(
    query: Query, histories: Sequence[History], start: datetime, end: datetime
) -> dict[str, Any]:
    def is_within(at: datetime) -> bool:
        return start <= at < end

    return {
        "start": format_instant(start),
        "end": format_instant(end),
        "counts": _numbers(query, histories, is_within, None),
        "groups": [
            {**_group_fields(query, key), "counts": _numbers(query, histories, is_within, key)}
            for key in _group_keys(query, histories, start, end)
        ],
    }


_Key = tuple[Any, ...]


def _bucket_limits(query: Query) -> Iterator[tuple[datetime, datetime]]:
    """Join the minutes that have the same label on the clock of the zone."""
    zone = ZoneInfo(query.timezone)

    def label(minute: datetime) -> object:
        local = minute.astimezone(zone)
        match query.interval:
            case "HOUR":
                return local.date(), local.hour, local.utcoffset()
            case "DAY":
                return local.date()
            case "WEEK":
                return local.isocalendar()[:2]
        return None

    count = (query.end - query.start) // MINUTE
    minutes = [query.start + number * MINUTE for number in range(count)]
    for _, members in groupby(minutes, label):
        run = [*members]
        yield run[0], run[-1] + MINUTE


def _key(query: Query, history: History, at: datetime, category: ErrorCategory | None) -> _Key:
    local = at.astimezone(ZoneInfo(query.timezone))
    values = {
        "PLATFORM": history.platform,
        "ACCOUNT": history.account_id,
        "CATEGORY": category and category.name,
        "HOUR_OF_WEEK": local.weekday() * 24 + local.hour,
    }
    return tuple(values[name] if name in query.group_by else None for name in values)


def _matches(query: Query, history: History, category: ErrorCategory | None) -> bool:
    values = {
        "platform": history.platform,
        "accountId": history.account_id,
        "errorCategory": category and category.name,
    }
    return all(values[name] in allowed for name, allowed in query.filter.items())


def _settled(
    query: Query, histories: Sequence[History]
) -> Iterator[tuple[datetime, _Key, DestinationState]]:
    for history in histories:
        at, category = history.state.settled_at, history.state.error_category
        if at is not None and _matches(query, history, category):
            yield at, _key(query, history, at, category), history.state


def _started(query: Query, histories: Sequence[History]) -> Iterator[tuple[datetime, _Key]]:
    for history in histories:
        for attempt in history.attempts:
            if _matches(query, history, attempt.category):
                yield attempt.at, _key(query, history, attempt.at, attempt.category)


def _group_keys(
    query: Query, histories: Sequence[History], start: datetime, end: datetime
) -> list[_Key]:
    if not query.group_by:
        return []
    instants = [
        *((at, key) for at, key, _ in _settled(query, histories)),
        *_started(query, histories),
    ]
    keys = {key for at, key in instants if start <= at < end}
    return sorted(keys, key=lambda key: [(value is not None, _rank(value)) for value in key])


def _rank(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _group_fields(query: Query, key: _Key) -> dict[str, Any]:
    return dict(zip(("platform", "accountId", "category", "hourOfWeek"), key, strict=True))


def _numbers(
    query: Query,
    histories: Sequence[History],
    is_within: Callable[[datetime], bool],
    group: _Key | None,
) -> dict[str, Any]:
    states = [
        state
        for at, key, state in _settled(query, histories)
        if is_within(at) and group in (None, key)
    ]
    attempts = [
        at for at, key in _started(query, histories) if is_within(at) and group in (None, key)
    ]
    done = [state for state in states if state.outcome is Outcome.PUBLISHED]
    failures = [state for state in states if state.outcome is Outcome.FAILED]
    user_categories = (ErrorCategory.AUTH, ErrorCategory.CONTENT_REJECTED)
    return {
        "published": len(done),
        "failed": len(failures),
        "unknown": len(states) - len(done) - len(failures),
        "userCaused": sum(state.error_category in user_categories for state in failures),
        "firstTry": sum(state.attempts == 1 for state in done),
        "savedByRetry": sum(state.attempts > 1 for state in done),
        "attempts": len(attempts),
        "successRate": len(done) / len(states) if states else None,
        "lateness": _lateness(done),
    }


def _lateness(done: Sequence[DestinationState]) -> dict[str, float] | None:
    seconds = sorted((state.lateness_ms or 0) / 1000 for state in done)
    if not seconds:
        return None
    ranks = {percent: math.ceil(len(seconds) * percent / 100) for percent in (50, 95, 99)}
    return {
        **{f"p{percent}Seconds": seconds[rank - 1] for percent, rank in ranks.items()},
        "maxSeconds": seconds[-1],
        "maxErrorPercent": 0.0,
    }
