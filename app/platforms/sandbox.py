"""The sandbox: a fake platform for trials, scripted by the names of its accounts."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from urllib.parse import quote

import structlog

from app.domain.attempts import Publication
from app.domain.destinations import ErrorCategory
from app.domain.times import Clock, truncate_to_ms
from app.platforms.protocol import (
    AccountIdentity,
    Credentials,
    LookupFailure,
    NotPublished,
    PublishRequest,
)
from app.platforms.sandbox_store import SandboxPost, SandboxStore

PLATFORM_NAME = "sandbox"

_LATENCY = timedelta(seconds=1)
"""Duration of every call."""

logger = structlog.stdlib.get_logger(__name__)


class Behaviour(StrEnum):
    """Behaviour of accounts whose name begins with the value; all others succeed."""

    SUCCEEDS = "succeeds"
    SLOW = "slow"
    """Succeeds after a delay."""
    RATE_LIMITED = "rate-limited"
    """Rejects the first attempt with a Retry-After, then succeeds."""
    FLAKY = "flaky"
    """Fails the first attempt, then succeeds."""
    LOSES_TOKEN = "loses-token"
    """Rejects the account's access on the first attempt; succeeds after a reconnect and a retry."""
    REJECTS = "rejects"
    """Rejects any content."""
    TIMES_OUT = "times-out"
    """Publishes, but never responds."""


_DEFAULT_DURATIONS = {
    Behaviour.SLOW: timedelta(seconds=15),
    Behaviour.RATE_LIMITED: timedelta(seconds=20),
    Behaviour.TIMES_OUT: timedelta(seconds=3),
}
_SECONDS_PATTERN = re.compile(r"(\d{1,4}(?:\.\d{1,3})?) ?s\b", re.ASCII)


@dataclass(frozen=True, slots=True)
class Script:
    """Behaviour of an account, and the duration of its delay."""

    behaviour: Behaviour
    seconds: float

    @classmethod
    def from_account_name(cls, account_name: str) -> "Script":
        """Parse an account name, which may contain a duration: `slow 30s`."""
        name = account_name.lower()
        behaviour = next((b for b in Behaviour if name.startswith(b)), Behaviour.SUCCEEDS)
        duration = _SECONDS_PATTERN.search(name)
        default = _DEFAULT_DURATIONS.get(behaviour, timedelta())
        return cls(behaviour, float(duration[1]) if duration else default.total_seconds())


class Sandbox:
    """Adapter that publishes into a store. The same account and attempt number have the same result."""

    def __init__(
        self,
        store: SandboxStore,
        *,
        now: Clock,
        sleep: Callable[[float], Awaitable[None]],
        latency: timedelta = _LATENCY,
    ) -> None:
        self._store = store
        self._now = now
        self._sleep = sleep
        self._latency = latency

    async def publish(self, request: PublishRequest) -> Publication:
        """Publish by the account's script; an account that times out publishes, then raises TimeoutError."""
        script = Script.from_account_name(request.account.name)
        await self._sleep(self._latency.total_seconds())
        if request.attempt == 1:
            _fail_first_attempt(script)
        if script.behaviour is Behaviour.REJECTS:
            raise NotPublished(
                ErrorCategory.CONTENT_REJECTED,
                "CONTENT_REFUSED",
                "The sandbox rejects this content.",
                http_status=422,
                raw='{"error": "content refused"}',
            )
        if script.behaviour is Behaviour.SLOW:
            await self._sleep(script.seconds)
        publication = self._store_post(request)
        if script.behaviour is Behaviour.TIMES_OUT:
            await self._sleep(script.seconds)
            raise TimeoutError("the sandbox did not answer")
        return publication

    async def look_up(self, request: PublishRequest) -> Publication | LookupFailure:
        await self._sleep(self._latency.total_seconds())
        try:
            post = self._store.find(request.destination_id)
        except OSError:
            logger.exception("sandbox file read failed")
            return LookupFailure.INCONCLUSIVE
        return LookupFailure.NOT_FOUND if post is None else _to_publication(post)

    async def verify_credentials(self, credentials: Credentials) -> AccountIdentity:  # noqa: ARG002
        """Accept any credentials: the sandbox needs none."""
        return AccountIdentity()

    def _store_post(self, request: PublishRequest) -> Publication:
        request.check_deadline()
        name = request.account.name
        platform_post_id = f"{request.destination_id.hex[:12]}-{request.attempt}"
        post = SandboxPost(
            destination_id=request.destination_id,
            account=name,
            attempt=request.attempt,
            platform_post_id=platform_post_id,
            platform_post_url=f"https://sandbox.example/{quote(name, safe='')}/{platform_post_id}",
            published_at=truncate_to_ms(self._now()),
        )
        try:
            self._store.add(post)
        except OSError:
            logger.exception("sandbox file write failed")
            raise NotPublished(
                ErrorCategory.TRANSIENT,
                "NOT_STORED",
                "The sandbox could not store the post, so it is not published.",
            ) from None
        return _to_publication(post)


def _fail_first_attempt(script: Script) -> None:
    if script.behaviour is Behaviour.RATE_LIMITED:
        raise NotPublished(
            ErrorCategory.RATE_LIMITED,
            "TOO_MANY_POSTS",
            f"Too many posts. Try again in {script.seconds:g} seconds.",
            http_status=429,
            retry_after=timedelta(seconds=script.seconds),
            raw='{"error": "too many posts"}',
        )
    if script.behaviour is Behaviour.FLAKY:
        raise NotPublished(
            ErrorCategory.TRANSIENT,
            "OVERLOADED",
            "The sandbox is overloaded for the moment.",
            http_status=503,
        )
    if script.behaviour is Behaviour.LOSES_TOKEN:
        raise NotPublished(
            ErrorCategory.AUTH,
            "TOKEN_EXPIRED",
            "The access to the account has ended. Reconnect it.",
            http_status=401,
        )


def _to_publication(post: SandboxPost) -> Publication:
    return Publication(
        platform_post_id=post.platform_post_id,
        platform_post_url=post.platform_post_url,
        published_at=post.published_at,
    )
