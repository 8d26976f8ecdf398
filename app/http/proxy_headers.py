"""Headers by which a trusted proxy names the person whom it has signed in."""

from collections.abc import Sequence

from starlette.types import Scope

from app.domain.sessions import ProxyIdentity
from app.http.request import FROM_TRUSTED_PROXY


class ProxyHeaders:
    """Reads the headers of trusted proxies, and drops those of all other clients."""

    def __init__(self, user_header: str, group_header: str | None) -> None:
        self._user_header = user_header.lower().encode()
        self._group_header = None if group_header is None else group_header.lower().encode()

    def drop_untrusted(self, scope: Scope) -> Scope:
        """Return the scope of a request or WebSocket without the headers, unless a trusted proxy sent it."""
        if scope["type"] not in ("http", "websocket") or is_from_trusted_proxy(scope):
            return scope
        names = (self._user_header, self._group_header)
        headers = [header for header in scope["headers"] if header[0] not in names]
        return {**scope, "headers": headers}

    def read(self, scope: Scope) -> ProxyIdentity | None:
        """Return who sent the request, not checked yet; None if the proxy names no one."""
        users = _values(scope, self._user_header)
        if not any(users):
            return None
        groups = () if self._group_header is None else _values(scope, self._group_header)
        return ProxyIdentity(tuple(users), tuple(groups))


def is_from_trusted_proxy(scope: Scope) -> bool:
    """Return whether the peer of the connection is in TRUSTED_PROXIES."""
    return bool(scope.get("state", {}).get(FROM_TRUSTED_PROXY))


def _values(scope: Scope, name: bytes) -> Sequence[bytes]:
    return [value for key, value in scope["headers"] if key == name]
