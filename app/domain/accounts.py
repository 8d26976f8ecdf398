"""Accounts: whether one can post, and its health judged from its row and recent outcomes."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from app.domain.errors import InvalidInput
from app.domain.ids import AccountId
from app.domain.validation.text import validate_text

_MAX_PLATFORM_LENGTH = 50
"""Code points of a platform name."""

_TOKEN_EXPIRY_WARNING_PERIOD = timedelta(days=7)
ACTIVITY_WINDOW = timedelta(days=7)
PERMANENT_FAILURE_WARNING_THRESHOLD = 3
"""Failures within the activity window from which the health is a warning."""

_PLATFORM = re.compile(r"[a-z0-9][a-z0-9_-]*")


class AccountPublisher(StrEnum):
    """What publishes the posts of an account: a client of the API, or an adapter of the worker."""

    EXTERNAL = "external"
    SANDBOX = "sandbox"
    BLUESKY = "bluesky"
    MASTODON = "mastodon"
    WEBHOOK = "webhook"
    THREADS = "threads"
    INSTAGRAM = "instagram"

    @property
    def platform(self) -> str | None:
        """The only platform that the publisher can publish on; None for any."""
        return _PLATFORM_BY_PUBLISHER.get(self)

    @property
    def needs_credentials(self) -> bool:
        """True if nothing is published on an account without stored credentials."""
        return self not in {AccountPublisher.EXTERNAL, AccountPublisher.SANDBOX}

    @property
    def has_shared_servers(self) -> bool:
        """True if the servers that it calls are for accounts of all workspaces, not the user's own."""
        return self.needs_credentials and self is not AccountPublisher.WEBHOOK

    @property
    def can_publish_twice(self) -> bool:
        """True if a request that is delivered late, or again, can publish a post once more."""
        return self is AccountPublisher.MASTODON


_PLATFORM_BY_PUBLISHER = {
    AccountPublisher.SANDBOX: "sandbox",
    AccountPublisher.BLUESKY: "bluesky",
    AccountPublisher.MASTODON: "mastodon",
    AccountPublisher.THREADS: "threads",
    AccountPublisher.INSTAGRAM: "instagram",
}


class LostAccessPolicy(StrEnum):
    """What happens to the queued posts of an account when its platform rejects its access."""

    FAIL = "fail"
    """They fail when they are due."""
    WAIT = "wait"
    """They wait for a reconnection."""


MAX_AUTOMATIC_DELAY = timedelta(hours=1)
"""Delay from which a post that waited is not published automatically after the reconnection."""

MAX_RECONNECTION_WAIT = timedelta(hours=24)
"""Time from the due time, or from the last manual retry, after which a waiting post fails."""


class ReadinessStatus(StrEnum):
    HEALTHY = "healthy"
    EXPIRED = "expired"
    UNHEALTHY = "unhealthy"


class HealthStatus(StrEnum):
    HEALTHY = "healthy"
    WARNING = "warning"
    BROKEN = "broken"


class HealthReason(StrEnum):
    ACCOUNT_INACTIVE = "account_inactive"
    NEEDS_RECONNECTION = "needs_reconnection"
    TOKEN_EXPIRED = "token_expired"
    TOKEN_EXPIRING_SOON = "token_expiring_soon"
    RECENT_PERMANENT_FAILURES = "recent_permanent_failures"


