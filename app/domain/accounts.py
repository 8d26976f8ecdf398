"""An account; whether it can post and what is wrong with it, from its own row and its recent outcomes."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from app.domain.ids import AccountId

TOKEN_EXPIRY_WARNING_PERIOD = timedelta(days=7)
ACTIVITY_WINDOW = timedelta(days=7)
PERMANENT_FAILURE_WARNING_THRESHOLD = 3
"""So many within the activity window are a warning."""


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
        "The platform refused the account's access. Reconnect the account to post.",
    ),
    HealthReason.TOKEN_EXPIRED: (
        ReadinessStatus.EXPIRED,
        "The account's access has expired. Reconnect the account to post.",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Everything that is kept of an account; no credentials."""

    id: AccountId
    platform: str
    account_name: str | None
    display_name: str | None
    platform_user_id: str | None
    platform_username: str | None
    avatar_url: str | None
    is_active: bool
    needs_reconnection_since: datetime | None
    token_expires_at: datetime | None
    token_refreshed_at: datetime | None
    connected_at: datetime
    created_at: datetime
    updated_at: datetime

    @property
    def connection(self) -> "Connection":
        return Connection(
            is_active=self.is_active,
            needs_reconnection_since=self.needs_reconnection_since,
            token_expires_at=self.token_expires_at,
        )

    @property
    def name(self) -> str:
        """What people are shown."""
        return display_label(
            self.account_name, self.display_name, self.platform_username, self.id, self.platform
        )


@dataclass(frozen=True, slots=True)
class Connection:
    """What the account's own row says about its access to the platform."""

    is_active: bool
    needs_reconnection_since: datetime | None
    token_expires_at: datetime | None

    def token_expired(self, now: datetime) -> bool:
        return self.token_expires_at is not None and self.token_expires_at <= now

    def token_expiring_soon(self, now: datetime) -> bool:
        return (
            self.token_expires_at is not None
            and now < self.token_expires_at <= now + TOKEN_EXPIRY_WARNING_PERIOD
        )


@dataclass(frozen=True, slots=True)
class Readiness:
    """Can the account post now? Knows the row alone, so a list of accounts stays one query."""

    status: ReadinessStatus
    can_post: bool
    message: str | None


@dataclass(frozen=True, slots=True)
class Health:
    """The verdict over row and outcomes: broken ⇔ cannot post, healthy ⇔ no reasons."""

    status: HealthStatus
    can_post: bool
    reasons: tuple[HealthReason, ...]


def display_label(
    account_name: str | None,
    display_name: str | None,
    platform_username: str | None,
    account_id: int,
    platform: str,
) -> str:
    """The best name there is, so that a list never shows an account without one."""
    return account_name or display_name or platform_username or fallback_label(account_id, platform)


def fallback_label(account_id: int, platform: str) -> str:
    """What an account is called of which only the number is known."""
    return f"{platform} account {account_id}"


def blocking_reason(connection: Connection, now: datetime) -> HealthReason | None:
    """The first thing that stops the account from posting, or none."""
    reasons = _connection_reasons(connection, now)
    return next((reason for reason in reasons if reason in _BLOCKING_REASONS), None)


def blocking_message(reason: HealthReason) -> str:
    """What somebody can do about a reason that stops an account from posting, as a sentence."""
    return _BLOCKING_REASONS[reason][1]


def readiness(connection: Connection, now: datetime) -> Readiness:
    """Whether the account can post, and what to do if not."""
    reason = blocking_reason(connection, now)
    if reason is None:
        return Readiness(ReadinessStatus.HEALTHY, can_post=True, message=None)
    status, message = _BLOCKING_REASONS[reason]
    return Readiness(status, can_post=False, message=message)


def health(connection: Connection, *, permanent_failures: int, now: datetime) -> Health:
    """Judge an account; `permanent_failures` counts those of the last seven days."""
    reasons = _connection_reasons(connection, now)
    if permanent_failures >= PERMANENT_FAILURE_WARNING_THRESHOLD:
        reasons.append(HealthReason.RECENT_PERMANENT_FAILURES)
    can_post = not any(reason in _BLOCKING_REASONS for reason in reasons)
    if not can_post:
        status = HealthStatus.BROKEN
    else:
        status = HealthStatus.WARNING if reasons else HealthStatus.HEALTHY
    return Health(status, can_post, tuple(reasons))


def _connection_reasons(connection: Connection, now: datetime) -> list[HealthReason]:
    found = {
        HealthReason.ACCOUNT_INACTIVE: not connection.is_active,
        HealthReason.NEEDS_RECONNECTION: connection.needs_reconnection_since is not None,
        HealthReason.TOKEN_EXPIRED: connection.token_expired(now),
        HealthReason.TOKEN_EXPIRING_SOON: connection.token_expiring_soon(now),
    }
    return [reason for reason, holds in found.items() if holds]
