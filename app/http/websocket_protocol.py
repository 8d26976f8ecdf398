"""uvicorn's WebSocket, which tells those as well why it closes who are still sending. No messages."""

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

_STOPPING = 1012
"""RFC 6455 and its registry: the service is restarting, so come back."""
_AFTER_A_STOP = 1.0
"""Seconds: whoever is not there any more must not hold up a stop."""


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """Closes in order, also after what cannot be read, such as a frame that is too large.

    A connection that is closed before all was read of it is reset, and then its client may never see the
    close frame: it reports 1006 and not 1009. So what still comes is read and forgotten until the client has
    closed its side, for some time at most.
    """

    _is_deaf = False

    def data_received(self, data: bytes) -> None:
        if not self._is_deaf:
            super().data_received(data)

    def handle_parser_exception(self) -> None:
        self._close_in_order(self.close_timeout)

    def shutdown(self) -> None:
        if self.close_sent or not self.handshake_complete:
            super().shutdown()
            return
        self.stop_keepalive()
        self.conn.send_close(_STOPPING)
        self._close_in_order(_AFTER_A_STOP)

    def _close_in_order(self, timeout: float) -> None:
        """Send the close frame that was made, and see the other side off."""
        if (close := self.conn.close_sent) is None:
            raise RuntimeError("called before a close frame was made")
        self._is_deaf = True
        self.queue.put_nowait(
            {"type": "websocket.disconnect", "code": close.code, "reason": close.reason}
        )
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.transport.write_eof()
        self.transport.resume_reading()
        self.close_timer = self.loop.call_later(timeout, self.transport.close)
