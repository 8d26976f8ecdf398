"""How log lines look and where they go: ours, the server's and the libraries' alike, to stderr."""

import logging
import re
import sys
from datetime import UTC, datetime
from typing import TextIO, cast

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from app.domain.times import format_instant

_SECRET_PATTERN = re.compile(
    r"(?<=bearer )[^\s\"'\\]+"
    r"|(?<=://)[^\s/@\"']+(?=@)"  # user and password of a URL
    r"|(?<![a-z0-9_-])[a-z0-9_-]{1,24}[0-9a-f]{32}(?![0-9a-z])"  # an API key
    r"|(?<![a-z0-9])whsec_[a-z0-9+/=_-]+",  # what a webhook is signed with
    re.IGNORECASE,
)


def configure_logging(level: str, log_format: str) -> None:
    """Send every logger of the process through one handler. May be called again.

    `level` (debug, info, warning, error) is ours and the server's; other libraries stay silent
    below a warning, because some of them print statements with their parameters. `log_format` is
    `json`, one object a line, or `console`, for people. Start uvicorn with `log_config=None`.
    """
    wanted = logging.getLevelNamesMapping()[level.upper()]
    _install_handler(log_format)
    logging.getLogger().setLevel(max(wanted, logging.WARNING))
    logging.getLogger("app").setLevel(wanted)
    # At debug the server's WebSocket library prints handshakes, and with them Authorization.
    logging.getLogger("uvicorn").setLevel(max(wanted, logging.INFO))
    _take_over_uvicorn()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(wanted),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


class _StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to what is standard error at the time: while a live line is shown, that is above it."""

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, stream: TextIO) -> None:
        """It follows sys.stderr, whatever it is made with."""


def _install_handler(log_format: str) -> None:
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler.formatter, structlog.stdlib.ProcessorFormatter):
            root.removeHandler(handler)
    handler = _StderrHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[_add_log_metadata, *_renderers(log_format), _redact_secrets]
        )
    )
    root.addHandler(handler)


def _take_over_uvicorn() -> None:
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    # Our own line per request says more, and holds no query string.
    logging.getLogger("uvicorn.access").disabled = True
    logging.getLogger("uvicorn.error").addFilter(_is_not_websocket_noise)


def _is_not_websocket_noise(record: logging.LogRecord) -> bool:
    """What the server tells of WebSockets, ours tell of as well; what a client sends is no failure."""
    message = record.getMessage()
    return not message.startswith(_WEBSOCKET_NOISE_PREFIXES) and '"WebSocket ' not in message


_WEBSOCKET_NOISE_PREFIXES = (
    "connection open",
    "connection closed",
    "Invalid UTF-8 sequence received",
    # It takes a handshake that was refused with a body for one that was forgotten.
    "ASGI callable returned without completing handshake",
)


def _renderers(log_format: str) -> list[Processor]:
    # Tracebacks are the plain ones: the prettier ones print local variables, and secrets with them.
    if log_format == "json":
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    return [
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    ]


def _add_log_metadata(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Put when, how grave and whose in front of what the line says."""
    record: logging.LogRecord = event.pop("_record")
    del event["_from_structlog"]
    return {
        "timestamp": format_instant(datetime.fromtimestamp(record.created, UTC)),
        "level": record.levelname.lower(),
        "logger": record.name,
        "event": event.pop("event"),
        **event,
    }


def _redact_secrets(_logger: WrappedLogger, _method: str, line: EventDict) -> str:
    """The net under the rule that nobody logs a secret: take out whatever looks like one."""
    return _SECRET_PATTERN.sub("***", cast("str", line))
