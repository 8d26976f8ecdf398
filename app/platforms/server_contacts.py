"""Records which servers answered the calls of one attempt, without a parameter in each call."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import islice
from urllib.parse import urlsplit

from app.domain.circuit_breakers import ServerFailure
from app.outbound.errors import OutboundFailure

_FAILURES = {
    OutboundFailure.NAME_NOT_RESOLVED: ServerFailure.UNREACHABLE,
    OutboundFailure.CONNECTION_FAILED: ServerFailure.UNREACHABLE,
    OutboundFailure.TLS_FAILED: ServerFailure.UNREACHABLE,
    OutboundFailure.TIMEOUT: ServerFailure.NO_ANSWER,
    OutboundFailure.INVALID_RESPONSE: ServerFailure.NO_ANSWER,
    OutboundFailure.CONNECTION_CLOSED: ServerFailure.NO_ANSWER,
}
"""Reasons for which a server is at fault; the others are those of the URL, or of this process."""

_ANSWERS = {HTTPStatus.NOT_IMPLEMENTED, HTTPStatus.HTTP_VERSION_NOT_SUPPORTED}
"""Statuses from 500 on that say what the server does not do, not that it fails."""

_OF_ACCOUNT = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS}
"""Statuses that depend on the account, or that a gateway answers for a server: they show nothing of it."""

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


@dataclass(slots=True)
class ServerContacts:
    """Servers that were called, each with the result of its last call."""

    results: dict[str, ServerFailure | None] = field(default_factory=dict)
    """By origin, in the order of the last calls; None for an answer."""
    has_failed_login: bool = False
    """True if the access of the account was not renewed, here or by another attempt at the same time."""

    def add(self, url: str, failure: ServerFailure | None) -> None:
        origin = url_origin(url)
        self.results.pop(origin, None)
        self.results[origin] = failure

    @property
    def last_origin(self) -> str | None:
        """Server of the last call; None if no server was called."""
        return next(reversed(self.results), None)

    @property
    def last_failure(self) -> ServerFailure | None:
        """Way in which the last call failed; None if it was answered, or if no server was called."""
        return next(reversed(self.results.values()), None)

    @property
    def login_origin(self) -> str | None:
        """Server that was called before the last one, to renew the access; None without one."""
        return next(islice(reversed(self.results), 1, None), None)

    @property
    def answered(self) -> list[str]:
        """Servers that answered their last call."""
        return [origin for origin, failure in self.results.items() if failure is None]


_contacts: ContextVar[ServerContacts | None] = ContextVar("server_contacts", default=None)


@contextmanager
def recorded_contacts() -> Iterator[ServerContacts]:
    """Record the calls of platforms inside the context, also those of tasks that begin in it."""
    contacts = ServerContacts()
    token = _contacts.set(contacts)
    try:
        yield contacts
    finally:
        _contacts.reset(token)


def record_status(url: str, status: int) -> None:
    """Record the answer of a call."""
    if status not in _OF_ACCOUNT and (contacts := _contacts.get()) is not None:
        is_failure = status >= HTTPStatus.INTERNAL_SERVER_ERROR and status not in _ANSWERS
        contacts.add(url, ServerFailure.NO_ANSWER if is_failure else None)


def record_failure(url: str, reason: OutboundFailure, *, may_have_been_sent: bool) -> None:
    """Record a call without an answer."""
    failure = _FAILURES.get(reason)
    if failure is None or (contacts := _contacts.get()) is None:
        return
    if reason is OutboundFailure.TIMEOUT and not may_have_been_sent:
        failure = ServerFailure.UNREACHABLE
    contacts.add(url, failure)


def record_failed_login() -> None:
    """Record that the access of the account was not renewed."""
    if (contacts := _contacts.get()) is not None:
        contacts.has_failed_login = True


def url_origin(url: str) -> str:
    """Return scheme, host and, unless it is the default, port, so that a server has one name only."""
    parts = urlsplit(url)
    authority = parts.netloc.removesuffix(_DEFAULT_PORTS[parts.scheme])
    return f"{parts.scheme}://{authority}".lower()
