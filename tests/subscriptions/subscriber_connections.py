"""Lightweight subscriber connections that record the cursors of the change feed.

They parse only the cursor of each message, so that measurements show the cost of the server.
"""

import asyncio
import base64
import os
import re
import struct
import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import orjson

DOCUMENT = (
    "subscription Changes($after: String) { changes(after: $after) {"
    " cursor type happenedAt operation postId values"
    " destination { accountId status platformPostUrl errorCode attempts nextRetryAt } } }"
)
PROTOCOL = "graphql-transport-ws"

_NEXT_PATTERN = re.compile(
    rb'\{"id":"(\d+)","type":"next","payload":\{"data":\{"changes":\{"cursor":"([^"]+)"'
)
_EVENT_PATTERN = re.compile(rb'\ndata: \{"data":\{"changes":\{"cursor":"([^"]+)"')
_TEXT, _PING, _PONG = 1, 9, 10


@dataclass(frozen=True, slots=True)
class ReceivedChanges:
    """Changes that one subscription received, in the order of their arrival."""

    indexes: "array[int]" = field(default_factory=lambda: array("l"))
    """Indexes of the cursors in the log."""
    received_at: "array[float]" = field(default_factory=lambda: array("d"))
    """Times of the monotonic clock, which is the same in all processes of a machine."""


class SubscriptionLog:
    """Changes that all connections of a process received. Any unexpected message is a problem."""

    def __init__(self, subscriptions: int) -> None:
        self.received = [ReceivedChanges() for _ in range(subscriptions)]
        self.cursor_indexes: dict[bytes, int] = {}
        """Cursor → index, in the order of their first arrival."""
        self.problems: list[str] = []
        self._counts: list[int] = []
        """Number of arrivals of each cursor, by index."""

    def record(self, subscription: int, cursor: bytes, now: float) -> None:
        index = self.cursor_indexes.setdefault(cursor, len(self.cursor_indexes))
        if index == len(self._counts):
            self._counts.append(0)
        self._counts[index] += 1
        received = self.received[subscription]
        received.indexes.append(index)
        received.received_at.append(now)

    def have_all_received(self, cursor: str) -> bool:
        index = self.cursor_indexes.get(cursor.encode())
        return index is not None and self._counts[index] >= len(self.received)


class SubscriberConnection(asyncio.Protocol):
    """Connection with one subscription per start cursor."""

    def __init__(
        self,
        log: SubscriptionLog,
        url: str,
        token: str,
        first_subscription: int,
        start_cursors: Sequence[str],
    ) -> None:
        """Connect; `first_subscription` is the index of the first subscription in the log."""
        self.ready = asyncio.get_running_loop().create_future()
        """Completes when the subscriptions were sent or the connection failed."""
        self._log = log
        self._host = urlsplit(url).netloc
        self._token = token
        self._first_subscription = first_subscription
        self._start_cursors = start_cursors
        self._response_head = b""
        self._buffer = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        transport.write(self._request())

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        data = self._buffer + data
        if not self._response_head:
            head, end, rest = data.partition(b"\r\n\r\n")
            if end:
                self._response_head, data = head, rest
                self._on_response_head()
        if self._response_head:
            data = data[self._parse(data, now) :]
        self._buffer = data

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(f"connection lost: {exc!r}")

    def _fail(self, problem: str) -> None:
        self._log.problems.append(problem)
        self._mark_ready()

    def _mark_ready(self) -> None:
        if not self.ready.done():
            self.ready.set_result(None)

    def _request_head(self, method: str, *headers: str) -> bytes:
        lines = [f"{method} /graphql HTTP/1.1", f"Host: {self._host}", *headers, "", ""]
        return "\r\n".join(lines).encode()

    def _subscription_body(self, number: int) -> dict[str, Any]:
        return {"query": DOCUMENT, "variables": {"after": self._start_cursors[number]}}

    def _request(self) -> bytes:
        raise NotImplementedError

    def _on_response_head(self) -> None:
        """Check the status line, and start the subscriptions if the transport needs it."""
        raise NotImplementedError

    def _parse(self, data: bytes, now: float) -> int:
        """Record the complete messages and return the number of parsed bytes."""
        raise NotImplementedError


class WebSocketConnection(SubscriberConnection):
    """Subscriptions by graphql-transport-ws."""

    def _request(self) -> bytes:
        return self._request_head(
            "GET",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
            f"Sec-WebSocket-Protocol: {PROTOCOL}",
        )

    def _on_response_head(self) -> None:
        if not self._response_head.startswith(b"HTTP/1.1 101 "):
            self._fail(self._response_head.decode())
        bearer = f"Bearer {self._token}"
        self._send_message({"type": "connection_init", "payload": {"Authorization": bearer}})

    def _parse(self, data: bytes, now: float) -> int:
        """Frames of RFC 6455, section 5.2: the server uses no mask and sends one frame per message."""
        done, size = 0, len(data)
        while size - done >= 2:
            start, length = done + 2, data[done + 1]
            if length == 126:
                start, length = done + 4, int.from_bytes(data[done + 2 : done + 4])
            elif length == 127:
                start, length = done + 10, int.from_bytes(data[done + 2 : done + 10])
            if size < start + length:
                break
            match = _NEXT_PATTERN.match(data, start)
            if match:
                self._log.record(self._first_subscription + int(match[1]), match[2], now)
            else:
                self._handle_frame(data[done] & 15, data[start : start + length])
            done = start + length
        return done

    def _handle_frame(self, opcode: int, payload: bytes) -> None:
        if opcode == _PING:
            self._send_frame(_PONG, payload)
        elif payload == b'{"type":"connection_ack"}':
            for number in range(len(self._start_cursors)):
                body = self._subscription_body(number)
                self._send_message({"id": str(number), "type": "subscribe", "payload": body})
            self._mark_ready()
        else:
            self._fail(f"unexpected message: {payload!r}")

    def _send_message(self, message: dict[str, Any]) -> None:
        self._send_frame(_TEXT, orjson.dumps(message))

    def _send_frame(self, opcode: int, payload: bytes) -> None:
        size = len(payload)
        length = bytes([0x80 | size]) if size < 126 else struct.pack("!BH", 0x80 | 126, size)
        zero_mask = bytes(4)  # leaves the payload unchanged
        self._transport.write(bytes([0x80 | opcode]) + length + zero_mask + payload)


class SSEConnection(SubscriberConnection):
    """One subscription by server-sent events."""

    def _request(self) -> bytes:
        body = orjson.dumps(self._subscription_body(0))
        head = self._request_head(
            "POST",
            f"Authorization: Bearer {self._token}",
            "Accept: text/event-stream",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
        )
        return head + body

    def _on_response_head(self) -> None:
        if not self._response_head.startswith(b"HTTP/1.1 200 "):
            self._fail(self._response_head.decode())
        self._mark_ready()

    def _parse(self, data: bytes, now: float) -> int:
        """Match the events in the data and ignore the chunk sizes of HTTP between them."""
        done = data.rfind(b"\n\n") + 2
        if done < 2:
            return 0
        for match in _EVENT_PATTERN.finditer(data, 0, done):
            self._log.record(self._first_subscription, match[1], now)
        if b"event: complete" in data or b'data: {"errors"' in data:
            self._fail(data.decode())
        return done
