"""Configures logging: format, levels, and one handler to stderr for the service and its libraries."""

import logging
import re
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from datetime import UTC, datetime
from functools import lru_cache
from typing import TextIO, cast
from urllib.parse import quote
from uuid import UUID

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from app.domain.times import format_instant
from app.observability.repeated_failures import RepeatedFailures

_MAX_ATOMIC_WRITE = 4096
"""Bytes that a pipe takes without those of another process in between: PIPE_BUF on Linux."""

_MAX_LOGGED_LENGTH = 200
"""Characters of a client's text in a line."""

_MAX_SECRET_LENGTH = 64
"""Characters of the longest key or session token that `_SECRET_PATTERN` matches."""

MAX_CLIENT_TEXT = _MAX_LOGGED_LENGTH + _MAX_SECRET_LENGTH
"""Characters of a client's text that are enough for `clean_text`."""

_SECRET_PATTERN = re.compile(
    r"(?<=bearer )[^\s\"'\\]+"
    r"|(?<=://)[^\s/@\"']+(?=@)"  # user and password of a URL
    r"|(?<![a-z0-9_-])[a-z0-9_-]{1,24}[0-9a-f]{32}(?![0-9a-z])"  # an API key
    r"|(?<![a-z0-9])[0-9a-f]{64}(?![0-9a-z])"  # the token of a session
    r"|(?<![a-z0-9])whsec_[a-z0-9+/=_-]+"  # the signing secret of a webhook
    r"|(?<![a-z0-9])private_[a-z0-9_-]{43}",  # a key of CREDENTIALS_KEY
    re.IGNORECASE,
)


def configure_logging(level: str, log_format: str) -> None:
    """Send every logger of the process through one handler. May be called repeatedly.

    `level` (debug, info, warning, error) applies to the service and uvicorn. Other libraries log
    only warnings and errors, because some log SQL statements with parameters. `log_format` is
    `json`, one object per line, or `console`, for people. Start uvicorn with `log_config=None`.
    """
    level_number = logging.getLevelNamesMapping()[level.upper()]
    handler = _install_handler(log_format)
    logging.getLogger().setLevel(max(level_number, logging.WARNING))
    logging.getLogger("app").setLevel(level_number)
    # At debug the WebSocket library of uvicorn logs handshakes with their Authorization header.
    logging.getLogger("uvicorn").setLevel(max(level_number, logging.INFO))
    _take_over_uvicorn()
    _take_over_warnings()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            handler.repeated_failures,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level_number),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


class StderrHandler(logging.StreamHandler[TextIO]):
    """Handler that writes to the current `sys.stderr`, so that lines appear above a status line."""

    def __init__(self, log_format: str) -> None:
        super().__init__()
        self.repeated_failures = RepeatedFailures(time.monotonic)
        self._is_json = log_format == "json"
        renderers = _renderers(log_format)
        self._render = renderers[-1]
        self.setFormatter(
            structlog.stdlib.ProcessorFormatter(
                processors=[_add_log_metadata, *renderers, _redact_line]
            )
        )

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, stream: TextIO) -> None:
        """Ignore the new stream: the handler always follows sys.stderr."""

    def render(self, events: Iterable[EventDict]) -> str:
        """Format events that have their time, level and logger, and no secrets, as lines."""
        if self._is_json:
            return "".join([f"{orjson.dumps(event, default=str).decode()}\n" for event in events])
        # The renderer for people prints the repr of a value that is not a string.
        texts = (
            {
                name: str(value) if isinstance(value, UUID) else value
                for name, value in event.items()
            }
            for event in events
        )
        return "".join([f"{self._render(None, '', text)!s}\n" for text in texts])

    def write(self, lines: str) -> None:
        """Write complete ASCII lines, from any thread; another process or thread may write in between."""
        for chunk in _chunk_lines(lines):
            with self.lock or nullcontext():
                self.stream.write(chunk)
                self.stream.flush()


def _chunk_lines(lines: str) -> Iterator[str]:
    """Divide lines into chunks that one system call writes, so that lines of processes do not mix."""
    start = 0
    while start < len(lines):
        end = lines.rfind("\n", start, start + _MAX_ATOMIC_WRITE) + 1
        end = end or lines.index("\n", start) + 1
        yield lines[start:end]
        start = end


def log_handler() -> StderrHandler | None:
    """Return the handler of `configure_logging`; None before its first call."""
    handlers = logging.getLogger().handlers
    return next((handler for handler in handlers if isinstance(handler, StderrHandler)), None)


def _install_handler(log_format: str) -> StderrHandler:
    root, handler = logging.getLogger(), StderrHandler(log_format)
    if (previous := log_handler()) is not None:
        root.removeHandler(previous)
    root.addHandler(handler)
    return handler


def _take_over_uvicorn() -> None:
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    # RequestRecorder logs more, and no query string.
    logging.getLogger("uvicorn.access").disabled = True
    logging.getLogger("uvicorn.error").addFilter(_is_not_websocket_noise)


def _take_over_warnings() -> None:
    """Log Python's warnings as lines of their own, which otherwise appear between those of the log."""
    logging.captureWarnings(True)
    logging.getLogger("py.warnings").addFilter(_is_not_cancelled_execution)


def _is_not_cancelled_execution(record: logging.LogRecord) -> bool:
    """Filter out the coroutines that graphql-core has not started when the client cancels a request."""
    return "coroutine 'Executor." not in record.getMessage()


def _is_not_websocket_noise(record: logging.LogRecord) -> bool:
    """Filter out uvicorn's lines about WebSockets: `app.sockets` logs them, and client errors are normal."""
    message = record.getMessage()
    return not message.startswith(_WEBSOCKET_NOISE_PREFIXES) and '"WebSocket ' not in message


_WEBSOCKET_NOISE_PREFIXES = (
    "connection open",
    "connection closed",
    "Invalid UTF-8 sequence received",
    # uvicorn's mistaken report of a handshake that was rejected with a response body
    "ASGI callable returned without completing handshake",
)


def _renderers(log_format: str) -> list[Processor]:
    # Plain tracebacks: rich ones print local variables, which may be secrets.
    if log_format == "json":
        json = structlog.processors.JSONRenderer(separators=(",", ":"), ensure_ascii=False)
        return [structlog.processors.format_exc_info, json]
    return [
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    ]


def _add_log_metadata(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Prepend time, level and logger to the fields of the event."""
    record: logging.LogRecord = event.pop("_record")
    del event["_from_structlog"]
    return {
        "timestamp": format_instant(datetime.fromtimestamp(record.created, UTC)),
        "level": record.levelname.lower(),
        "logger": record.name,
        "event": event.pop("event"),
        **event,
    }


def _redact_line(_logger: WrappedLogger, _method: str, line: EventDict) -> str:
    return _redact_secrets(cast("str", line))


@lru_cache(1024)  # few texts are repeated in most lines
def clean_text(text: str) -> str:
    """Clean a text that a client chose: redact secrets, and percent-encode it unless it is printable ASCII.

    Control characters could forge a line, or hide one on a terminal. The end of a long text is cut off
    after the redaction: it may be the beginning of a key, which is not recognizable.
    """
    is_plain = text.isascii() and text.isprintable()
    cleaned = _redact_secrets(text if is_plain else quote(text, errors="replace"))
    if len(text) >= MAX_CLIENT_TEXT:
        cleaned = cleaned[:-_MAX_SECRET_LENGTH]
    return cleaned[:_MAX_LOGGED_LENGTH]


def _redact_secrets(text: str) -> str:
    """Replace everything that looks like a secret, as a second safeguard."""
    return _SECRET_PATTERN.sub("***", text)
