"""uvicorn WebSocket protocol that closes gracefully, and within a time limit at shutdown."""

from collections.abc import Callable
from typing import Any

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState
from websockets.protocol import State

SEND_FRAGMENT = "websocket.send_fragment"
"""Type of an ASGI message that sends a fragment of a text message (RFC 6455, 5.4), unlike `websocket.send`.

It has `data`, a part of the UTF-8 of the text, and `more_data`, which is false for the last fragment. A
fragment waits until the fragments before it are sent. No other text may be sent between them.
"""

MAX_WRITE_BUFFER_BYTES = 16 * 1024
"""Unsent bytes of a connection, also of HTTP, from which further messages wait."""

_SERVICE_RESTART = 1012
"""Close code of the IANA registry: the service restarts, and the client may reconnect."""
_SHUTDOWN_CLOSE_TIMEOUT = 1.0
"""Seconds until connections that are still open at shutdown are aborted."""


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """WebSocket protocol that sends a close frame also at shutdown and after unreadable data.

    Closing a connection with unread data resets it, and the client may then report 1006 instead of
    the close code. So incoming data are read and dropped until the client has closed its side, for
    `close_timeout` seconds at most.
    """

    release_connection: Callable[[], None] = staticmethod(lambda: None)
    """Function that is called when the connection is lost."""
    _discards_input = False
    _are_pongs_unsent = False
    """True while nothing is read because the client does not read the pongs to its pings."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=MAX_WRITE_BUFFER_BYTES)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.release_connection()

    def data_received(self, data: bytes) -> None:
        if not self._discards_input:
            super().data_received(data)
            if self.conn.handshake_exc is not None and not self.handshake_initiated:
                self._refuse_handshake()

    def handle_events(self) -> None:
        try:
            super().handle_events()
        except InvalidState:  # the unreadable data came with the client's own close frame
            self._close_gracefully()

    def handle_ping(self) -> None:
        if not self._discards_input:  # a ping may arrive together with unreadable data
            super().handle_ping()
            if not self.writable.is_set():
                self._are_pongs_unsent = True
                self.transport.pause_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._are_pongs_unsent:
            self._are_pongs_unsent = False
            if not self.read_paused:
                self.transport.resume_reading()

    async def receive(self) -> Any:
        message = await super().receive()
        if self._are_pongs_unsent:  # reading was resumed for the next message
            self.transport.pause_reading()
        return message

    async def send(self, message: Any) -> None:
        if message["type"] == SEND_FRAGMENT:
            await self._send_fragment(message["data"], is_last=not message["more_data"])
        else:
            await super().send(message)

    async def _send_fragment(self, data: bytes, *, is_last: bool) -> None:
        await self.writable.wait()
        if self.disconnected or self.close_sent:
            raise ClientDisconnected
        try:
            if self.conn.expect_continuation_frame:
                self.conn.send_continuation(data, is_last)
            else:
                self.conn.send_text(data, is_last)
        except InvalidState:
            raise ClientDisconnected from None
        self.transport.write(b"".join(self.conn.data_to_send()))

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

    def _refuse_handshake(self) -> None:
        """Send the prepared error of an unreadable handshake, for instance of a header that is too long."""
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.transport.close()

    def _close_gracefully(self) -> None:
        """Send the prepared close frame, and drop incoming data until the client closes."""
        if (close := self.conn.close_sent) is None:
            raise RuntimeError("_close_gracefully called before a close frame was prepared")
        self._discards_input = self.close_sent = True
        self.queue.put_nowait(
            {"type": "websocket.disconnect", "code": close.code, "reason": close.reason}
        )
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.transport.write_eof()
        self.transport.resume_reading()
        if self.close_timer is not None:
            self.close_timer.cancel()
        self.close_timer = self.loop.call_later(self.close_timeout, self.transport.abort)
