"""Tests of retries of a worker's database calls."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from app.domain.errors import LeaseLost, ServiceUnavailable
from app.worker.context import SystemFunctions, retry_while
from tests.factories import NOW

UNAVAILABLE = ServiceUnavailable("The disk is gone.")


class ScriptedCall:
    """A call with scripted results, and the pauses between its attempts."""

    def __init__(self, *results: str | Exception) -> None:
        self._results: Iterator[str | Exception] = iter(results)
        self.pauses: list[float] = []
        self.runtime = SystemFunctions(
            now=lambda: NOW,
            monotonic=lambda: 0.0,
            sleep=self._sleep,
            new_id=uuid4,
            random=lambda: 0.5,
        )

    async def call(self) -> str:
        result = next(self._results)
        if isinstance(result, Exception):
            raise result
        return result

    async def _sleep(self, seconds: float) -> None:
        self.pauses.append(round(seconds, 4))


@pytest.mark.parametrize(
    ("failures", "pauses"),
    [
        ([], []),
        (
            [*[UNAVAILABLE] * 7, ValueError("unexpected")],
            [0.075, 0.15, 0.3, 0.6, 1.2, 2.4, 3.75, 3.75],
        ),
    ],
    ids=["none", "eight"],
)
async def test_call_is_retried_with_growing_backoff_until_it_succeeds(
    failures: list[Exception], pauses: list[float]
) -> None:
    call = ScriptedCall(*failures, "stored")
    assert await retry_while(call.call, call.runtime, should_retry=lambda: True) == "stored"
    assert call.pauses == pauses


async def test_request_error_is_not_retried() -> None:
    call = ScriptedCall(UNAVAILABLE, LeaseLost("The lease has ended."), "stored")
    with pytest.raises(LeaseLost):
        await retry_while(call.call, call.runtime, should_retry=lambda: True)
    assert call.pauses == [0.075]


async def test_retries_stop_once_the_predicate_is_false() -> None:
    call = ScriptedCall(UNAVAILABLE, UNAVAILABLE, "stored")
    with pytest.raises(ServiceUnavailable):
        await retry_while(call.call, call.runtime, should_retry=lambda: not call.pauses)
    assert call.pauses == [0.075]
