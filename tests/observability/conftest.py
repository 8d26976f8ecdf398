"""Restores the logging configuration after each test, reads log lines, and records requests."""

import json
import logging
import re
from collections.abc import AsyncIterator, Iterator

import pytest
import structlog

from app.observability.metrics import Metrics
from app.observability.request_recorder import RequestRecorder


def log_lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    """Lines of the log in the format `json`, without their time, whose format is checked."""
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    for line in lines:
        assert next(iter(line)) == "timestamp"
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("timestamp"))
    return lines


@pytest.fixture(autouse=True)
def restore_logging() -> Iterator[None]:
    names = ("", "app", "alembic", "uvicorn", "uvicorn.error", "uvicorn.access")
    original = [
        (logger, logger.level, logger.handlers[:], logger.propagate, logger.disabled)
        for logger in map(logging.getLogger, names)
    ]
    configuration = structlog.get_config()
    yield
    for logger, level, handlers, propagate, disabled in original:
        logger.setLevel(level)
        logger.handlers[:] = handlers
        logger.propagate = propagate
        logger.disabled = disabled
    structlog.configure(**configuration)


@pytest.fixture
async def recorder(anyio_backend: str) -> AsyncIterator[RequestRecorder]:
    recorder = RequestRecorder(Metrics())
    yield recorder
    recorder.close()
