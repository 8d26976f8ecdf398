"""Sign-in and sign-out of the board: `POST` and `DELETE /board/session`."""

from collections.abc import Awaitable, Callable
from typing import Any

from app.domain.errors import Conflict, InvalidApiKey, InvalidInput
from app.domain.sessions import ProxyIdentity, SessionToken, parse_sign_in
from app.domain.times import format_instant
from app.http.body import read_body, read_json_object, require_json
from app.http.paths import SESSION_PATH
from app.http.request import HttpRequest
from app.http.responses import BytesResponse, RawHeader
from app.http.routing import Route
from app.http.session_cookies import SessionCookies
from app.services.api_keys import Viewer
from app.services.sessions import SessionService

_MAX_BODY_BYTES = 16 * 1024


class SessionEndpoint:
    """Handlers of the session of one browser."""

    def __init__(
        self,
        sessions: SessionService,
        cookies: SessionCookies,
        *,
        authenticate: Callable[[HttpRequest], Awaitable[Viewer]],
        respond: Callable[[HttpRequest, dict[str, Any]], BytesResponse],
    ) -> None:
        """Create the handlers.

        `authenticate` authenticates a request by its token, and counts it for the rate limits. `respond`
        builds the response with the given data.
        """
        self._sessions = sessions
        self._cookies = cookies
        self._authenticate = authenticate
        self._respond = respond

    @property
    def route(self) -> Route:
        return Route(SESSION_PATH, {"POST": self._sign_in, "DELETE": self._sign_out})

    async def _sign_in(self, request: HttpRequest) -> BytesResponse:
        """Exchange the API key in the body for a session."""
        request.api = "board"
        self._cookies.require_own_origin(request)
        require_json(request)
        body = read_json_object(await read_body(request, _MAX_BODY_BYTES))
        sign_in = parse_sign_in(body)
        previous = self._read_session(request)
        request.token = sign_in.key
        viewer = await self._authenticate(request)
        created = await self._sessions.sign_in(viewer, sign_in, previous)
        data = {
            "person": created.session.person,
            "scopes": [*created.session.scopes],
            "expiresAt": format_instant(created.session.expires_at),
        }
        return self._respond_with_cookie(
            request, data, self._cookies.set_header(request, created.token)
        )

    async def _sign_out(self, request: HttpRequest) -> BytesResponse:
        """End the session of the cookie; with `everywhere=true` all sessions of its key."""
        request.api = "board"
        self._cookies.require_own_origin(request)
        everywhere = request.query().get("everywhere")
        if everywhere not in (None, "true", "false"):
            raise InvalidInput("everywhere must be true or false.", argument="everywhere")
        ended = await self._end_sessions(request, everywhere=everywhere == "true")
        return self._respond_with_cookie(
            request, {"sessionsEnded": ended}, self._cookies.delete_header(request)
        )

    async def _end_sessions(self, request: HttpRequest, *, everywhere: bool) -> int:
        """Return the number of sessions that were ended; a session that has ended already is no error."""
        request.token = self._read_session(request)
        if request.token is None:
            return 0
        try:
            viewer = await self._authenticate(request)
        except InvalidApiKey:
            return 0
        if everywhere:
            return await self._sessions.sign_out_everywhere(viewer)
        return await self._sessions.sign_out(viewer)

    def _read_session(self, request: HttpRequest) -> SessionToken | None:
        session = self._cookies.read(request.scope, request.headers)
        if isinstance(session, ProxyIdentity):
            raise Conflict(
                "The proxy in front of this server signs you in and out; the board cannot. Sign out there."
            )
        return session

    def _respond_with_cookie(
        self, request: HttpRequest, data: dict[str, Any], cookie: RawHeader
    ) -> BytesResponse:
        response = self._respond(request, data)
        return response._replace(headers=(*response.headers, cookie))
