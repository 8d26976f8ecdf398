"""DataLoaders that read related rows with one statement per batch, named by result and key.

The loaders do not cache: a later mutation of the same document may change the rows.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence, Set
from datetime import datetime
from functools import cached_property
from itertools import chain
from typing import TypeVar
from uuid import UUID

from strawberry.dataloader import DataLoader

from app.db.core.database import Reader
from app.db.core.paging import Page, PageRequest
from app.db.core.statements import AnyRow
from app.db.repositories import (
    account_failures,
    accounts,
    api_keys,
    attempts,
    credentials,
    destinations,
    failure_groups,
    outages,
    outcomes,
    posts,
    webhook_pages,
)
from app.db.repositories.destination_filters import DestinationCriteria
from app.db.repositories.failure_groups import AccountFailures, RetryCounts
from app.db.repositories.outcomes import OutcomePeriod
from app.domain.accounts import ACTIVITY_WINDOW
from app.domain.ids import (
    AccountId,
    ApiKeyId,
    DeliveryId,
    DestinationId,
    FailureGroupKey,
    PostId,
    WebhookId,
)
from app.domain.outcome_statistics import OutcomeTally
from app.graphql.loading.response_limit import ResponseLimit

T = TypeVar("T")
Key = TypeVar("Key", bound=Hashable)
BatchQuery = Callable[[Reader, Sequence[Key]], Awaitable[Sequence[AnyRow]]]
_GroupQuery = Callable[
    [Reader, DestinationCriteria, Sequence[FailureGroupKey], datetime], Awaitable[list[T]]
]


class Loaders:
    """Loaders of one operation, each created on first use.

    The function of a loader must not refer to this object, which refers to the loader: only garbage
    collection would free both, and all that was loaded.
    """

    def __init__(
        self,
        reader: Reader,
        read_worker_key_times: Callable[[], Awaitable[Mapping[str, datetime]]],
        read_accounts_with_unreadable_checkpoints: Callable[
            [Sequence[AccountId], datetime], Awaitable[Set[AccountId]]
        ],
        clock: Callable[[], datetime],
        response_limit: ResponseLimit,
    ) -> None:
        self._reader = reader
        self._read_worker_key_times = read_worker_key_times
        self._read_accounts_with_unreadable_checkpoints = read_accounts_with_unreadable_checkpoints
        self._clock = clock
        self._response_limit = response_limit
        self._outcome_loaders: dict[OutcomePeriod, DataLoader[AccountId, OutcomeTally]] = {}
        self._failure_group_loaders: dict[int, FailureGroupLoaders] = {}

    @cached_property
    def posts_by_id(self) -> DataLoader[PostId, AnyRow | None]:
        return _to_one_loader(self._reader, posts.posts_by_id, "id")

    @cached_property
    def destinations_by_id(self) -> DataLoader[DestinationId, AnyRow | None]:
        return _to_one_loader(self._reader, destinations.destinations_by_id, "id")

    @cached_property
    def destinations_by_post_id(self) -> DataLoader[PostId, list[AnyRow]]:
        query = destinations.destinations_by_post_id
        return _to_many_loader(self._reader, query, "post_id", self._response_limit)

    @cached_property
    def accounts_by_id(self) -> DataLoader[AccountId, AnyRow | None]:
        return _to_one_loader(self._reader, accounts.accounts_by_id, "id")

    @cached_property
    def waits_by_account_id(self) -> DataLoader[AccountId, AnyRow | None]:
        query = outages.waits_by_account_id
        return _to_one_loader(self._reader, query, "account_id")

    @cached_property
    def credentials_by_account_id(self) -> DataLoader[AccountId, AnyRow | None]:
        query = credentials.credentials_by_account_id
        return _to_one_loader(self._reader, query, "account_id")

    @cached_property
    def worker_key_times_by_id(self) -> DataLoader[str, datetime | None]:
        read_times = self._read_worker_key_times

        async def times(key_ids: Sequence[str]) -> list[datetime | None]:
            by_id = await read_times()
            return [by_id.get(key_id) for key_id in key_ids]

        return _create_loader(times)

    @cached_property
    def has_unreadable_checkpoints_by_account_id(self) -> DataLoader[AccountId, bool]:
        read_accounts, clock = self._read_accounts_with_unreadable_checkpoints, self._clock

        async def find(ids: Sequence[AccountId]) -> list[bool]:
            found = await read_accounts(ids, clock())
            return [each in found for each in ids]

        return _create_loader(find)

    @cached_property
    def key_names_by_id(self) -> DataLoader[ApiKeyId, AnyRow | None]:
        return _to_one_loader(self._reader, api_keys.key_names_by_id, "id")

    @cached_property
    def activity_by_account_id(self) -> DataLoader[AccountId, AnyRow | None]:
        clock = self._clock

        async def activity(reader: Reader, ids: Sequence[AccountId]) -> Sequence[AnyRow]:
            return await accounts.activity_by_account_id(reader, ids, clock() - ACTIVITY_WINDOW)

        return _to_one_loader(self._reader, activity, "account_id")

    @cached_property
    def open_failures_by_account_id(self) -> DataLoader[AccountId, AnyRow | None]:
        query = account_failures.open_failures_by_account_id
        return _to_one_loader(self._reader, query, "account_id")

    @cached_property
    def unknown_count_by_account_id(self) -> DataLoader[AccountId, AnyRow | None]:
        query = account_failures.unknown_count_by_account_id
        return _to_one_loader(self._reader, query, "account_id")

    @cached_property
    def last_failures_by_account_id(self) -> DataLoader[AccountId, AnyRow | None]:
        query = account_failures.last_failures_by_account_id
        return _to_one_loader(self._reader, query, "account_id")

    def outcomes_by_account_id(self, period: OutcomePeriod) -> DataLoader[AccountId, OutcomeTally]:
        """Return the loader of a period, which all accounts of a list share."""
        reader = self._reader

        async def load(ids: list[AccountId]) -> list[OutcomeTally]:
            return await outcomes.outcomes_by_account_id(reader, ids, period)

        if period not in self._outcome_loaders:
            self._outcome_loaders[period] = _create_loader(load)
        return self._outcome_loaders[period]

    @cached_property
    def raw_by_attempt_id(self) -> DataLoader[UUID, AnyRow | None]:
        return _to_one_loader(self._reader, attempts.raw_by_attempt_id, "id")

    @cached_property
    def attempts_by_destination_id(self) -> DataLoader[DestinationId, list[AnyRow]]:
        query = attempts.attempts_by_destination_id
        return _to_many_loader(self._reader, query, "destination_id", self._response_limit)

    @cached_property
    def first_attempts_page_by_destination_id_and_size(
        self,
    ) -> DataLoader[tuple[DestinationId, int], Page]:
        reader, response_limit = self._reader, self._response_limit

        async def load(keys: list[tuple[DestinationId, int]]) -> list[Page]:
            pages: dict[tuple[DestinationId, int], Page] = {}
            for size in {size for _, size in keys}:
                ids = list(dict.fromkeys(key for key, key_size in keys if key_size == size))
                request = PageRequest(size=size)
                pages_by_id = await attempts.first_attempts_pages(reader, ids, request)
                pages |= {(key, size): page for key, page in pages_by_id.items()}
            loaded = [pages[key] for key in keys]
            response_limit.add(sum(len(page.rows) for page in loaded))
            reader.count_json(row for page in loaded for row in page.rows)
            return loaded

        return _create_loader(load)

    @cached_property
    def encrypted_secrets_by_webhook_id(self) -> DataLoader[WebhookId, AnyRow | None]:
        query = webhook_pages.encrypted_secrets_by_webhook_id
        return _to_one_loader(self._reader, query, "id")

    @cached_property
    def webhooks_by_id(self) -> DataLoader[WebhookId, AnyRow | None]:
        return _to_one_loader(self._reader, webhook_pages.webhooks_by_id, "id")

    @cached_property
    def deliveries_by_id(self) -> DataLoader[DeliveryId, AnyRow | None]:
        return _to_one_loader(self._reader, webhook_pages.deliveries_by_id, "id")

    @cached_property
    def attempts_by_delivery_id(self) -> DataLoader[DeliveryId, list[AnyRow]]:
        query = webhook_pages.attempts_by_delivery_id
        return _to_many_loader(self._reader, query, "delivery_id", self._response_limit)

    @cached_property
    def last_attempts_by_delivery_id(self) -> DataLoader[DeliveryId, AnyRow | None]:
        query = webhook_pages.last_attempts_by_delivery_id
        return _to_one_loader(self._reader, query, "delivery_id")

    @cached_property
    def failure_groups_by_key(self) -> DataLoader[FailureGroupKey, AnyRow | None]:
        clock = self._clock

        async def groups(reader: Reader, keys: Sequence[FailureGroupKey]) -> Sequence[AnyRow]:
            return await failure_groups.failure_groups_by_key(reader, keys, clock())

        return _to_one_loader(self._reader, groups, "id")

    def failure_group_counts(
        self, criteria: DestinationCriteria, now: datetime
    ) -> "FailureGroupLoaders":
        """Return the loaders of a page of groups, which have one criteria object."""
        loaders = self._failure_group_loaders.get(id(criteria))
        if loaders is None:
            loaders = FailureGroupLoaders(self._reader, criteria, now)
            self._failure_group_loaders[id(criteria)] = loaders
        return loaders


class FailureGroupLoaders:
    """Loaders of numbers of failure groups by key, in which only destinations that match a filter count."""

    def __init__(self, reader: Reader, criteria: DestinationCriteria, now: datetime) -> None:
        self._reader = reader
        self._criteria = criteria
        self._now = now

    @cached_property
    def hourly_counts_by_key(self) -> DataLoader[FailureGroupKey, list[int]]:
        return self._loader(failure_groups.hourly_counts)

    @cached_property
    def accounts_by_key(self) -> DataLoader[FailureGroupKey, list[AccountFailures]]:
        return self._loader(failure_groups.failures_by_account)

    @cached_property
    def retry_counts_by_key(self) -> DataLoader[FailureGroupKey, RetryCounts]:
        return self._loader(failure_groups.retry_counts)

    def _loader(self, query: _GroupQuery[T]) -> DataLoader[FailureGroupKey, T]:
        reader, criteria, now = self._reader, self._criteria, self._now

        async def load(keys: list[FailureGroupKey]) -> list[T]:
            return await query(reader, criteria, keys, now)

        return _create_loader(load)


_MAX_BATCH_SIZE = 2_000
"""Keys of one statement. The time to cancel a batch grows with the square of its keys."""


def _create_loader(load: Callable[[list[Key]], Awaitable[Sequence[T]]]) -> DataLoader[Key, T]:
    return DataLoader(load, max_batch_size=_MAX_BATCH_SIZE, cache=False)


def _to_one_loader(
    reader: Reader, query: BatchQuery[Key], key_column: str
) -> DataLoader[Key, AnyRow | None]:
    """Create a loader of at most one row for each key."""

    async def load(keys: list[Key]) -> list[AnyRow | None]:
        rows = await query(reader, list(dict.fromkeys(keys)))
        row_by_key = {getattr(row, key_column): row for row in rows}
        loaded = [row_by_key.get(key) for key in keys]
        reader.count_json(row for row in loaded if row is not None)
        return loaded

    return _create_loader(load)


def _to_many_loader(
    reader: Reader,
    query: BatchQuery[Key],
    key_column: str,
    response_limit: ResponseLimit,
) -> DataLoader[Key, list[AnyRow]]:
    """Create a loader of any number of rows for each key, in the order of the query."""

    async def load(keys: list[Key]) -> list[list[AnyRow]]:
        rows_by_key: defaultdict[Key, list[AnyRow]] = defaultdict(list)
        for row in await query(reader, list(dict.fromkeys(keys))):
            rows_by_key[getattr(row, key_column)].append(row)
        loaded = [rows_by_key[key] for key in keys]
        response_limit.add(sum(map(len, loaded)))
        reader.count_json(chain.from_iterable(loaded))
        return loaded

    return _create_loader(load)
