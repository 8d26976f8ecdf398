"""uvicorn's WebSocket, which tells those as well why it closes who are still sending. No messages."""

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """Closes in order after what cannot be read, such as a frame that is too large.

    A connection that is closed before all was read of it is reset, and then its client may never see the
    close frame: it reports 1006 and not 1009. So what still comes is read and forgotten until the client has
    closed its side, for `close_timeout` seconds at most.
    """

    _is_deaf = False

    def data_received(self, data: bytes) -> None:
        if not self._is_deaf:
            super().data_received(data)

    def handle_parser_exception(self) -> None:
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
        self.close_timer = self.loop.call_later(self.close_timeout, self.transport.close)
