"""uvicorn HTTP protocol that loses no request when it closes connections at shutdown."""

from typing import TYPE_CHECKING

from uvicorn.protocols.http.auto import AutoHTTPProtocol

if TYPE_CHECKING:  # the type of AutoHTTPProtocol depends on the installed parser
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as BaseProtocol
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
else:
    BaseProtocol = AutoHTTPProtocol

_IDLE_CLOSE_DELAY = 0.5
"""Seconds without a request after which a connection is closed at shutdown."""


class HttpProtocol(BaseProtocol):
    """HTTP protocol that, at shutdown, closes only connections that have been idle for a while.

    The client of another connection may have sent its next request already. It is answered, and the
    response announces that the connection is closed.
    """

    def shutdown(self) -> None:
        cycle: RequestResponseCycle | None = self.cycle  # of the last request, if there was one
        if cycle is not None and not cycle.response_complete:
            super().shutdown()
            return
        idle_since = self.loop.time()
        if self.timeout_keep_alive_task is not None:
            idle_since = self.timeout_keep_alive_task.when() - self.timeout_keep_alive
        self.loop.call_at(idle_since + _IDLE_CLOSE_DELAY, super().shutdown)
