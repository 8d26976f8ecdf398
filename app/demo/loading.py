"""Stores the demo workspace: its accounts and posts once, its API key on every call."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from random import Random
from uuid import uuid5

from app.db.core.database import Database
from app.db.repositories import api_keys, workspaces
from app.db.repositories.attempts import insert_histories
from app.demo.accounts import NEXT_ACCOUNT_ID, DemoAccount, demo_accounts
from app.demo.history import history
from app.demo.scenarios import scenarios
from app.demo.simulation import PostHistory, Simulator
from app.domain.account_commands import NewAccount
from app.domain.api_keys import DEFAULT_SCOPES, key_from_token
from app.domain.events import duplicate_event
from app.domain.ids import DEMO_WORKSPACE_ID, AccountId, ApiKeyId, IdFactory, WorkspaceKind
from app.domain.post_commands import NewPost
from app.domain.times import truncate_to_ms
from app.platforms.sandbox import PLATFORM_NAME, Behaviour
from app.services.accounts import connect_account
from app.services.posts import create_post
from app.services.unit_of_work import UnitOfWork, WriteContext, run_in_transaction
from app.settings import SettingsError

_SEED = 1
_WORKSPACE_NAME = "Demo"
_KEY_NAME = "demo"


class DemoRefused(Exception):
    """Database that cannot store the demo data; the message is a sentence for the operator."""


async def load_demo(database: Database, *, token: str, api_key_prefix: str, now: datetime) -> None:
    """Create the demo workspace if necessary, and make `token` its only valid demo key.

    The first call stores the data, with times relative to its `now`. Several processes may call this
    concurrently. Raises DemoRefused if another workspace has the name of the demo workspace, and
    SettingsError if the token belongs to another workspace.
    """
    key = key_from_token(token, api_key_prefix)
    key_id = ApiKeyId(uuid5(DEMO_WORKSPACE_ID, key.digest.hex()))

    async def work(uow: UnitOfWork) -> None:
        if await workspaces.insert_workspace(
            uow.session,
            name=_WORKSPACE_NAME,
            kind=WorkspaceKind.LOCAL,
            mirror_of=None,
            next_account_id=NEXT_ACCOUNT_ID,
            now=now,
        ):
            await _store(uow, *demo_data(now))
        elif not await workspaces.lock_workspace(uow.session):
            raise DemoRefused(
                f"The demo data needs a workspace named {_WORKSPACE_NAME!r}, but another workspace has"
                " that name. Start without --demo, or use another DATABASE_URL."
            )
        if not await api_keys.upsert_key(
            uow.session,
            key_id,
            key,
            name=_KEY_NAME,
            scopes=DEFAULT_SCOPES,
            expires_at=None,
            now=now,
        ):
            raise SettingsError("DEMO_API_KEY is the key of another workspace. Choose another key.")
        await api_keys.revoke_other_keys(uow.session, key, name=_KEY_NAME, now=now)

    await run_in_transaction(database, _write_context("loadDemo", now), work)


def demo_data(now: datetime) -> tuple[Sequence[DemoAccount], Sequence[PostHistory]]:
    """Return accounts and posts of the demo, posts by creation; the same `now` gives the same data."""
    now = truncate_to_ms(now)
    accounts = demo_accounts(now)
    simulator = Simulator(
        now,
        {account.account.id: account for account in accounts},
        Random(_SEED),  # noqa: S311 - the data has to be reproducible
    )
    histories = [*scenarios(simulator), *history(simulator)]
    return accounts, sorted(histories, key=lambda entry: entry.post.created_at)


async def _store(
    uow: UnitOfWork, accounts: Sequence[DemoAccount], histories: Sequence[PostHistory]
) -> None:
    await uow.save_accounts([account.account for account in accounts])
    await uow.save_posts([history.post for history in histories])
    attempts = {key: value for history in histories for key, value in history.attempts.items()}
    evidence = {key: value for history in histories for key, value in history.evidence.items()}
    destinations = [each for history in histories for each in history.post.destinations]
    await insert_histories(uow.session, destinations, attempts, evidence)
    for stored in histories:
        for destination_id, reports in stored.evidence.items():
            for report in reports:
                if not report.counted:
                    destination = stored.post.destination(destination_id)
                    uow.add_event(duplicate_event(stored.post.id, destination, report))


_SANDBOX_POSTS: Sequence[tuple[int, str, Sequence[Behaviour]]] = (
    (1, "Our new summer colours are here.", [Behaviour.SUCCEEDS]),
    (3, "The shop opens at nine tomorrow.", [Behaviour.FLAKY, Behaviour.SUCCEEDS]),
    (6, "Behind the scenes of our shoot.", [Behaviour.RATE_LIMITED]),
    (9, "The long film of last week's launch.", [Behaviour.SLOW, Behaviour.SUCCEEDS]),
    (14, "Ten things you did not know about wool.", [Behaviour.TIMES_OUT]),
    (20, "A giveaway that no platform will take.", [Behaviour.REJECTS, Behaviour.SUCCEEDS]),
    (26, "We are hiring.", [Behaviour.LOSES_TOKEN]),
    (35, "Thank you for 10,000 followers.", list(Behaviour)),
    (55, "See you on Monday.", [Behaviour.SUCCEEDS, Behaviour.SLOW]),
)
"""Seconds until the post is due, text, and the sandbox accounts that it is on."""


async def send_demo_posts(database: Database, *, new_id: IdFactory, now: datetime) -> None:
    """Create posts that a worker publishes through the sandbox platform within the next minute.

    The first call connects one account for each behaviour of the sandbox; later calls reconnect them.
    """
    accounts = {
        behaviour: await _connect_sandbox_account(database, behaviour, now)
        for behaviour in Behaviour
    }
    for seconds, content, behaviours in _SANDBOX_POSTS:
        new_post = NewPost(
            content=content,
            account_ids=[accounts[behaviour] for behaviour in behaviours],
            scheduled_for=now + timedelta(seconds=seconds),
            is_draft=False,
            timezone=None,
            media_ids=(),
            media=(),
            platform_content={},
            reference=None,
        )
        await create_post(
            database,
            _write_context("createPost", now),
            new_post,
            None,
            charge_quota=lambda: None,
            new_id=new_id,
        )


async def _connect_sandbox_account(
    database: Database, behaviour: Behaviour, now: datetime
) -> AccountId:
    connection = NewAccount(
        platform=PLATFORM_NAME,
        account_name=behaviour,
        display_name=None,
        platform_user_id=behaviour,
        platform_username=None,
        avatar_url=None,
        token_expires_at=None,
        publisher=None,
        on_lost_access=None,
    )
    write_context = _write_context("connectAccount", now)
    return await connect_account(database, write_context, connection, None, credentials=None)


def _write_context(operation: str, now: datetime) -> WriteContext:
    return WriteContext.without_actor(DEMO_WORKSPACE_ID, operation, now)
