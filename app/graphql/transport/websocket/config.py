"""What all WebSockets of a server have in common. Runs nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from app.graphql.engine.persisted_documents import DocumentStore
from app.graphql.service import GraphQLService
from app.graphql.timeouts import ConnectionTimeouts
from app.http.concurrency import ConcurrencyLimiter
from app.observability.recorders import SocketRecorder


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketConfig:
    service: GraphQLService
    document_store: DocumentStore
    observer: SocketRecorder
    new_request_id: Callable[[], str]
    authenticated_limiter: ConcurrencyLimiter
    """Of those that were let in."""
    unauthenticated_limiter: ConcurrencyLimiter
    """Of all others, which are counted as one key's: nobody knows whose they are."""
    max_operations: int
    """That run on one socket at a time."""
    max_list_entries: int
    max_values: int
    operation_timeout: timedelta
    """For queries and mutations, and for the begin of a subscription."""
    timeouts: ConnectionTimeouts
