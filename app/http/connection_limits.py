"""Limits of the open connections of a process: in total, and per client address."""

import ipaddress
from collections import OrderedDict
from collections.abc import Callable, Sequence
from enum import IntEnum, auto

from app.domain.errors import TooManyConnections
from app.http.rate_limits import client_network

MAX_REFUSED_CONNECTIONS = 200
"""Connections above a limit that are open at a time; further ones are closed without a response."""

_RETRY_AFTER_SECONDS = 5


# Of integers, because Python computes the hash of an Enum each time.
class ConnectionState(IntEnum):
    """What a connection waits for. The order is that in which connections are closed for new ones."""

    INCOMPLETE = auto()
    """The client has not sent a whole request, or has not authenticated its WebSocket."""
    IDLE = auto()
    """The last request was answered, and the client has sent no byte of another one."""
    BUSY = auto()
    """The server works on a request, or the WebSocket is authenticated; such a connection is never closed."""


class _Group:
    """Connections that share a limit; every operation takes constant time."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.count = 0
        # A dict would search for its first entry behind all that were removed before it.
        self._closable: dict[ConnectionState, OrderedDict[Connection, None]] = {
            ConnectionState.INCOMPLETE: OrderedDict(),
            ConnectionState.IDLE: OrderedDict(),
        }

    @property
    def is_full(self) -> bool:
        return self.count >= self.limit

    def first_closable(self) -> "Connection | None":
        """Return the connection to close first: incomplete before idle, each the oldest first."""
        for connections in self._closable.values():
            if connections:
                return next(iter(connections))
        return None

    def move(
        self, connection: "Connection", old: ConnectionState | None, new: ConnectionState | None
    ) -> None:
        """Change the state of a connection; None if it is not open."""
        if old in self._closable:
            del self._closable[old][connection]
        if new in self._closable:
            self._closable[new][connection] = None
        self.count += (new is not None) - (old is not None)


class Connection:
    """An open connection that counts for limits until it is released."""

    def __init__(
        self, groups: Sequence[_Group], abort: Callable[[], None], on_release: Callable[[], None]
    ) -> None:
        self._groups = groups
        self._abort = abort
        self._on_release = on_release
        self._state: ConnectionState | None = None
        self._move(ConnectionState.INCOMPLETE)

    def change_state(self, state: ConnectionState) -> None:
        """Change the state of an open connection. Its age in a state is not changed by the same state."""
        if self._state is not None and state is not self._state:
            self._move(state)

    def keep_open(self) -> None:
        """Exempt the connection from being closed for new ones."""
        self.change_state(ConnectionState.BUSY)

    def release(self) -> None:
        """End the counting; may be called again."""
        if self._state is not None:
            self._move(None)
            self._on_release()

    def close(self) -> None:
        """Stop counting the connection immediately, and close it without a response."""
        self.release()
        self._abort()

    def _move(self, state: ConnectionState | None) -> None:
        for group in self._groups:
            group.move(self, self._state, state)
        self._state = state


class ConnectionLimits:
    """Open connections, HTTP and WebSockets, in total and per client address.

    At a limit, the oldest connection without a whole request is closed for a new one, or else the connection
    idle for longest. Clients that only hold connections open thus cannot exclude others.
    """

    def __init__(
        self, *, max_total: int, max_per_address: int | None, trusted_proxies: Sequence[str]
    ) -> None:
        """Set the limits; connections of the proxies only count in total."""
        self._all = _Group(max_total)
        self._max_per_address = max_per_address
        self._by_network: dict[str, _Group] = {}
        self._proxies = [ipaddress.ip_network(proxy) for proxy in trusted_proxies]
        self._refused = _Group(MAX_REFUSED_CONNECTIONS)

    def acquire(self, address: str | None, abort: Callable[[], None]) -> Connection:
        """Count a connection, which `abort` closes; close another one at a limit.

        Raises TooManyConnections if all others are busy. A connection without an address uses a Unix socket.
        """
        limit = self._max_per_address
        if limit is None or address is None or self.is_trusted_proxy(address):
            self._limit_total()
            return Connection([self._all], abort, lambda: None)
        network = client_network(address)
        group = self._by_network.get(network) or _Group(limit)
        _close_one_if_full(
            group,
            f"The limit of {limit} open connections of one address is reached;"
            " close one of them first.",
        )
        self._limit_total()
        self._by_network[network] = group
        return Connection([self._all, group], abort, lambda: self._delete_if_empty(network))

    def acquire_refused(self, abort: Callable[[], None]) -> Connection | None:
        """Count a connection above a limit, like `acquire`; return None if there are too many of them."""
        if self._refused.is_full:
            return None
        return Connection([self._refused], abort, lambda: None)

    def is_trusted_proxy(self, address: str | None) -> bool:
        """Return whether a connection is that of a trusted proxy; one of a Unix socket is not."""
        if address is None or not self._proxies:
            return False
        parsed = ipaddress.ip_address(address)
        return any(parsed in proxy for proxy in self._proxies)

    def _limit_total(self) -> None:
        _close_one_if_full(
            self._all,
            f"Too many connections to this server are open. Try again in {_RETRY_AFTER_SECONDS} s.",
        )

    def _delete_if_empty(self, network: str) -> None:
        if not self._by_network[network].count:
            del self._by_network[network]


def _close_one_if_full(group: _Group, refusal: str) -> None:
    """Close a connection of a full group; raise TooManyConnections if all of them are busy."""
    if group.is_full:
        closable = group.first_closable()
        if closable is None:
            raise TooManyConnections(refusal, retry_after=_RETRY_AFTER_SECONDS)
        closable.close()
