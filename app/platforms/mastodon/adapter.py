"""Publishes posts by the Mastodon API, and finds those whose outcome is unknown."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import structlog
from cachetools import TTLCache

from app.domain.attempts import Publication
from app.domain.destinations import ErrorCategory
from app.domain.times import Clock
from app.outbound.client import OutboundClient
from app.platforms.mastodon.api import MastodonApi
from app.platforms.mastodon.limits import Instance, check_images, check_limits, parse_instance
from app.platforms.mastodon.statuses import (
    application_name,
    has_media,
    is_candidate,
    list_proves_absence,
    source_matches,
    status_parameters,
    to_publication,
)
from app.platforms.media import FetchMedia, Media
from app.platforms.media_checks import check_not_empty
from app.platforms.protocol import (
    CLOCK_TOLERANCE,
    AccountIdentity,
    Credentials,
    LookupFailure,
    NotPublished,
    OutcomeUnknown,
    PlatformCallError,
    PublishRequest,
    not_called_error,
)
from app.platforms.responses import convert_unknown_outcome, text_or_none

_MAX_CACHED_INSTANCES = 1000
_INSTANCE_TTL = timedelta(days=1)

_MEDIA_POLL_INTERVAL = timedelta(seconds=2)
_TEXT_PREPARATION, _MEDIA_PREPARATION = timedelta(minutes=1), timedelta(minutes=5)
"""Longest times from the start of an attempt to the request that publishes, without and with media."""

_MAX_DELIVERY_TIME = timedelta(minutes=1)
"""Longest time from sending that request until the server has received it."""

_EARLIER = "earlierStatuses"
"""Key of a checkpoint: ids of the statuses that were published before a forced retry."""

_MAX_EARLIER_STATUSES = 50
"""The ids fit into a checkpoint."""

logger = structlog.stdlib.get_logger(__name__)


class Mastodon:
    """Adapter for accounts with the credentials `instance`, a URL, and `accessToken`, which never expires.

    Mastodon publishes one status for all requests of one hour with the same idempotency key. A server that
    ignores the key, such as snac, can publish a post twice: when a request without a response is delivered
    after a lookup did not find the post, or when the network repeats a request. `find_unreported` finds the
    second status.
    """

    def __init__(
        self,
        *,
        client: OutboundClient,
        now: Clock,
        sleep: Callable[[float], Awaitable[None]],
        fetch_media: FetchMedia,
    ) -> None:
        self._client = client
        self._now = now
        self._sleep = sleep
        self._fetch_media = fetch_media
        self._instances: TTLCache[str, Instance] = TTLCache(
            _MAX_CACHED_INSTANCES, _INSTANCE_TTL.total_seconds(), lambda: now().timestamp()
        )

    async def publish(self, request: PublishRequest) -> Publication:
        """Publish a post as a status, after its media are uploaded and processed."""
        parameters = status_parameters(request)
        api = await self._connect(request.credentials)
        limits = (await self._instance(api)).limits
        check_limits(parameters, len(request.media), limits)
        if request.forced_retries:
            await _save_earlier_statuses(api, request)
        media = await self._fetch_media(request)
        check_not_empty(request.content, media)
        check_images(media, limits)
        if media:
            parameters = {**parameters, "media_ids": await self._upload(api, request, media)}
        if self._now() > _send_deadline(request):
            raise not_called_error()
        request.check_deadline()
        status = await api.post_status(
            parameters,
            idempotency_key=f"post-results-{request.publication_key}",
            rate_limit=request.rate_limit,
        )
        return to_publication(status, self._now())

    async def look_up(self, request: PublishRequest) -> Publication | LookupFailure:
        """Return the status with the post's text and number of media that the token's application posted,
        if there is exactly one.

        Statuses that are reported for a post, or older than a forced retry, are not those of the attempt.
        The result is inconclusive for a status without text, which its number of media does not identify,
        and for one with other media: servers drop those that they do not know or have twice.
        """
        may_be_delivered = self._now() <= _send_deadline(request) + _MAX_DELIVERY_TIME
        api = await self._connect(request.credentials)
        statuses = await _recent_statuses(api, request)
        earlier = await _load_earlier_ids(request)
        search = await _search(api, request, statuses)
        similar = [
            status for status in await search.similar(request) if status["id"] not in earlier
        ]
        matches = [status for status in similar if has_media(status, len(request.media))]
        if len(matches) == 1 and request.content.strip():
            return to_publication(matches[0], self._now())
        if similar or may_be_delivered or not list_proves_absence(statuses, request):
            return LookupFailure.INCONCLUSIVE
        return LookupFailure.NOT_FOUND

    async def can_repeat(self, request: PublishRequest) -> bool:
        """Return True unless the instance states to be Mastodon, which honours idempotency keys.

        True also for an instance that cannot be read.
        """
        api = await self._connect(request.credentials)
        return not (await self._instance(api)).has_idempotency_keys

    async def find_unreported(
        self, requests: Sequence[PublishRequest]
    ) -> Sequence[Sequence[Publication]]:
        """Return for each post all unreported statuses with its text and number of media that the token's
        application posted.

        Those from before a forced retry are included, unlike in a lookup: the post is published now, so
        each of them is one more publication of it. Nothing is found for a post without text, which its number
        of media does not identify.
        """
        if not any(request.content.strip() for request in requests):
            return [()] * len(requests)
        first = min(requests, key=lambda request: request.attempt_started_at)
        api = await self._connect(first.credentials)
        search = await _search(api, first, await _recent_statuses(api, first))
        return [
            [
                to_publication(status, self._now())
                for status in await search.similar(request)
                if request.content.strip() and has_media(status, len(request.media))
            ]
            for request in requests
        ]

    async def verify_credentials(self, credentials: Credentials) -> AccountIdentity:
        """Ask the instance for the account of the access token."""
        api = await self._connect(credentials)
        account = await api.account()
        _check_is_usable(account)
        return _to_identity(account, api.origin)

    async def _connect(self, credentials: Credentials) -> MastodonApi:
        return MastodonApi(self._client, await credentials.get(), self._now)

    async def _instance(self, api: MastodonApi) -> Instance:
        """Return what the instance states about itself; limits that cannot be read are not checked."""
        instance = self._instances.get(api.origin)
        if instance is None:
            try:
                instance = self._instances[api.origin] = parse_instance(await api.instance())
            except PlatformCallError as error:
                logger.warning(
                    "instance limits not read", instance=api.origin, reason=error.message
                )
                return parse_instance({})
        return instance

    async def _upload(
        self, api: MastodonApi, request: PublishRequest, media: Sequence[Media]
    ) -> Sequence[str]:
        """Upload media; return their ids once the server has processed them. This publishes nothing."""
        with convert_unknown_outcome(
            "The media were not uploaded, so the post was not sent.",
            code="MEDIA_NOT_UPLOADED",
            keep_response=True,
        ):
            return [await self._upload_file(api, request, file) for file in media]

    async def _upload_file(self, api: MastodonApi, request: PublishRequest, file: Media) -> str:
        media_id, is_processed = await api.upload_media(file)
        while True:
            request.check_deadline()
            if self._now() > _send_deadline(request):
                raise NotPublished(
                    ErrorCategory.TRANSIENT,
                    "MEDIA_PROCESSING",
                    "The server did not process the media in time, so the post was not sent.",
                )
            if is_processed:
                return media_id
            await self._sleep(_MEDIA_POLL_INTERVAL.total_seconds())
            is_processed = await api.is_media_processed(media_id)


def _check_is_usable(account: Mapping[str, Any]) -> None:
    """Raise NotPublished for an account that is suspended, or that redirects to another one."""
    if account.get("suspended") is True:
        raise NotPublished(
            ErrorCategory.AUTH,
            "ACCOUNT_SUSPENDED",
            "The account is suspended. Ask the moderators of its server.",
        )
    moved_to = account.get("moved")
    if isinstance(moved_to, dict):
        place = text_or_none(moved_to.get("url")) or text_or_none(moved_to.get("acct"))
        raise NotPublished(
            ErrorCategory.AUTH,
            "ACCOUNT_MOVED",
            f"The account has moved to {place or 'another account'}. Connect that account.",
        )


def _to_identity(account: Mapping[str, Any], origin: str) -> AccountIdentity:
    """Return the identity of an account of an instance; ids are unique within an instance only."""
    host = urlsplit(origin).netloc.lower()
    username, display_name, avatar_url, profile_url = (
        text_or_none(account.get(name)) for name in ("username", "display_name", "avatar", "url")
    )
    return AccountIdentity(
        platform_user_id=f"{account['id']}@{host}",
        username=None if username is None else f"{username}@{host}",
        display_name=display_name,
        avatar_url=avatar_url,
        profile_url=profile_url,
    )


def _send_deadline(request: PublishRequest) -> datetime:
    """Return the time after which an attempt no longer sends the request that publishes."""
    preparation = _MEDIA_PREPARATION if request.media else _TEXT_PREPARATION
    return request.attempt_started_at + preparation


def _oldest_time(request: PublishRequest) -> datetime:
    """Return the time before which the server cannot have dated a status of the attempt."""
    return request.attempt_started_at - CLOCK_TOLERANCE


async def _recent_statuses(
    api: MastodonApi, request: PublishRequest
) -> Sequence[Mapping[str, Any]]:
    return await api.statuses_since((await api.account())["id"], _oldest_time(request))


async def _search(
    api: MastodonApi, request: PublishRequest, statuses: Sequence[Mapping[str, Any]]
) -> "_StatusSearch":
    """Return a search among the statuses that were listed since the start of a request's attempt."""
    reported = await request.find_reported()
    return _StatusSearch(
        api,
        [
            status
            for status in statuses
            if reported.isdisjoint((status["id"], text_or_none(status.get("url"))))
        ],
    )


