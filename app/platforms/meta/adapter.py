"""Publishes posts on Threads and Instagram by containers, each of which is published at most once.

An unknown outcome is settled by the status of the container:
https://developers.facebook.com/docs/threads/troubleshooting and
https://developers.facebook.com/docs/instagram-platform/instagram-graph-api/reference/ig-container.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import chain, repeat
from typing import Any

import msgspec
import structlog

from app.domain.attempts import Publication
from app.domain.destinations import ErrorCategory
from app.domain.times import Clock
from app.outbound.client import OutboundClient
from app.platforms.meta.containers import (
    ContainerCheckpoint,
    ContainerPlan,
    plan_containers,
    text_digest,
)
from app.platforms.meta.credentials import MetaCredentials, parse_meta_credentials
from app.platforms.meta.descriptions import MetaPlatform
from app.platforms.meta.errors import OBJECT_NOT_FOUND, POST_LIMIT_WAIT, container_error
from app.platforms.meta.graph import ContainerState, ContainerStatus, GraphApi
from app.platforms.protocol import (
    CLOCK_TOLERANCE,
    AccountIdentity,
    Credentials,
    CredentialValues,
    LookupFailure,
    NotPublished,
    OutcomeUnknown,
    PlatformCallError,
    PublishRequest,
    credentials_error,
    not_called_error,
)
from app.platforms.responses import convert_unknown_outcome, text_or_none, time_or_default

_RENEWAL_MARGIN = timedelta(days=10)
"""Remaining validity below which an access token is renewed; Meta renews none that has expired."""

_POLL_SECONDS = (1, 2, 4, 8, 15, 30)
_LAST_POLL_SECONDS = 60
"""Meta recommends one query a minute, for no more than 5 minutes; most images are ready at once."""

_PREPARATION = timedelta(minutes=5)
"""Longest time from the start of an attempt until its container is ready."""

_SEND_DELAY = timedelta(seconds=30)
"""Longest time between a checkpoint and the request that publishes."""

_MAX_DELIVERY_TIME = timedelta(minutes=2)
"""Time after a checkpoint in which the platform receives that request, even if it comes late."""

_NOT_SENT = "The post was not sent yet."

logger = structlog.stdlib.get_logger(__name__)


class MetaAdapter:
    """Adapter for accounts with `MetaCredentials` on one of Meta's platforms.

    The id of a container is stored before the request that publishes it. A later attempt publishes the same
    container, unless it has expired, has failed, or the post was edited.
    """

    def __init__(
        self,
        platform: MetaPlatform,
        *,
        client: OutboundClient,
        now: Clock,
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._platform = platform
        self._client = client
        self._now = now
        self._sleep = sleep

    async def publish(self, request: PublishRequest) -> Publication:
        """Publish a container, or return the publication if that of an earlier attempt is published."""
        last = await _load_checkpoint(request)
        if last is None:
            plan = plan_containers(self._platform, request)
            api = await self._connect(request.credentials)
            return await self._publish_new_container(api, request, plan)
        api = await self._connect(request.credentials)
        status = await self._wait_for_last_container(api, request, last)
        if status is ContainerStatus.PUBLISHED:
            return await self._find_post(api, last)
        plan = plan_containers(self._platform, request)
        if status is ContainerStatus.FINISHED and last.fingerprint == plan.fingerprint:
            return await self._publish_container(api, request, last)
        return await self._publish_new_container(api, request, plan)

    async def look_up(self, request: PublishRequest) -> Publication | LookupFailure:
        """Return the post of the container that the last attempt may have published.

        Without a checkpoint, no attempt has sent the request that publishes.
        """
        last = await _load_checkpoint(request)
        if last is None:
            return LookupFailure.NOT_FOUND
        may_be_delivered = self._now() <= last.sent_at + _MAX_DELIVERY_TIME
        api = await self._connect(request.credentials)
        status = (await api.container_state(last.container)).status
        if status is ContainerStatus.PUBLISHED:
            return await self._find_post(api, last)
        is_over = status in _UNPUBLISHABLE or (
            status is ContainerStatus.FINISHED and not may_be_delivered
        )
        return LookupFailure.NOT_FOUND if is_over else LookupFailure.INCONCLUSIVE

    async def verify_credentials(self, credentials: Credentials) -> AccountIdentity:
        """Ask the platform for the account of the token; raises NotPublished if `userId` is another."""
        api = await self._connect(credentials)
        identity = await api.identity()
        if identity.platform_user_id != parse_meta_credentials(await credentials.get()).user_id:
            raise credentials_error(
                f"The access token belongs to the user {identity.platform_user_id}, not to that of userId."
                " Correct userId.",
            )
        return identity

    async def _connect(self, credentials: Credentials) -> GraphApi:
        """Return a client with a token that is valid for some days, if it can be renewed."""
        values = await credentials.get()
        account = parse_meta_credentials(values)
        expires_at = account.expires_at
        if expires_at is not None and expires_at <= self._now() + _RENEWAL_MARGIN:
            try:
                account = parse_meta_credentials(
                    await credentials.refresh(values, self._renew_token)
                )
            except NotPublished as error:  # the platform decides whether the token is still valid
                logger.warning(
                    "access token not renewed", user_id=account.user_id, reason=error.message
                )
        return self._api(account)

    async def _renew_token(self, values: CredentialValues) -> CredentialValues:
        with convert_unknown_outcome("The access token was not renewed."):
            renewed = await self._api(parse_meta_credentials(values)).renew_token()
        parse_meta_credentials({**values, **renewed})  # an invalid token must not be stored
        return {**values, **renewed}

    def _api(self, account: MetaCredentials) -> GraphApi:
        return GraphApi(self._client, self._platform, account, self._now)

    async def _wait_for_last_container(
        self, api: GraphApi, request: PublishRequest, last: ContainerCheckpoint
    ) -> ContainerStatus:
        """Return the final status of the last attempt's container.

        A container that the token cannot read counts as expired: the account may have got a token of another
        app. This attempt would not have started if the outcome of the last one were unknown: a refusal, a
        lookup or a person has shown that the container was not published.
        """
        try:
            with convert_unknown_outcome(_NOT_SENT):
                state = await self._wait_for_container(
                    api, request, last.container, last.created_at
                )
        except NotPublished as error:
            if error.code != OBJECT_NOT_FOUND or self._now() <= last.sent_at + _MAX_DELIVERY_TIME:
                raise
            return ContainerStatus.EXPIRED
        return state.status

    async def _publish_new_container(
        self, api: GraphApi, request: PublishRequest, plan: ContainerPlan
    ) -> Publication:
        checkpoint = await self._create_post_container(api, request, plan)
        return await self._publish_container(api, request, checkpoint)

    async def _create_post_container(
        self, api: GraphApi, request: PublishRequest, plan: ContainerPlan
    ) -> ContainerCheckpoint:
        """Create the container of a post, after those in its carousel; return its checkpoint, unsaved."""
        with convert_unknown_outcome(_NOT_SENT):
            children = [
                await self._create_ready_container(api, request, child) for child in plan.children
            ]
            joined = {"children": ",".join(children)} if children else {}
            container = await self._create_ready_container(
                api, request, {**plan.parameters, **joined}
            )
        now = self._now()
        return ContainerCheckpoint(
            container=container,
            fingerprint=plan.fingerprint,
            text_digest=text_digest(plan.text),
            post_media_type=plan.post_media_type,
            created_at=now,
            sent_at=now,
        )

    async def _create_ready_container(
        self, api: GraphApi, request: PublishRequest, parameters: Mapping[str, str]
    ) -> str:
        """Create a container, and return its id once it is ready."""
        self._check_preparation_time(request)
        container = await api.create_container(parameters)
        state = await self._wait_for_container(api, request, container, self._now())
        if state.status is not ContainerStatus.FINISHED:
            raise container_error(state.reason)
        return container

    async def _wait_for_container(
        self, api: GraphApi, request: PublishRequest, container: str, created_at: datetime
    ) -> ContainerState:
        """Poll the state of a container until it is no longer in progress, and return it."""
        waits = chain(_POLL_SECONDS, repeat(_LAST_POLL_SECONDS))
        while True:
            try:
                state = await api.container_state(container)
                if state.status is not ContainerStatus.IN_PROGRESS:
                    return state
            except NotPublished as error:
                # Meta reports new containers so for some time.
                is_new = self._now() <= created_at + _PREPARATION
                if error.code != OBJECT_NOT_FOUND or not is_new:
                    raise
            self._check_preparation_time(request)
            await self._sleep(next(waits))

    def _check_preparation_time(self, request: PublishRequest) -> None:
        """Raise NotPublished if an attempt has lost its lease, or has not prepared its container in time."""
        request.check_deadline()
        if self._now() >= request.attempt_started_at + _PREPARATION:
            raise NotPublished(
                ErrorCategory.TRANSIENT,
                "CONTAINER_NOT_READY",
                "Meta did not prepare the post in time, so it was not published.",
            )

    async def _publish_container(
        self, api: GraphApi, request: PublishRequest, checkpoint: ContainerCheckpoint
    ) -> Publication:
        """Save a checkpoint, and publish its container."""
        checkpoint = msgspec.structs.replace(checkpoint, sent_at=self._now())
        await request.checkpoint.save(msgspec.to_builtins(checkpoint))
        if self._now() > checkpoint.sent_at + _SEND_DELAY:
            raise not_called_error()
        request.check_deadline()
        try:
            post_id = await api.publish(checkpoint.container)
        except NotPublished as error:
            refusal = await _explain_limit(api, error)
            return await self._find_post_despite_refusal(api, checkpoint, refusal)
        return await self._read_publication(api, post_id)

    async def _find_post_despite_refusal(
        self, api: GraphApi, checkpoint: ContainerCheckpoint, refusal: NotPublished
    ) -> Publication:
        """Return the publication if the container was published; raise the refusal if it was not.

        Instagram has published posts to whose request it answered with an error:
        https://github.com/gitroomhq/postiz-app/pull/1681.
        """
        if refusal.http_status is None:  # nothing was sent
            raise refusal
        try:
            status = (await api.container_state(checkpoint.container)).status
        except NotPublished as error:
            if error.category is refusal.category and error.category in _REQUEST_REFUSALS:
                raise refusal from None
            status = ContainerStatus.IN_PROGRESS
        except OutcomeUnknown:
            status = ContainerStatus.IN_PROGRESS
        if status is ContainerStatus.PUBLISHED:
            return await self._find_post(api, checkpoint)
        if status is ContainerStatus.IN_PROGRESS:
            raise OutcomeUnknown(
                f"{refusal.message} The post may be published all the same.",
                http_status=refusal.http_status,
                raw=refusal.raw,
            ) from refusal
        raise refusal

    async def _find_post(self, api: GraphApi, checkpoint: ContainerCheckpoint) -> Publication:
        """Return the post of a published container; raises OutcomeUnknown if several may be it, or none.

        No request returns the id of this post, so it is the only one with the same text and type since the
        container was created.
        """
        since = checkpoint.created_at - CLOCK_TOLERANCE
        try:
            posts = await api.posts_since(since)
        except NotPublished as error:
            raise OutcomeUnknown(
                f"The post is published, but it cannot be found. {error.message}",
                http_status=error.http_status,
                raw=error.raw,
            ) from error
        matches = [
            post for post in posts if checkpoint.matches(post, post.get(self._platform.text_field))
        ]
        if len(matches) != 1:
            raise OutcomeUnknown(
                f"The post is published, but {len(matches)} posts of the account have its text. Find it on"
                f" {self._platform.display_name}, and reconcile the outcome with its URL."
            )
        return self._to_publication(matches[0])

    async def _read_publication(self, api: GraphApi, post_id: str) -> Publication:
        """Return the publication of a post, without its URL if that cannot be read."""
        try:
            return self._to_publication({**await api.post(post_id), "id": post_id})
        except PlatformCallError as error:
            logger.warning("permalink not read", post_id=post_id, reason=error.message)
            return self._to_publication({"id": post_id})

    def _to_publication(self, post: Mapping[str, Any]) -> Publication:
        return Publication(
            platform_post_id=post["id"],
            platform_post_url=text_or_none(post.get("permalink")),
            published_at=time_or_default(post.get("timestamp"), self._now()),
        )


_REQUEST_REFUSALS = {ErrorCategory.AUTH, ErrorCategory.RATE_LIMITED}
"""Categories of requests that Meta refuses before it processes them, whatever they ask for."""

_UNPUBLISHABLE = {ContainerStatus.ERROR, ContainerStatus.EXPIRED}
"""Statuses of containers that no request publishes any more."""


async def _explain_limit(api: GraphApi, error: NotPublished) -> NotPublished:
    """Return a refusal with the number of posts and a long wait, if it is due to the limit of posts."""
    if error.category is not ErrorCategory.RATE_LIMITED:
        return error
    try:
        quota = await api.quota()
    except PlatformCallError:
        return error
    config = quota.get("config")
    total = config.get("quota_total") if isinstance(config, dict) else None
    used = quota.get("quota_usage")
    if type(used) is not int or type(total) is not int or used < total:
        return error
    return replace(
        error,
        message=f"{error.message} The account has published {used} of {total} posts;"
        " Meta allows no more within 24 hours.",
        retry_after=max(error.retry_after or POST_LIMIT_WAIT, POST_LIMIT_WAIT),
    )


async def _load_checkpoint(request: PublishRequest) -> ContainerCheckpoint | None:
    value = await request.checkpoint.load()
    return None if value is None else msgspec.convert(value, ContainerCheckpoint)
