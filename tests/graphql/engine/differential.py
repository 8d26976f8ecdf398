"""Compares the fast path with graphql-core by random operations on partly corrupted rows.

Long run: python -m tests.graphql.engine.differential --cases 20000
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Mapping, MutableMapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn, cast
from uuid import UUID

import hypothesis
import structlog
from graphql import ExecutionResult
from graphql.execution.values import VariableValues
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from app.db.core.database import Database
from app.db.migrations import migrate
from app.db.repositories.events import read_events
from app.domain.api_keys import Scope
from app.domain.destinations import ErrorCategory, Outcome
from app.domain.events import (
    FEED_LIST_NAME,
    FEED_START,
    Event,
    EventFilter,
    EventKind,
    StoredEvent,
    encode_position,
)
from app.domain.ids import (
    AccountId,
    ApiKeyId,
    DestinationId,
    NodeKind,
    PostId,
    WorkspaceId,
    WorkspaceKind,
    encode_node_id,
)
from app.domain.outbound_rules import OutboundRules
from app.graphql.engine.errors import OperationResult, build_result
from app.graphql.engine.executable_schema import (
    OperationRejected,
    Schema,
    create_schema,
)
from app.graphql.engine.prepared_operation import Document, PreparedOperation
from app.graphql.loading.response_limit import ResponseLimit
from app.graphql.schema.context import AppState, Context
from app.graphql.schema.subscription import PayloadBuilder, PendingEvent
from app.graphql.service import QUERY_ONLY, SUBSCRIPTION_ONLY
from app.http.request import ApiRequest
from app.outbound.client import OutboundClient
from app.services.api_keys import Viewer
from app.services.board_counts import BoardCounter
from app.services.change_feed import ChangeFeed
from app.services.credentials import CredentialVerifier
from app.services.mastodon_authorization import MastodonAuthorizer
from app.services.outages import OutageReader
from app.services.retry_policies import load_retry_policies
from app.services.secret_cipher import SecretCipher
from app.services.webhooks import WebhookService
from app.settings import GraphQLLimits
from tests.db.repositories.event_rows import append_test_events
from tests.factories import (
    NOW,
    add_account,
    add_attempt,
    add_post,
    add_workspace,
    claimed,
    draft,
    failed,
    published,
    queued,
    started,
    waiting_for_retry,
)
from tests.graphql.engine.corrupting_driver import ColumnCorruption, CorruptingDriver, corruptions
from tests.graphql.engine.random_queries import QueryCase, query_cases, subscription_cases
from tests.graphql.engine.responses import Response, assert_same_response
from tests.http.asgi import make_rate_limits
from tests.webhook_rows import (
    add_delivery,
    add_webhook,
    delivered,
    disabled_webhook,
    given_up,
    pending,
    retrying,
)

LIMITS = GraphQLLimits(
    depth=30, tokens=20_000, fields=5000, aliases=500, root_fields=100, directives=500, nodes=20_000
)
FAST_SCHEMA, REFERENCE_SCHEMA = (
    create_schema(LIMITS, use_fast_path=True),
    create_schema(LIMITS, use_fast_path=False),
)
OUTBOUND_CLIENT = OutboundClient(OutboundRules())
LIST_ENTRIES = 300
"""Low, so that some queries reach the limit."""

READER = (Scope.READ, Scope.ADMIN)
POSTS = [UUID(int=number) for number in range(1, 9)]
DESTINATIONS = [UUID(int=number) for number in range(101, 118)]
WEBHOOK, OTHER_WEBHOOK, *DELIVERIES = [UUID(int=number) for number in range(201, 208)]
TEXTS = ("", "sale", "instagram", "x", "2026-04-15T15:00:00Z")

VALUES: Mapping[str, Sequence[object]] = {
    "Int": (1, 1, 2, 2, 3, 5, 0, 101),
    "Boolean": (True, False),
    "String": TEXTS,
    "DateTime": ("2026-04-15T15:00:00Z", "2026-04-15T14:59:59.999Z", "2026-05-01T00:00:00Z"),
    "JSON": (
        {"url": "https://example.com/a.jpg"},
        {"url": "nope", "altText": "A"},
        {"instagram": {"content": "B", "settings": {"labels": ["C", 1, True, None]}}},
        {"mastodn": {}},
        "sale",
    ),
    "UUID": [str(post_id) for post_id in (*POSTS, WEBHOOK, UUID(int=999))],
    "ID": [
        *(encode_node_id(NodeKind.POST, post_id) for post_id in POSTS[:4]),
        *(encode_node_id(NodeKind.DESTINATION, id_) for id_ in DESTINATIONS[:4]),
        *(encode_node_id(NodeKind.ACCOUNT, number) for number in (1, 2, 3, 99)),
        encode_node_id(NodeKind.WEBHOOK, WEBHOOK),
        *(encode_node_id(NodeKind.WEBHOOK_DELIVERY, id_) for id_ in DELIVERIES[:2]),
        "nope",
    ],
}


@dataclass(frozen=True, slots=True)
class DifferentialBench:
    """A database with some rows, and the driver that corrupts them."""

    database: Database
    corrupting_driver: CorruptingDriver
    workspace: WorkspaceId

    async def compare(
        self,
        case: QueryCase,
        corruptions: Sequence[ColumnCorruption] = (),
        scopes: Sequence[Scope] = READER,
    ) -> None:
        """Raise AssertionError if the responses differ, except in racing errors below a null."""
        self.corrupting_driver.corruptions = corruptions
        expected = await self._execute(REFERENCE_SCHEMA, case, scopes)
        for _ in ("first", "cached"):
            actual = await self._execute(FAST_SCHEMA, case, scopes)
            _compare([actual], [expected], is_corrupted=bool(corruptions))

    async def compare_events(
        self, case: QueryCase, corruptions: Sequence[ColumnCorruption] = ()
    ) -> None:
        """Raise AssertionError if any event of the workspace has a different response."""
        expected = await self._execute_events(REFERENCE_SCHEMA, case, corruptions)
        actual = await self._execute_events(FAST_SCHEMA, case, corruptions)
        _compare(actual, expected, is_corrupted=bool(corruptions))

    async def compare_concurrently(self, cases: Sequence[QueryCase], *, copies: int) -> None:
        """Raise AssertionError if a result differs when copies of all cases run at the same time."""
        scopes = READER
        expected = [await self._execute(REFERENCE_SCHEMA, case, scopes) for case in cases]
        for _ in ("first", "cached"):
            executions = [self._execute(FAST_SCHEMA, case, scopes) for case in [*cases] * copies]
            _compare(await asyncio.gather(*executions), expected * copies, is_corrupted=False)

    async def _execute(
        self, schema: Schema, case: QueryCase, scopes: Sequence[Scope]
    ) -> Response | None:
        context = self.context(scopes)
        return _response(context, await run_query(schema, case.document, case.variables, context))

    async def _execute_events(
        self, schema: Schema, case: QueryCase, corruptions: Sequence[ColumnCorruption]
    ) -> Sequence[Response | None]:
        """Return the responses to all events, also to those that the subscription would not receive."""
        self.corrupting_driver.corruptions = ()
        events = await self.events()
        try:
            subscription = await self.subscribe(schema, case.document, case.variables)
        except OperationRejected as rejected:
            return [Response(None, [{"message": error.message} for error in rejected.errors])]
        self.corrupting_driver.corruptions = corruptions
        responses: list[Response | None] = []
        for event in events:
            context = subscription.context.for_next_event()
            result = await subscription.execute(event, context)
            if result is not None:
                responses.append(_response(context, result))
        return responses

    async def events(self) -> Sequence[StoredEvent]:
        reader = self.database.reader(self.workspace)
        return (await read_events(reader, FEED_START, EventFilter(), limit=100)).events

    async def subscribe(
        self, schema: Schema, document: str, variables: Mapping[str, object]
    ) -> "StartedSubscription":
        """Start a subscription after `$after`, whose first event must exist; raises OperationRejected."""
        context = self.context()
        after = encode_position(context.cursor_codec(FEED_LIST_NAME), FEED_START)
        operation, coerced = await schema.prepare(
            Document(document, schema.limits),
            {**variables, "after": after},
            context,
            None,
            SUBSCRIPTION_ONLY,
        )
        stream = await operation.subscribe(context, coerced)
        assert not isinstance(stream, ExecutionResult), stream.errors
        async with aclosing(cast("AsyncGenerator[PendingEvent, None]", stream)) as pending_events:
            build_payload = (await anext(pending_events)).build_payload
        return StartedSubscription(operation, coerced, context, build_payload)

    def context(self, scopes: Sequence[Scope] = READER) -> Context:
        return Context(
            viewer=Viewer(
                key_id=ApiKeyId(UUID(int=1)),
                key_name="a key",
                display_prefix="pr_1",
                scopes=tuple(scopes),
                created_at=NOW,
                expires_at=None,
                last_used_at=None,
                workspace_id=self.workspace,
                workspace_name="acme",
                workspace_kind=WorkspaceKind.LOCAL,
            ),
            reader=self.database.reader(self.workspace),
            app_state=AppState(
                database=self.database,
                clock=lambda: NOW,
                new_id=lambda: UUID(int=0),
                random=lambda: 0.5,
                retry_policies=load_retry_policies(None),
                change_feed=ChangeFeed(self.database),
                board_counter=BoardCounter(self.database, lambda: NOW, time.monotonic),
                outage_reader=OutageReader(self.database, lambda: NOW, time.monotonic),
                started_at=NOW,
                changes_retention=timedelta(days=30),
                rate_limits=make_rate_limits(),
                webhooks=WebhookService(
                    database=self.database,
                    cipher=SecretCipher(()),
                    rules=OutboundRules(),
                    client=OUTBOUND_CLIENT,
                    new_id=lambda: UUID(int=0),
                    random_bytes=bytes,
                    clock=lambda: NOW,
                    monotonic=time.monotonic,
                ),
                cipher=SecretCipher([]),
                credential_verifier=CredentialVerifier({}, files=None, exchange_code=None),
                mastodon_authorizer=MastodonAuthorizer(
                    OUTBOUND_CLIENT, SecretCipher(()), lambda: NOW
                ),
                max_wait=timedelta(0),
                signing_key=bytes(16),
            ),
            request=ApiRequest("0", None, None),
            response_limit=ResponseLimit(LIST_ENTRIES, None),
            max_argument_values=100,
        )


@dataclass(frozen=True, slots=True)
class StartedSubscription:
    """A subscription without its stream of events."""

    operation: PreparedOperation
    variables: VariableValues
    context: Context
    build_payload: PayloadBuilder

    async def execute(self, event: StoredEvent, context: Context) -> OperationResult | None:
        """Return the response to an event; None if the subscription skips it."""
        payload = await self.build_payload(event, context)
        if payload is None:
            return None
        return await self.operation.execute_event(payload, context, self.variables)


def _response(context: Context, result: OperationResult) -> Response | None:
    """Return the response; None if it is refused for its size."""
    return None if context.response_limit.error else Response(result.data, result.errors)


def _compare(
    actual: Sequence[Response | None], expected: Sequence[Response | None], *, is_corrupted: bool
) -> None:
    # Both share the lookahead, so a column that it lacks would be missing in both results.
    # Only an internal error has a request id.
    assert is_corrupted or "'requestId'" not in repr(expected), (
        "a valid row causes an internal error"
    )
    assert len(actual) == len(expected)
    for actual_response, expected_response in zip(actual, expected, strict=True):
        assert_same_response(actual_response, expected_response)


async def add_posts_in_all_states(database: Database) -> WorkspaceId:
    """Add posts in all states on a few accounts, with some columns null, and a few events."""
    workspace = await add_workspace(database)
    await add_account(database, workspace)
    await add_account(database, workspace, platform="youtube", is_active=False)
    await add_account(database, workspace, needs_reconnection_since=NOW, token_expires_at=NOW)
    states = (published(), failed(), queued(), started(), claimed(), waiting_for_retry())
    ids = iter(DESTINATIONS)
    for number, post_id in enumerate(POSTS):
        count = number % 4
        destinations = {
            account + 1: states[(number + account) % len(states)] for account in range(count)
        }
        is_draft = number == 6
        post = await add_post(
            database,
            workspace,
            {account: draft() if is_draft else state for account, state in destinations.items()},  # type: ignore[misc]
            id=post_id,
            destination_ids=[next(ids) for _ in destinations],
            content=f"Sale {number} \N{PARTY POPPER}",
            is_draft=is_draft,
            media=[{"url": "https://example.com/a.jpg"}] if number % 2 else (),
            media_ids=["a", "b"] if number % 3 else (),
            platform_content={"youtube": {"title": 'quoted "'}} if number % 2 else {},
            reference=f"reference-{number}" if number % 2 else None,
            created_at=NOW - timedelta(hours=number // 2),
        )
        for destination in post.destinations[:2]:
            await add_attempt(
                database,
                workspace,
                destination,
                outcome=Outcome.FAILED if number % 2 else Outcome.PUBLISHED,
                category=ErrorCategory.RATE_LIMITED,
                http_status=429,
                retry_after=timedelta(seconds=1.5),
            )
    events = [
        Event(kind=EventKind.ACCOUNT_CHANGED, account_id=AccountId(2), values={"is_active": False}),
        *(Event(kind=EventKind.POST_CHANGED, post_id=PostId(id), values={}) for id in POSTS[1:4]),
        *(
            Event(
                kind=EventKind.DESTINATION_CHANGED,
                post_id=PostId(POSTS[3]),
                destination_id=DestinationId(id),
                account_id=AccountId(1),
                values={"status": "published"},
            )
            for id in (*DESTINATIONS[:4], UUID(int=999))
        ),
    ]
    await append_test_events(database, workspace, events)
    await _add_webhooks(database, workspace)
    return workspace


async def _add_webhooks(database: Database, workspace: WorkspaceId) -> None:
    """Add two webhooks, and deliveries to one of them in all states."""
    await add_webhook(database, workspace, id=OTHER_WEBHOOK, **disabled_webhook())
    await add_webhook(
        database,
        workspace,
        id=WEBHOOK,
        platforms=["instagram"],
        account_ids=[1],
        encrypted_previous_secret="e",
        previous_secret_expires_at=NOW,
    )
    states = (delivered(), given_up(), retrying(), pending(), delivered(attempts=3))
    for number, (delivery_id, state) in enumerate(zip(DELIVERIES, states, strict=True)):
        await add_delivery(
            database,
            workspace,
            WEBHOOK,
            state,
            id=delivery_id,
            event_seq=number + 1,
            post_id=POSTS[0] if number else None,
        )


def hypothesis_settings(case_count: int, **options: Any) -> settings:
    return settings(
        max_examples=case_count,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
        **options,
    )


CASES = query_cases(REFERENCE_SCHEMA.graphql_schema, VALUES)
SUBSCRIPTION_CASES = subscription_cases(
    REFERENCE_SCHEMA.graphql_schema,
    VALUES,
    (
        "changes(after: $after)",
        f'postChanged(after: $after, postId: "{POSTS[3]}")',
        "destinationChanged(after: $after)",
        "destinationChanged(after: $after, filter: {status: [PUBLISHED, FAILED]})",
    ),
)
SCOPES = st.sampled_from([READER] * 15 + [(Scope.READ,), ()])


def _drop(_logger: object, _method: str, _entry: MutableMapping[str, Any]) -> NoReturn:
    raise structlog.DropEvent


async def run_query(
    schema: Schema, document: str, variables: Mapping[str, object], context: Context
) -> OperationResult:
    """Execute a query; a rejection is returned as its errors."""
    try:
        operation, coerced = await schema.prepare(
            Document(document, schema.limits), variables, context, None, QUERY_ONLY
        )
    except OperationRejected as rejected:
        result = ExecutionResult(None, rejected.errors)
        return build_result(schema.graphql_schema, context, result)
    return await operation.execute(context, coerced)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    # Corrupted rows would log an error each.
    structlog.configure(processors=[_drop])
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner() as runner:
        corrupting_driver = CorruptingDriver()
        url = f"sqlite+aiosqlite:///{Path(folder) / 'post-results.db'}"
        database = Database(url, wrap_driver=corrupting_driver)
        runner.run(migrate(database, now=NOW, random_bytes=bytes))
        bench = DifferentialBench(
            database, corrupting_driver, runner.run(add_posts_in_all_states(database))
        )

        @hypothesis.seed(options.seed)
        @hypothesis_settings(options.cases, phases=(Phase.generate,))
        @given(CASES, SUBSCRIPTION_CASES, corruptions, SCOPES)
        def compare(
            query: QueryCase,
            subscription: QueryCase,
            corruptions: list[ColumnCorruption],
            scopes: tuple[Scope, ...],
        ) -> None:
            runner.run(bench.compare(query, corruptions, scopes))
            runner.run(bench.compare_events(subscription, corruptions))

        try:
            compare()
        finally:
            runner.run(database.__aexit__())
    sys.stdout.write(f"{options.cases:,} cases without a difference.\n")


if __name__ == "__main__":
    main()
