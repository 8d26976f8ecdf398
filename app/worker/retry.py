"""Calls to a database that may be away: repeated for as long as that makes sense. Knows none of them."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from app.domain.errors import RequestError
from app.worker.context import Runtime

T = TypeVar("T")

INITIAL_BACKOFF, MAX_BACKOFF = 0.1, 5.0
"""Seconds; each is drawn between its half and its whole."""

logger = structlog.stdlib.get_logger(__name__)


async def retry_while(
    call: Callable[[], Awaitable[T]], runtime: Runtime, *, should_retry: Callable[[], bool]
) -> T:
    """The answer of the call.

    A refusal is raised at once, any other failure when it makes no sense to go on.
    """
    pause = INITIAL_BACKOFF
    while True:
        try:
            return await call()
        except RequestError:
            raise
        except Exception:
            if not should_retry():
                raise
            if pause == INITIAL_BACKOFF:  # once is enough of a database that is away for hours
                logger.warning("the database does not answer; trying again", exc_info=True)
        await runtime.sleep(pause * (0.5 + runtime.random() / 2))
        pause = min(2 * pause, MAX_BACKOFF)


def always_retry() -> bool:
    """Of what must not be given up."""
    return True
