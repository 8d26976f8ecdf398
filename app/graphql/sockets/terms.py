"""What all WebSockets of a server have in common. Runs nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from app.graphql.documents import Documents
from app.graphql.door import GraphQLDoor
from app.graphql.streams.times import Times
from app.http.places import Places
from app.observability.sockets import SocketObserver


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    door: GraphQLDoor
    documents: Documents
    observer: SocketObserver
    new_request_id: Callable[[], str]
    sockets: Places
    """Of those that were let in."""
    unknown_sockets: Places
    """Of all others, which are counted as one key's: nobody knows whose they are."""
    max_operations: int
    """That run on one socket at a time."""
    max_list_entries: int
    max_values: int
    answer_within: timedelta
    """For queries and mutations, and for the begin of a subscription."""
    times: Times
