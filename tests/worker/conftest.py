"""Configures logging as worker processes do; structlog's own tracebacks take longer than the tests."""

import logging
from collections.abc import Iterator

import pytest
import structlog

from app.observability.logs import configure_logging


@pytest.fixture(autouse=True)
def process_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, configuration = root.handlers[:], structlog.get_config()
    configure_logging("info", "json")
    yield
    root.handlers[:] = handlers
    structlog.configure(**configuration)
