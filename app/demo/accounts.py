"""The demo accounts: thirteen fictitious accounts on eight platforms."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from app.demo.contents import ACCESS_REVOKED, PERMISSION_MISSING, TOKEN_EXPIRED
from app.domain.accounts import Account, AccountPublisher
from app.domain.attempts import Failure
from app.domain.ids import AccountId

INSTAGRAM = AccountId(2280)
FACEBOOK = AccountId(2281)
X = AccountId(2282)
THREADS = AccountId(2283)
YOUTUBE_EXPIRING = AccountId(2284)
LINKEDIN_EXPIRED = AccountId(2285)
LINKEDIN = AccountId(2286)
TIKTOK_REJECTED = AccountId(2287)
PINTEREST = AccountId(2288)
INSTAGRAM_EXPIRED = AccountId(2289)
FACEBOOK_DISCONNECTED = AccountId(2290)
X_UNNAMED = AccountId(2291)
TIKTOK_REFUSED = AccountId(2292)

NEXT_ACCOUNT_ID = TIKTOK_REFUSED + 1

ALWAYS_HEALTHY = (INSTAGRAM, FACEBOOK)
"""The first two accounts: their access never ends, and they have no recent permanent failures."""

LINKEDIN_ACCESS_LOST_AT = datetime(2026, 4, 15, 14, 31, 47, tzinfo=UTC)
"""Time at which LinkedIn rejected the expired token in the documented example."""

TIKTOK_ACCESS_LOST_AGE = timedelta(days=2, hours=3)
"""Time between TikTok's first rejection of the account's access and the load of the demo."""

_AVATARS = "https://media.example.com/avatars"
_FIRST_PLATFORM_USER_ID = 17_841_400_000_000_000


@dataclass(frozen=True, slots=True)
class DemoAccount:
    """An account, and the period during which the platform rejects its posts."""

    account: Account
    access_lost_at: datetime | None
    access_regained_at: datetime | None
    access_failure: Failure
    """Failure of an attempt while the account has no access."""

    def time_without_access(self, at: datetime) -> timedelta | None:
        """Return the time since the account lost its access; None while it has access."""
        lost, regained = self.access_lost_at, self.access_regained_at
        if lost is None or at < lost or (regained is not None and at >= regained):
            return None
        return at - lost


def demo_account(
    account_id: AccountId,
    platform: str,
    account_name: str | None,
    platform_username: str,
    *,
    created_at: datetime,
    token_lifetime: tuple[datetime, datetime] | tuple[None, None] = (None, None),
    access_lost_at: datetime | None = None,
    access_regained_at: datetime | None = None,
    access_failure: Failure = TOKEN_EXPIRED,
    display_name: str | None = None,
    has_avatar: bool = True,
    is_active: bool = True,
    needs_reconnection: bool = False,
) -> DemoAccount:
    """Complete an account with what follows from its id and its times.

    `token_lifetime` is when its token was refreshed and when the token expires.
    """
    refreshed_at, expires_at = token_lifetime
    times = (created_at, access_lost_at, access_regained_at, refreshed_at)
    account = Account(
        id=account_id,
        platform=platform,
        publisher=AccountPublisher.EXTERNAL,
        account_name=account_name,
        display_name=display_name,
        platform_user_id=str(_FIRST_PLATFORM_USER_ID + account_id),
        platform_username=platform_username,
        avatar_url=f"{_AVATARS}/{account_id}.png" if has_avatar else None,
        is_active=is_active,
        needs_reconnection_since=access_lost_at if needs_reconnection else None,
        token_expires_at=expires_at,
        token_refreshed_at=refreshed_at,
        connected_at=access_regained_at or created_at,
        created_at=created_at,
        updated_at=max(time for time in times if time is not None),
    )
    return DemoAccount(account, access_lost_at, access_regained_at, access_failure)


def demo_accounts(now: datetime) -> tuple[DemoAccount, ...]:
    """Return all demo accounts by id, in their state at `now`."""
    account = partial(
        demo_account, created_at=min(now, LINKEDIN_ACCESS_LOST_AT) - timedelta(days=100)
    )

    def ago(days: float, hours: float = 0) -> datetime:
        return now - timedelta(days=days, hours=hours)

    def token(refreshed_days_ago: int, expires_in_days: float) -> tuple[datetime, datetime]:
        return ago(refreshed_days_ago), ago(-expires_in_days)

    token_age = timedelta(days=60)
    linkedin_expired_at = LINKEDIN_ACCESS_LOST_AT - timedelta(minutes=1)
    instagram_expired_at = ago(3, 1)
    return (
        account(INSTAGRAM, "instagram", "@mybrand", "mybrand", display_name="My Brand"),
        account(FACEBOOK, "facebook", "My Brand", "mybrand"),
        account(X, "x", "@mybrand", "mybrand", display_name="My Brand"),
        account(
            THREADS, "threads", "mybrand", "mybrand", has_avatar=False, token_lifetime=token(8, 52)
        ),
        account(
            YOUTUBE_EXPIRING,
            "youtube",
            "My Brand Channel",
            "mybrandchannel",
            token_lifetime=token(56, 4.25),
        ),
        account(
            LINKEDIN_EXPIRED,
            "linkedin",
            "My Brand Inc.",
            "my-brand-inc",
            needs_reconnection=True,
            token_lifetime=(linkedin_expired_at - token_age, linkedin_expired_at),
            access_lost_at=LINKEDIN_ACCESS_LOST_AT,
        ),
        account(
            LINKEDIN,
            "linkedin",
            "My Brand Careers",
            "my-brand-careers",
            token_lifetime=token(16, 43),
            access_lost_at=ago(17, 2),
            access_regained_at=ago(16),
        ),
        account(
            TIKTOK_REJECTED,
            "tiktok",
            "@mybrand",
            "mybrand",
            display_name="My Brand",
            token_lifetime=token(1, 31),
        ),
        account(
            PINTEREST, "pinterest", "My Brand Ideas", "mybrandideas", token_lifetime=token(5, 25)
        ),
        account(
            INSTAGRAM_EXPIRED,
            "instagram",
            "@mybrand.shop",
            "mybrand.shop",
            display_name="My Brand Shop",
            token_lifetime=(instagram_expired_at - token_age, instagram_expired_at),
            access_lost_at=instagram_expired_at,
        ),
        account(
            FACEBOOK_DISCONNECTED,
            "facebook",
            "My Brand Events",
            "mybrandevents",
            is_active=False,
            access_lost_at=ago(12, 5),
            access_failure=ACCESS_REVOKED,
        ),
        account(X_UNNAMED, "x", None, "mybrand_help"),
        account(
            TIKTOK_REFUSED,
            "tiktok",
            "@mybrand.live",
            "mybrand.live",
            display_name="My Brand Live",
            needs_reconnection=True,
            token_lifetime=token(20, 70),
            access_lost_at=now - TIKTOK_ACCESS_LOST_AGE,
            access_failure=PERMISSION_MISSING,
        ),
    )
