"""Restores the logging configuration of the process after each test."""

import logging
from collections.abc import Iterator

import pytest
import structlog


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