@dataclass(frozen=True, slots=True)
class _StatusSearch:
    """Search for the statuses of posts among the unreported ones of their account."""

    api: MastodonApi
    unreported: Sequence[Mapping[str, Any]]
    sources: dict[str, str] = field(default_factory=dict)
    """Texts by the ids of statuses: those of several posts are compared with the same ones."""

    async def similar(self, request: PublishRequest) -> Sequence[Mapping[str, Any]]:
        """Return the statuses with the post's text and the application of the token."""
        since = _oldest_time(request)
        similar = [
            status
            for status in self.unreported
            if is_candidate(status, since) and source_matches(await self._source(status), request)
        ]
        if any(map(application_name, similar)) and (own_name := await self.api.application_name()):
            return [status for status in similar if application_name(status) in (None, own_name)]
        return similar

    async def _source(self, status: Mapping[str, Any]) -> str:
        text = status.get("text")  # snac includes it
        if isinstance(text, str):
            return text
        status_id = status["id"]
        if status_id not in self.sources:
            self.sources[status_id] = await self.api.source(status_id)
        return self.sources[status_id]


async def _save_earlier_statuses(api: MastodonApi, request: PublishRequest) -> None:
    """Save which statuses the first attempt of a forced retry finds: none of its lookups may find them."""
    if await request.checkpoint.load() is not None:
        return
    with convert_unknown_outcome(
        "The statuses of the account could not be read, so the post was not sent.",
        code="STATUSES_NOT_READ",
        keep_response=True,
    ):
        try:
            search = await _search(api, request, await _recent_statuses(api, request))
            similar = await search.similar(request)
        except PlatformCallError:
            raise
        except Exception as error:
            raise OutcomeUnknown("The server returned statuses of an unknown form.") from error
    ids = [status["id"] for status in similar[:_MAX_EARLIER_STATUSES]]
    await request.checkpoint.save({_EARLIER: ids})


async def _load_earlier_ids(request: PublishRequest) -> Collection[str]:
    checkpoint = await request.checkpoint.load() if request.forced_retries else None
    ids = (checkpoint or {}).get(_EARLIER)
    return ids if isinstance(ids, list) else ()
