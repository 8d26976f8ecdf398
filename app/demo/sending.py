"""Posts for the worker of a demo: on an account of each of the sandbox's behaviours, over a minute."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.db.core.database import Database
from app.demo.loading import DEMO_WORKSPACE_ID
from app.domain.account_commands import NewConnection
from app.domain.ids import AccountId, IdFactory
from app.domain.post_commands import NewPost
from app.platforms.sandbox import PLATFORM_NAME, Behaviour
from app.services.accounts import connect_account
from app.services.posts import create_post
from app.services.unit_of_work import WriteContext


@dataclass(frozen=True, slots=True)
class _Sent:
    after_seconds: int
    content: str
    behaviours: Sequence[Behaviour]


_POSTS = (
    _Sent(1, "Our new summer colours are here.", [Behaviour.SUCCEEDS]),
    _Sent(3, "Doors open at nine tomorrow.", [Behaviour.FLAKY, Behaviour.SUCCEEDS]),
    _Sent(6, "Behind the scenes of our shoot.", [Behaviour.RATE_LIMITED]),
    _Sent(9, "The long film of last week's launch.", [Behaviour.SLOW, Behaviour.SUCCEEDS]),
    _Sent(14, "Ten things you did not know about wool.", [Behaviour.TIMES_OUT]),
    _Sent(20, "A giveaway that no platform will take.", [Behaviour.REJECTS, Behaviour.SUCCEEDS]),
    _Sent(26, "We are hiring.", [Behaviour.LOSES_TOKEN]),
    _Sent(35, "Thank you for 10,000 followers.", list(Behaviour)),
    _Sent(55, "See you on Monday.", [Behaviour.SUCCEEDS, Behaviour.SLOW]),
)


async def send_demo_posts(database: Database, *, new_id: IdFactory, now: datetime) -> None:
    """New posts at every call. The accounts are made by the first, and connected again by the others."""
    accounts = {each: await _connect(database, each, now) for each in Behaviour}
    for each in _POSTS:
        wanted = NewPost(
            content=each.content,
            account_ids=[accounts[behaviour] for behaviour in each.behaviours],
            scheduled_for=now + timedelta(seconds=each.after_seconds),
            is_draft=False,
            timezone=None,
            media_ids=(),
            media=(),
            platform_content={},
            reference=None,
        )
        errand = _errand("createPost", now)
        await create_post(database, errand, wanted, None, check_quota=lambda: None, new_id=new_id)


async def _connect(database: Database, behaviour: Behaviour, now: datetime) -> AccountId:
    wanted = NewConnection(
        platform=PLATFORM_NAME,
        account_name=behaviour,
        display_name=None,
        platform_user_id=behaviour,
        platform_username=None,
        avatar_url=None,
        token_expires_at=None,
    )
    return await connect_account(database, _errand("connectAccount", now), wanted, None)


def _errand(operation: str, now: datetime) -> WriteContext:
    return WriteContext(workspace_id=DEMO_WORKSPACE_ID, actor=None, operation=operation, now=now)