_BLOCKING_REASONS = {
    HealthReason.ACCOUNT_INACTIVE: (
        ReadinessStatus.UNHEALTHY,
        "The account is switched off or disconnected. Connect it again to post.",
    ),
    HealthReason.NEEDS_RECONNECTION: (
        ReadinessStatus.EXPIRED,
        "The account has no valid access to its platform. Reconnect the account to post.",
    ),
    HealthReason.TOKEN_EXPIRED: (
        ReadinessStatus.EXPIRED,
        "The account's access has expired. Reconnect the account to post.",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account on a platform, without its credentials."""

    id: AccountId
    platform: str
    publisher: AccountPublisher
    account_name: str | None = None
    display_name: str | None = None
    platform_user_id: str | None = None
    platform_username: str | None = None
    avatar_url: str | None = None
    is_active: bool
    needs_reconnection_since: datetime | None = None
    token_expires_at: datetime | None = None
    token_refreshed_at: datetime | None = None
    connected_at: datetime
    created_at: datetime
    updated_at: datetime
    on_lost_access: LostAccessPolicy = LostAccessPolicy.FAIL
    held_until: datetime | None = None
    """Last claimable time of the destinations that no publisher may claim before a manual retry.

    Set by a reconnection for which destinations waited; None before the first one.
    """

    @property
    def reconnection(self) -> "ReconnectionState":
        return ReconnectionState(
            is_active=self.is_active,
            needs_reconnection_since=self.needs_reconnection_since,
            on_lost_access=self.on_lost_access,
            held_until=self.held_until,
            connected_at=self.connected_at,
        )

    @property
    def access(self) -> "AccountAccess":
        return AccountAccess(
            is_active=self.is_active,
            needs_reconnection_since=self.needs_reconnection_since,
            token_expires_at=self.token_expires_at,
        )

    @property
    def name(self) -> str:
        """Label of the account; never empty."""
        return display_label(
            self.account_name, self.display_name, self.platform_username, self.id, self.platform
        )


@dataclass(frozen=True, slots=True)
class AccountAccess:
    """Access of an account to its platform, as stored in the account's row."""

    is_active: bool
    needs_reconnection_since: datetime | None
    token_expires_at: datetime | None

    def token_expired(self, now: datetime) -> bool:
        return self.token_expires_at is not None and self.token_expires_at <= now

    def token_expiring_soon(self, now: datetime) -> bool:
        return (
            self.token_expires_at is not None
            and now < self.token_expires_at <= now + _TOKEN_EXPIRY_WARNING_PERIOD
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconnectionState:
    """Values of an account that decide which of its queued destinations wait for a reconnection."""

    is_active: bool
    needs_reconnection_since: datetime | None
    on_lost_access: LostAccessPolicy
    held_until: datetime | None
    connected_at: datetime

    @property
    def is_awaited(self) -> bool:
        """True while due destinations wait for a reconnection instead of failing."""
        return (
            self.is_active
            and self.needs_reconnection_since is not None
            and self.on_lost_access is LostAccessPolicy.WAIT
        )

    def holds(self, claimable_at: datetime) -> bool:
        """Return whether a destination waits for a manual retry, as it was late at the reconnection."""
        return self.held_until is not None and claimable_at <= self.held_until

    def held_until_if_reconnected(self, now: datetime) -> datetime | None:
        """Return `held_until` after a reconnection now: those that were late before stay held."""
        if self.needs_reconnection_since is None or self.on_lost_access is LostAccessPolicy.FAIL:
            return self.held_until
        limit = now - MAX_AUTOMATIC_DELAY
        return limit if self.held_until is None else max(limit, self.held_until)

    def waited_after(self, time: datetime, claimable_at: datetime) -> bool:
        """Return whether a destination waited for a reconnection after a time, or still is held."""
        was_reconnected = self.on_lost_access is LostAccessPolicy.WAIT and self.connected_at > time
        return self.is_awaited or was_reconnected or self.holds(claimable_at)


@dataclass(frozen=True, slots=True)
class Readiness:
    """Ability of an account to post now, judged by its row alone so that a list needs one query."""

    status: ReadinessStatus
    can_post: bool
    message: str | None


@dataclass(frozen=True, slots=True)
class Health:
    """Health judged by row and outcomes: broken ⇔ cannot post, healthy ⇔ no reasons."""

    status: HealthStatus
    can_post: bool
    reasons: tuple[HealthReason, ...]


def check_platform(name: str, argument: str) -> None:
    """Raise InvalidInput unless the name is a valid platform name."""
    validate_text(name, argument, max_length=_MAX_PLATFORM_LENGTH)
    if not _PLATFORM.fullmatch(name):
        raise InvalidInput(
            f"{argument} must be a word of lower-case letters, digits, _ and -, such as instagram.",
            argument=argument,
        )


def check_publisher(publisher: AccountPublisher, platform: str, argument: str) -> None:
    """Raise InvalidInput unless the publisher can publish on the platform."""
    if publisher.platform not in (None, platform):
        raise InvalidInput(
            f"{argument} {publisher.name} publishes on the platform {publisher.platform} only, not on"
            f" {platform}. Choose EXTERNAL, and publish with a client of the API.",
            argument=argument,
        )


def stored_user_ids(platform: str, platform_user_id: str) -> tuple[str, ...]:
    """Return the ids under which the account of a platform user may be stored, the full one first.

    An id of Mastodon is unique within its server only, so the full one is such as 109@mastodon.example; a
    client may have stored 109.
    """
    if platform != AccountPublisher.MASTODON.platform:
        return (platform_user_id,)
    return tuple(dict.fromkeys((platform_user_id, platform_user_id.partition("@")[0])))


def default_publisher(platform: str) -> AccountPublisher:
    """Return the publisher of a new account: external, except on the sandbox, which only the worker has."""
    is_sandbox = platform == AccountPublisher.SANDBOX.platform
    return AccountPublisher.SANDBOX if is_sandbox else AccountPublisher.EXTERNAL


def display_label(
    account_name: str | None,
    display_name: str | None,
    platform_username: str | None,
    account_id: int,
    platform: str,
) -> str:
    """Return the label of an account: its best available name, so that a list never shows one without."""
    return account_name or display_name or platform_username or fallback_label(account_id, platform)


def fallback_label(account_id: int, platform: str) -> str:
    """Return the label of an account that has no names."""
    return f"{platform} account {account_id}"


def blocking_reason(access: AccountAccess, now: datetime) -> HealthReason | None:
    """Return the first reason that stops the account from posting; None if it can post."""
    reasons = _access_reasons(access, now)
    return next((reason for reason in reasons if reason in _BLOCKING_REASONS), None)


def blocking_message(reason: HealthReason) -> str:
    """Return the problem and its fix, as sentences for a person."""
    return _BLOCKING_REASONS[reason][1]


def readiness(access: AccountAccess, now: datetime) -> Readiness:
    """Judge whether the account can post, and say how to fix it if not."""
    reason = blocking_reason(access, now)
    if reason is None:
        return Readiness(ReadinessStatus.HEALTHY, can_post=True, message=None)
    status, message = _BLOCKING_REASONS[reason]
    return Readiness(status, can_post=False, message=message)


def health(access: AccountAccess, *, permanent_failures: int, now: datetime) -> Health:
    """Judge an account. `permanent_failures` counts those within the activity window."""
    reasons = _access_reasons(access, now)
    if permanent_failures >= PERMANENT_FAILURE_WARNING_THRESHOLD:
        reasons.append(HealthReason.RECENT_PERMANENT_FAILURES)
    can_post = not any(reason in _BLOCKING_REASONS for reason in reasons)
    if not can_post:
        status = HealthStatus.BROKEN
    else:
        status = HealthStatus.WARNING if reasons else HealthStatus.HEALTHY
    return Health(status, can_post, tuple(reasons))


def _access_reasons(access: AccountAccess, now: datetime) -> list[HealthReason]:
    applies_by_reason = {
        HealthReason.ACCOUNT_INACTIVE: not access.is_active,
        HealthReason.NEEDS_RECONNECTION: access.needs_reconnection_since is not None,
        HealthReason.TOKEN_EXPIRED: access.token_expired(now),
        HealthReason.TOKEN_EXPIRING_SOON: access.token_expiring_soon(now),
    }
    return [reason for reason, applies in applies_by_reason.items() if applies]
