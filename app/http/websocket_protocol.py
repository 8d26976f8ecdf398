"""How uvicorn ends a WebSocket: so that its client learns why, and no client holds up a stop. No messages."""

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState
from websockets.protocol import State

_SERVICE_RESTART = 1012
"""The registry of RFC 6455: the service is restarting, so come back."""
_SHUTDOWN_CLOSE_TIMEOUT = 1.0
"""Seconds until whoever has not gone by themselves is cut off."""


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """Closes in order also at a stop, and after what cannot be read, such as a frame that is too large.

    A connection that is closed before all was read of it is reset, and then its client may never see the
    close frame: it reports 1006 and not 1009. So what still comes is read and forgotten until the client has
    closed its side, for some time at most.
    """

    _is_draining = False

    def data_received(self, data: bytes) -> None:
        if not self._is_draining:
            super().data_received(data)

    def handle_events(self) -> None:
        try:
            super().handle_events()
        except InvalidState:  # what could not be read came with the client's own close frame
            self._close_gracefully()

    def handle_ping(self) -> None:
        if not self._is_draining:  # it may have come with what could not be read
            super().handle_ping()

    def handle_parser_exception(self) -> None:
        self._close_gracefully()

    def shutdown(self) -> None:
        if not self.handshake_complete:
            super().shutdown()
            return
        self.stop_keepalive()
        if self.conn.state is State.OPEN:
            self.conn.send_close(_SERVICE_RESTART)
            self._close_gracefully()
        self.loop.call_later(_SHUTDOWN_CLOSE_TIMEOUT, self.transport.abort)

    def _close_gracefully(self) -> None:
        """Send the close frame that was made, and see the other side off."""
        if (close := self.conn.close_sent) is None:
            raise RuntimeError("called before a close frame was made")
        self._is_draining = self.close_sent = True
        self.queue.put_nowait(
            {"type": "websocket.disconnect", "code": close.code, "reason": close.reason}
        )
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.transport.write_eof()
        self.transport.resume_reading()
        if self.close_timer is not None:
            self.close_timer.cancel()
        self.close_timer = self.loop.call_later(self.close_timeout, self.transport.abort)
