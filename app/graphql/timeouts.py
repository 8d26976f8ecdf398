"""How long those who stay may be silent, deaf or unknown; each is a promise. Nothing waits here."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionTimeouts:
    init_timeout: timedelta = timedelta(seconds=10)
    """A WebSocket may stay so long without saying who it is."""
    key_recheck_interval: timedelta = timedelta(seconds=30)
    """The key of whoever stays is looked at again so often; a revoked one ends that."""
    send_timeout: timedelta = timedelta(seconds=30)
    """So long nothing can be sent until whoever does not read is taken for gone."""
    heartbeat_interval: timedelta = timedelta(seconds=12)
    """So often something is sent in an event stream, or proxies would take it for dead."""
