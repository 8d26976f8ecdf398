"""The demo accounts: a dozen over eight platforms, the first two healthy. They belong to nobody."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from app.demo.courses import Failure
from app.demo.failures import ACCESS_REFUSED, PERMISSION_MISSING, TOKEN_EXPIRED
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
"""The first two by id; their access never ends and they do not fail permanently of late."""

LINKEDIN_ACCESS_LOST_AT = datetime(2026, 4, 15, 14, 31, 47, tzinfo=UTC)
"""When the documented example met LinkedIn's expired token."""

TIKTOK_REFUSED_FOR = timedelta(days=2, hours=3)
"""How long ago, at the first load, TikTok began to refuse the account's access."""

_AVATARS = "https://media.example.com/avatars"
_PLATFORM_USER_IDS_FROM = 17_841_400_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoAccount:
    """A row of the table, and during which time the account could not post."""

    id: AccountId
    platform: str
    account_name: str | None
    display_name: str | None = None
    platform_username: str
    created_at: datetime
    has_avatar: bool = True
    is_active: bool = True
    needs_reconnection: bool = False
    token_expires_at: datetime | None = None
    token_refreshed_at: datetime | None = None
    access_lost_at: datetime | None = None
    access_regained_at: datetime | None = None
    refusal: Failure = TOKEN_EXPIRED
    """What a post meets while the account has no access."""

    @property
    def platform_user_id(self) -> str:
        return str(_PLATFORM_USER_IDS_FROM + self.id)

    @property
    def avatar_url(self) -> str | None:
        return f"{_AVATARS}/{self.id}.png" if self.has_avatar else None

    @property
    def needs_reconnection_since(self) -> datetime | None:
        return self.access_lost_at if self.needs_reconnection else None

    @property
    def connected_at(self) -> datetime:
        return self.access_regained_at or self.created_at

    @property
    def updated_at(self) -> datetime:
        changes = (self.access_lost_at, self.access_regained_at, self.token_refreshed_at)
        return max(filter(None, (self.created_at, *changes)))

    def locked_out_for(self, at: datetime) -> timedelta | None:
        """How long it could not post by then; None while it can."""
        lost, regained = self.access_lost_at, self.access_regained_at
        if lost is None or at < lost or (regained is not None and at >= regained):
            return None
        return at - lost


def demo_accounts(now: datetime) -> tuple[DemoAccount, ...]:
    """All of them by id, with the state they are in at `now`."""
    created_at = min(now, LINKEDIN_ACCESS_LOST_AT) - timedelta(days=100)
    every = (
        *_healthy(now, created_at),
        *_worrying(now, created_at),
        *_broken(now, created_at),
    )
    return tuple(sorted(every, key=lambda account: account.id))


def _healthy(now: datetime, created_at: datetime) -> Iterator[DemoAccount]:
    yield DemoAccount(
        id=INSTAGRAM,
        platform="instagram",
        account_name="@mybrand",
        display_name="My Brand",
        platform_username="mybrand",
        created_at=created_at,
    )
    yield DemoAccount(
        id=FACEBOOK,
        platform="facebook",
        account_name="My Brand",
        platform_username="mybrand",
        created_at=created_at,
    )
    yield DemoAccount(
        id=X,
        platform="x",
        account_name="@mybrand",
        display_name="My Brand",
        platform_username="mybrand",
        created_at=created_at,
    )
    yield DemoAccount(
        id=THREADS,
        platform="threads",
        account_name="mybrand",
        platform_username="mybrand",
        created_at=created_at,
        has_avatar=False,
        token_expires_at=now + timedelta(days=52),
        token_refreshed_at=now - timedelta(days=8),
    )
    yield DemoAccount(
        id=LINKEDIN,
        platform="linkedin",
        account_name="My Brand Careers",
        platform_username="my-brand-careers",
        created_at=created_at,
        token_expires_at=now + timedelta(days=43),
        token_refreshed_at=now - timedelta(days=16),
        access_lost_at=now - timedelta(days=17, hours=2),
        access_regained_at=now - timedelta(days=16),
    )
    yield DemoAccount(
        id=PINTEREST,
        platform="pinterest",
        account_name="My Brand Ideas",
        platform_username="mybrandideas",
        created_at=created_at,
        token_expires_at=now + timedelta(days=25),
        token_refreshed_at=now - timedelta(days=5),
    )
    yield DemoAccount(
        id=X_UNNAMED,
        platform="x",
        account_name=None,
        platform_username="mybrand_help",
        created_at=created_at,
    )


def _worrying(now: datetime, created_at: datetime) -> Iterator[DemoAccount]:
    yield DemoAccount(
        id=YOUTUBE_EXPIRING,
        platform="youtube",
        account_name="My Brand Channel",
        platform_username="mybrandchannel",
        created_at=created_at,
        token_expires_at=now + timedelta(days=4, hours=6),
        token_refreshed_at=now - timedelta(days=56),
    )
    yield DemoAccount(
        id=TIKTOK_REJECTED,
        platform="tiktok",
        account_name="@mybrand",
        display_name="My Brand",
        platform_username="mybrand",
        created_at=created_at,
        token_expires_at=now + timedelta(days=31),
        token_refreshed_at=now - timedelta(days=1),
    )


def _broken(now: datetime, created_at: datetime) -> Iterator[DemoAccount]:
    yield DemoAccount(
        id=LINKEDIN_EXPIRED,
        platform="linkedin",
        account_name="My Brand Inc.",
        platform_username="my-brand-inc",
        created_at=created_at,
        needs_reconnection=True,
        token_expires_at=LINKEDIN_ACCESS_LOST_AT - timedelta(minutes=1),
        token_refreshed_at=LINKEDIN_ACCESS_LOST_AT - timedelta(days=60, minutes=1),
        access_lost_at=LINKEDIN_ACCESS_LOST_AT,
    )
    expired_at = now - timedelta(days=3, hours=1)
    yield DemoAccount(
        id=INSTAGRAM_EXPIRED,
        platform="instagram",
        account_name="@mybrand.shop",
        display_name="My Brand Shop",
        platform_username="mybrand.shop",
        created_at=created_at,
        token_expires_at=expired_at,
        token_refreshed_at=expired_at - timedelta(days=60),
        access_lost_at=expired_at,
    )
    yield DemoAccount(
        id=FACEBOOK_DISCONNECTED,
        platform="facebook",
        account_name="My Brand Events",
        platform_username="mybrandevents",
        created_at=created_at,
        is_active=False,
        access_lost_at=now - timedelta(days=12, hours=5),
        refusal=ACCESS_REFUSED,
    )
    yield DemoAccount(
        id=TIKTOK_REFUSED,
        platform="tiktok",
        account_name="@mybrand.live",
        display_name="My Brand Live",
        platform_username="mybrand.live",
        created_at=created_at,
        needs_reconnection=True,
        token_expires_at=now + timedelta(days=70),
        token_refreshed_at=now - timedelta(days=20),
        access_lost_at=now - TIKTOK_REFUSED_FOR,
        refusal=PERMISSION_MISSING,
    )
