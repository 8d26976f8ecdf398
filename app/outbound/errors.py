"""Errors of outbound requests, in sentences for the person who configured the URL."""

from enum import StrEnum


class OutboundFailure(StrEnum):
    """Reason why a request has no response."""

    INVALID_URL = "invalid_url"
    ADDRESS_NOT_ALLOWED = "address_not_allowed"
    NAME_NOT_RESOLVED = "name_not_resolved"
    CONNECTION_FAILED = "connection_failed"
    """The server refused the connection, or cannot be reached."""
    TLS_FAILED = "tls_failed"
    TIMEOUT = "timeout"
    INVALID_RESPONSE = "invalid_response"
    NO_FREE_SOCKET = "no_free_socket"
    """This process, not the server, has no free file or memory for a connection."""
    CONNECTION_CLOSED = "connection_closed"
    """The server closed the connection before its response was complete."""


class OutboundError(Exception):
    """Error of a request without a complete response; its message may be shown unchanged."""

    def __init__(
        self,
        reason: OutboundFailure,
        message: str,
        *,
        may_have_been_sent: bool = False,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.may_have_been_sent = may_have_been_sent
        """False if the server certainly received no part of the request."""
