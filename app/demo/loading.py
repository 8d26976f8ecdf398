"""Loading the demo workspace: its data once, its key at every call. No content."""

from datetime import datetime
from random import Random
from uuid import UUID, uuid5

from app.db.core.database import Database, WriteSession
from app.db.repositories import api_keys, workspaces
from app.db.repositories.demo import DemoRows, insert_demo_rows
from app.demo.accounts import NEXT_ACCOUNT_ID, demo_accounts
from app.demo.contents import posts_with_special_contents
from app.demo.example import documented_example
from app.demo.finished import finished_posts
from app.demo.history import history
from app.demo.rows import demo_rows
from app.demo.scene import Scene
from app.demo.unfinished import unfinished_posts
from app.domain.api_keys import DEFAULT_SCOPES, key_from_token
from app.domain.ids import ApiKeyId, WorkspaceId
from app.domain.times import truncate_to_ms
from app.domain.workspaces import WorkspaceKind
from app.settings import SettingsError

DEMO_WORKSPACE_ID = WorkspaceId(UUID("de300000-0000-4000-8000-000000000de3"))

_SEED = 2280
_WORKSPACE_NAME = "Demo"
_KEY_NAME = "demo"


class DemoRefused(Exception):
    """This database cannot have the demo data; the message is a sentence for the operator."""


async def load_demo(database: Database, *, token: str, key_prefix: str, now: datetime) -> None:
    """Make sure that the demo workspace is there, and that `token` is its one working demo key.

    The data is written by the first call and is relative to its `now`; calls may run at once, in
    several processes. DemoRefused if another workspace has the name of the demo's, SettingsError if
    the token is another workspace's.
    """
    key = key_from_token(token, key_prefix)
    key_id = ApiKeyId(uuid5(DEMO_WORKSPACE_ID, key.digest.hex()))

    async def work(session: WriteSession) -> None:
        if await workspaces.insert_workspace(
            session,
            DEMO_WORKSPACE_ID,
            name=_WORKSPACE_NAME,
            kind=WorkspaceKind.LOCAL,
            mirror_of=None,
            next_account_id=NEXT_ACCOUNT_ID,
            now=now,
        ):
            await insert_demo_rows(session, demo_data(now))
        elif not await workspaces.lock_workspace(session, DEMO_WORKSPACE_ID):
            raise DemoRefused(
                f"The demo data needs a workspace named {_WORKSPACE_NAME!r}, and there is another"
                " one of that name. Start without --demo, or on another DATABASE_URL."
            )
        if not await api_keys.upsert_key(
            session,
            DEMO_WORKSPACE_ID,
            key_id,
            key,
            name=_KEY_NAME,
            scopes=DEFAULT_SCOPES,
            now=now,
        ):
            raise SettingsError("DEMO_API_KEY is the key of another workspace. Choose another key.")
        await api_keys.revoke_other_keys(session, DEMO_WORKSPACE_ID, key, name=_KEY_NAME, now=now)

    await database.write(work)


def demo_data(now: datetime) -> DemoRows:
    """All rows of the demo workspace as of `now`; the same instant gives the same rows."""
    now = truncate_to_ms(now)
    rng = Random(_SEED)  # noqa: S311 - it has to be predictable
    accounts = demo_accounts(now)
    scene = Scene(now, {account.id: account for account in accounts}, rng)
    posts = (
        documented_example(),
        *unfinished_posts(scene),
        *finished_posts(scene),
        *posts_with_special_contents(scene),
        *history(scene),
    )
    return demo_rows(rng, DEMO_WORKSPACE_ID, accounts, posts)
