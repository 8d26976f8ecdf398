"""Rows of circuit breakers, as the calls of a worker to a Mastodon server leave them."""

from datetime import datetime

from app.db.models import AccountBreaker, ServerBreaker
from app.domain.accounts import AccountPublisher
from app.domain.circuit_breakers import ServerFailure
from app.domain.ids import AccountId, WorkspaceId

ORIGIN = "https://social.example"


def account_breaker(
    workspace: WorkspaceId,
    account: AccountId,
    *,
    since: datetime | None,
    next_probe_at: datetime,
    last_failed_at: datetime | None = None,
    origin: str = ORIGIN,
) -> AccountBreaker:
    """The breaker of an account on a server; closed if `since` is None, the time of the first failure."""
    return AccountBreaker(
        workspace_id=workspace,
        account_id=account,
        publisher=AccountPublisher.MASTODON,
        origin=origin,
        failures=0 if since is None else 3,
        failing_since=since,
        last_failed_at=last_failed_at or since,
        is_open=since is not None,
        open_until=None if since is None else next_probe_at,
        failed_probes=0,
        failure=None if since is None else ServerFailure.NO_ANSWER,
        worker=None if since is None else "worker-1",
        is_of_several_workers=False,
    )


def server_breaker(
    *, since: datetime, next_probe_at: datetime, origin: str = ORIGIN
) -> ServerBreaker:
    """The open breaker of a server."""
    return ServerBreaker(
        publisher=AccountPublisher.MASTODON,
        origin=origin,
        failures=1,
        failing_since=since,
        last_failed_at=since,
        is_open=True,
        open_until=next_probe_at,
        failed_probes=0,
    )
