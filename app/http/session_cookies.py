"""Which requests a cookie of the board, or a proxy, authenticates; the origin of this server."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TypeAlias

from starlette.types import Scope

from app.domain.errors import OriginNotAllowed
from app.domain.sessions import SESSION_MAX_AGE, ProxyIdentity, SessionToken
from app.domain.signing import Signer
from app.http.headers import find_cookie
from app.http.proxy_headers import ProxyHeaders, is_from_trusted_proxy
from app.http.request import HttpRequest

Headers = Mapping[bytes, bytes]
"""Headers by lower-case name."""

SessionCredential: TypeAlias = SessionToken | ProxyIdentity

ReadSession = Callable[[Scope, Headers], SessionCredential | None]
"""Function that returns the session by which a request may be authenticated."""

_DEFAULT_PORTS = {"http": "80", "https": "443"}
_MAX_SHOWN_ORIGIN = 200
_NAME_PREFIX = "post-results-"
_NAME_ID_LENGTH = 8


class SessionCookies:
    """Reads and writes the cookie of a session, and reads the headers of a proxy in its place.

    A page of another origin must not act by either. So they are ignored if the request has an Authorization
    header, or the origin of another server. The caller checks the path and the method.
    """

    def __init__(
        self,
        public_url: str | None,
        signing_key: Callable[[], bytes],
        proxy_headers: ProxyHeaders | None,
    ) -> None:
        """Set the URL at which browsers reach this server; None to take it from each request.

        The name of the cookie is derived from the signing key, because browsers send the cookies of a host
        to all its ports.
        """
        self._public_origin = None if public_url is None else origin_of(public_url)
        self._signing_key = signing_key
        self._proxy_headers = proxy_headers

    def read(self, scope: Scope, headers: Headers) -> SessionCredential | None:
        """Return the session of a request that must have an Origin header, which pages cannot forge."""
        if self.is_own_origin(scope, headers):
            return self._find_credential(scope, headers)
        return None

    def read_download(self, scope: Scope, headers: Headers) -> SessionCredential | None:
        """Return the session of a GET request: browsers send Origin only with those of other origins.

        Sec-Fetch-Site is missing over plain HTTP. SameSite=Strict covers other sites there.
        """
        is_own = b"origin" not in headers or self.is_own_origin(scope, headers)
        is_same_origin = headers.get(b"sec-fetch-site", b"same-origin") == b"same-origin"
        if is_own and is_same_origin:
            return self._find_credential(scope, headers)
        return None

    def _find_credential(self, scope: Scope, headers: Headers) -> SessionCredential | None:
        """Return the headers of the proxy, or else the cookie: the proxy knows who uses the browser now."""
        if b"authorization" in headers:
            return None
        identity = self._proxy_headers and self._proxy_headers.read(scope)
        return identity or self._find_token(scope, headers)

    def _find_token(self, scope: Scope, headers: Headers) -> SessionToken | None:
        if b"cookie" not in headers:
            return None
        value = find_cookie(headers, self._name(is_secure=self._is_secure(scope, headers)))
        return None if value is None else SessionToken(value)

    def set_header(self, request: HttpRequest, token: SessionToken) -> tuple[bytes, bytes]:
        """Return the header that stores the cookie until a session ends at the latest."""
        return self._header(request, token, SESSION_MAX_AGE)

    def delete_header(self, request: HttpRequest) -> tuple[bytes, bytes]:
        """Return the header that deletes the cookie."""
        return self._header(request, "", timedelta(0))

    def _header(self, request: HttpRequest, value: str, max_age: timedelta) -> tuple[bytes, bytes]:
        is_secure = self._is_secure(request.scope, request.headers)
        cookie = (
            f"{self._name(is_secure=is_secure)}={value}; Path=/; Max-Age={max_age.total_seconds():.0f};"
            f" HttpOnly; SameSite=Strict{'; Secure' if is_secure else ''}"
        )
        return b"set-cookie", cookie.encode()

    def _name(self, *, is_secure: bool) -> str:
        deployment_id = Signer(self._signing_key(), "session cookie").sign(b"").lower()
        prefix = "__Host-" if is_secure else ""
        return f"{prefix}{_NAME_PREFIX}{deployment_id[:_NAME_ID_LENGTH]}"

    def _is_secure(self, scope: Scope, headers: Headers) -> bool:
        return self.own_origin(scope, headers).startswith("https:")

    def require_own_origin(self, request: HttpRequest) -> None:
        """Raise OriginNotAllowed, with both origins, for a request of a page of another origin."""
        if self.is_own_origin(request.scope, request.headers):
            return
        own = self.own_origin(request.scope, request.headers)
        origin = request.header(b"origin")
        problem = (
            "This request has no Origin header"
            if origin is None
            else f"This request comes from a page of {origin[:_MAX_SHOWN_ORIGIN]}"
        )
        raise OriginNotAllowed(
            f"{problem}, but this server's own origin is {own}. Open the board there. If its address in"
            " the browser is another one, the operator of the server sets PUBLIC_URL to it."
        )

    def is_own_origin(self, scope: Scope, headers: Headers) -> bool:
        """Return whether the Origin header is this server's own."""
        origin = headers.get(b"origin")
        return origin is not None and origin.decode("latin-1") == self.own_origin(scope, headers)

    def own_origin(self, scope: Scope, headers: Headers) -> str:
        """Return the origin at which the browser reaches this server, if the proxies in between say so."""
        if self._public_origin is not None:
            return self._public_origin
        host = headers.get(b"host", b"")
        if is_from_trusted_proxy(scope):
            host = headers.get(b"x-forwarded-host", b"").partition(b",")[0].strip() or host
        scheme = "https" if scope.get("scheme") in ("https", "wss") else "http"
        return origin_of(f"{scheme}://{host.decode('latin-1')}")


def no_session(_scope: Scope, _headers: Headers) -> None:
    """Return None for every request, for a server without the board."""


def origin_of(url: str) -> str:
    """Return the origin of a URL as browsers write it: in lower case, without path and default port."""
    scheme, _, rest = url.lower().partition("://")
    authority = rest.partition("/")[0]
    return f"{scheme}://{authority.removesuffix(f':{_DEFAULT_PORTS[scheme]}')}"
