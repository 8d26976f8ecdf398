"""Which connections are accepted at a limit, and which are closed for them."""

from collections.abc import Sequence

import pytest

from app.domain.errors import ServiceUnavailable
from app.http.connection_limits import Connection, ConnectionLimits, ConnectionState
from tests.http.protocol_server import limits

TOTAL_MESSAGE = "Too many connections to this server are open. Try again in 5 s."
ADDRESS_MESSAGE = (
    "The limit of 2 open connections of one address is reached; close one of them first."
)


class Connections:
    """Open connections by name, and the names of those that were closed for others."""

    def __init__(self, connection_limits: ConnectionLimits) -> None:
        self._limits = connection_limits
        self.closed: list[str] = []

    def open(
        self,
        name: str,
        state: ConnectionState = ConnectionState.BUSY,
        address: str | None = None,
    ) -> Connection:
        connection = self._limits.acquire(address, lambda: self.closed.append(name))
        connection.change_state(state)
        return connection

    def refusal(self, address: str | None = None) -> str:
        with pytest.raises(ServiceUnavailable) as error:
            self.open("refused", address=address)
        return error.value.message


def test_incomplete_connections_are_closed_before_idle_ones_and_each_the_oldest_first() -> None:
    connections = Connections(limits(5))
    connections.open("idle 1", ConnectionState.IDLE)
    connections.open("incomplete 1", ConnectionState.INCOMPLETE)
    connections.open("busy", ConnectionState.BUSY)
    connections.open("incomplete 2", ConnectionState.INCOMPLETE)
    connections.open("idle 2", ConnectionState.IDLE)

    for number in range(4):
        connections.open(f"new {number}")

    assert connections.closed == ["incomplete 1", "incomplete 2", "idle 1", "idle 2"]
    assert connections.refusal() == TOTAL_MESSAGE


def test_age_of_a_connection_is_that_of_its_state() -> None:
    connections = Connections(limits(3))
    first = connections.open("first", ConnectionState.INCOMPLETE)
    second = connections.open("second", ConnectionState.INCOMPLETE)
    connections.open("third", ConnectionState.INCOMPLETE)
    second.change_state(ConnectionState.INCOMPLETE)
    first.change_state(ConnectionState.IDLE)
    first.change_state(ConnectionState.INCOMPLETE)

    for number in range(3):
        connections.open(f"new {number}")

    assert connections.closed == ["second", "third", "first"]


def test_new_connection_is_incomplete() -> None:
    connections = Connections(limits(1))
    connections.open("first", ConnectionState.INCOMPLETE)
    connections.open("second", ConnectionState.INCOMPLETE)
    assert connections.closed == ["first"]


def test_connection_that_was_closed_or_released_is_not_counted_twice() -> None:
    connections = Connections(limits(1, 1))
    closed = connections.open("first", ConnectionState.INCOMPLETE, "203.0.113.7")
    held = connections.open("second", ConnectionState.BUSY, "203.0.113.7")
    closed.change_state(ConnectionState.INCOMPLETE)
    closed.release()

    assert connections.refusal() == TOTAL_MESSAGE
    held.release()
    held.release()
    connections.open("third", ConnectionState.BUSY, "203.0.113.7")
    assert connections.refusal("203.0.113.8") == TOTAL_MESSAGE
    assert connections.closed == ["first"]


def test_half_sent_requests_of_one_address_are_closed_only_for_that_address() -> None:
    connections = Connections(limits(100, 2))
    connections.open("other", ConnectionState.INCOMPLETE, "203.0.113.8")
    connections.open("busy", ConnectionState.BUSY, "203.0.113.7")
    connections.open("half", ConnectionState.INCOMPLETE, "203.0.113.7")
    connections.open("new", ConnectionState.BUSY, "203.0.113.7")

    assert connections.closed == ["half"]
    assert connections.refusal("203.0.113.7") == ADDRESS_MESSAGE
    assert connections.closed == ["half"]


def test_addresses_without_connections_are_deleted() -> None:
    connection_limits = limits(100, 2)
    connections = Connections(connection_limits)
    for number in range(20):
        connections.open("short", address=f"203.0.113.{number}").release()
    assert connection_limits._by_network == {}


@pytest.mark.parametrize(
    "addresses",
    [
        ["203.0.113.7"] * 3,
        ["203.0.113.7", "::ffff:203.0.113.7", "203.0.113.7"],
        ["2001:db8::1", "2001:db8::2", "2001:db8::ffff:1"],
    ],
)
def test_addresses_of_one_client_are_limited_together(addresses: Sequence[str]) -> None:
    connections = Connections(limits(100, 2))
    first, _ = [connections.open("busy", address=address) for address in addresses[:2]]

    assert connections.refusal(addresses[2]) == ADDRESS_MESSAGE
    first.release()
    connections.open("busy", address=addresses[2])


@pytest.mark.parametrize("address", ["10.0.0.7", "::1", None])
def test_trusted_proxies_and_unix_sockets_only_count_in_total(address: str | None) -> None:
    connections = Connections(limits(5, 2, "10.0.0.0/8", "::1"))
    for _ in range(5):
        connections.open("busy", address=address)

    assert connections.refusal(address) == TOTAL_MESSAGE
