"""Calls to a database that may be away: repeated for as long as that makes sense. Knows none of them."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from app.domain.errors import RequestError
from app.worker.means import Edges

T = TypeVar("T")

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds; each is drawn between its half and its whole."""

logger = structlog.stdlib.get_logger(__name__)


async def insist(
    call: Callable[[], Awaitable[T]], edges: Edges, *, makes_sense: Callable[[], bool]
) -> T:
    """The answer of the call.

    A refusal is raised at once, any other failure when it makes no sense to go on.
    """
    pause = FIRST_PAUSE
    while True:
        try:
            return await call()
        except RequestError:
            raise
        except Exception:
            if not makes_sense():
                raise
            if pause == FIRST_PAUSE:  # once is enough of a database that is away for hours
                logger.warning("the database does not answer; trying again", exc_info=True)
        await edges.sleep(pause * (0.5 + edges.random() / 2))
        pause = min(2 * pause, LONGEST_PAUSE)


def always() -> bool:
    """Of what must not be given up."""
    return True
