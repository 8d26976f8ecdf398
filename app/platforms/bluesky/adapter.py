"""Adapter that publishes each post on Bluesky exactly once, by record keys that it chooses."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

import orjson
import structlog

from app.domain.attempts import Publication
from app.domain.destinations import ErrorCategory
from app.domain.times import Clock
from app.outbound.client import OutboundClient
from app.platforms.bluesky.errors import (
    HANDLE_NOT_FOUND,
    INVALID_REQUEST,
    INVALID_SWAP,
    MAIN_PASSWORD_MESSAGE,
    RECORD_NOT_FOUND,
)
from app.platforms.bluesky.inactive_accounts import inactive_account_error
from app.platforms.bluesky.profiles import NO_PROFILE, Profile, parse_profile, profile_parameters
from app.platforms.bluesky.records import (
    RecordAddress,
    embedded_image,
    has_marker,
    make_publication_key,
    make_record,
    record_addresses,
)
from app.platforms.bluesky.rich_text import check_text, find_spans, make_facets, mentioned_handles
from app.platforms.bluesky.sessions import BlueskySession, SessionManager
from app.platforms.bluesky.xrpc import XrpcClient, read_member
from app.platforms.content_schemas import BLUESKY_CONTENT
from app.platforms.media import FetchMedia, Media
from app.platforms.media_checks import check_not_empty
from app.platforms.protocol import (
    AccountIdentity,
    Credentials,
    LookupFailure,
    NotPublished,
    OutcomeUnknown,
    PlatformCallError,
    PublishRequest,
    read_settings,
)
from app.platforms.responses import convert_unknown_outcome

_CALL_TIMEOUT = timedelta(seconds=30)

logger = structlog.stdlib.get_logger(__name__)


class Bluesky:
    """Publishes on Bluesky and other servers of the AT Protocol.

    A record is created only if its key is free, and its key is the same in every attempt: a repeated or
    delayed request cannot publish a post twice. Credentials are `BlueskyCredentials`.
    """

    def __init__(
        self,
        *,
        client: OutboundClient,
        now: Clock,
        fetch_media: FetchMedia,
        timeout: timedelta = _CALL_TIMEOUT,
    ) -> None:
        """Create the adapter; `timeout` is the time for one call of a server."""
        self._xrpc = XrpcClient(client=client, now=now, timeout=timeout)
        self._sessions = SessionManager(self._xrpc, now)
        self._now = now
        self._fetch_media = fetch_media

    async def publish(self, request: PublishRequest) -> Publication:
        """Create the record of the post, or return the publication of an earlier attempt."""
        settings = read_settings(request, BLUESKY_CONTENT)
        check_text(request.content)
        media = await self._fetch_media(request)
        check_not_empty(request.content, media)
        spans = find_spans(request.content)

        async def publish_with(session: BlueskySession) -> Publication:
            with convert_unknown_outcome("The post was not sent yet."):
                dids = await self._resolve(session, mentioned_handles(spans))
                images = [await self._upload(session, item) for item in media]
            record = make_record(
                request.content,
                languages=settings.get("langs", []),
                facets=make_facets(spans, dids),
                images=images,
                publication_key=_publication_key(request),
                created_at=self._now(),
            )
            return await self._create_record(session, request, record)

        return await self._sessions.run(request.credentials, publish_with)

    async def look_up(self, request: PublishRequest) -> Publication | LookupFailure:
        """Read all records that the post can have.

        Inconclusive for an inactive account, whose server may return outdated records.
        """

        async def look_up_with(session: BlueskySession) -> Publication | LookupFailure:
            account = await self._read_account(session)
            # `active` is optional: a server that does not state it may have outdated records too.
            if account.get("active") is not True:
                return LookupFailure.INCONCLUSIVE
            for address in _addresses(session, request):
                record = await self._read_record(session, address)
                if record is not None and has_marker(record, _publication_key(request)):
                    return address.publication(record)
            return LookupFailure.NOT_FOUND

        return await self._sessions.run(request.credentials, look_up_with)

    async def verify_credentials(self, credentials: Credentials) -> AccountIdentity:
        """Ask the account's server for the account of the session, and for its profile."""

        async def identify(session: BlueskySession) -> AccountIdentity:
            if session.has_main_password:
                raise NotPublished(ErrorCategory.AUTH, "MAIN_PASSWORD", MAIN_PASSWORD_MESSAGE)
            account = await self._read_account(session)
            if account.get("active") is False:
                raise await inactive_account_error(self._xrpc, account, session.pds)
            did, handle = (read_member(account, name, str) for name in ("did", "handle"))
            profile = await self._read_profile(session, did)
            return AccountIdentity(
                platform_user_id=did,
                username=handle,
                display_name=profile.display_name,
                avatar_url=profile.avatar_url,
                profile_url=f"https://bsky.app/profile/{did}",
            )

        return await self._sessions.run(credentials, identify)

    async def _read_account(self, session: BlueskySession) -> Mapping[str, Any]:
        """Return the account of a session, and whether it is active."""
        return await self._xrpc.call(
            session.pds, "com.atproto.server.getSession", token=session.access_jwt
        )

    async def _read_profile(self, session: BlueskySession, did: str) -> Profile:
        """Return the profile of an account; without one that can be read, an empty one."""
        try:
            answer = await self._xrpc.call(
                session.pds, "com.atproto.repo.getRecord", parameters=profile_parameters(did)
            )
        except PlatformCallError:
            return NO_PROFILE
        return parse_profile(answer.get("value"), session.pds, did)

    async def _create_record(
        self, session: BlueskySession, request: PublishRequest, record: Mapping[str, Any]
    ) -> Publication:
        """Create the record at the first address that has no record of another publication."""
        for address in _addresses(session, request):
            if await self._put_if_absent(session, request, address, record):
                return address.publication(record)
            existing = await self._read_record(session, address)
            if existing is None:
                raise OutcomeUnknown(
                    "The record key of the post was in use, but its record has since been deleted."
                )
            if has_marker(existing, _publication_key(request)):
                if existing.get("text") != request.content:
                    logger.warning("post found with another text", uri=address.uri)
                return address.publication(existing)
        raise NotPublished(
            ErrorCategory.PERMANENT,
            "RECORD_KEYS_TAKEN",
            "Other records of the account have all record keys of this post. Create the post again.",
        )

    async def _put_if_absent(
        self,
        session: BlueskySession,
        request: PublishRequest,
        address: RecordAddress,
        record: Mapping[str, Any],
    ) -> bool:
        """Create a record and return True; return False if there is one."""
        # Null demands that no record exists; without the field, an existing record is overwritten.
        body = orjson.dumps({**address.parameters, "swapRecord": None, "record": record})
        request.check_deadline()
        try:
            answer = await self._xrpc.call(
                session.pds,
                "com.atproto.repo.putRecord",
                body=body,
                token=session.access_jwt,
                has_post_content=True,
                rate_limit=request.rate_limit,
            )
        except NotPublished as error:
            if error.code != INVALID_SWAP:
                raise
            return False
        if read_member(answer, "uri", str) != address.uri:
            raise OutcomeUnknown("The server's answer does not name the record of the post.")
        return True

    async def _read_record(
        self, session: BlueskySession, address: RecordAddress
    ) -> Mapping[str, Any] | None:
        """Return a record; None if there is none. Raises OutcomeUnknown if the answer shows neither."""
        try:
            answer = await self._xrpc.call(
                session.pds, "com.atproto.repo.getRecord", parameters=address.parameters
            )
        except NotPublished as error:
            if error.code == RECORD_NOT_FOUND:
                return None
            raise OutcomeUnknown(
                f"The record of the post cannot be read: {error.message}",
                http_status=error.http_status,
                raw=error.raw,
            ) from error
        return read_member(answer, "value", dict)

    async def _upload(self, session: BlueskySession, media: Media) -> Mapping[str, object]:
        """Upload an image, and return its part of the record; a repeated upload changes nothing."""
        answer = await self._xrpc.call(
            session.pds,
            "com.atproto.repo.uploadBlob",
            body=media.content,
            content_type=media.content_type,
            token=session.access_jwt,
            has_post_content=True,
        )
        return embedded_image(media, read_member(answer, "blob", dict))

    async def _resolve(self, session: BlueskySession, handles: Iterable[str]) -> Mapping[str, str]:
        """Return the DIDs of handles.

        A handle that no account has is left out: its mention becomes plain text, so that a mistake in one
        handle, or a text that only resembles one, does not prevent the post.
        """
        dids = {}
        for handle in handles:
            try:
                answer = await self._xrpc.call(
                    session.pds,
                    "com.atproto.identity.resolveHandle",
                    parameters={"handle": handle},
                )
            except NotPublished as error:
                if error.code not in {HANDLE_NOT_FOUND, INVALID_REQUEST}:
                    raise
            else:
                dids[handle] = read_member(answer, "did", str)
        return dids


def _addresses(session: BlueskySession, request: PublishRequest) -> list[RecordAddress]:
    return record_addresses(session.did, _publication_key(request), request.destination_created_at)


def _publication_key(request: PublishRequest) -> bytes:
    return make_publication_key(request.destination_id, request.forced_retries)
