"""Calls are repeated while they fail, with longer and longer pauses, and refusals are not."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from app.domain.errors import LeaseLost, ServiceUnavailable
from app.worker.context import Runtime
from app.worker.retry import always_retry, retry_while
from tests.factories import NOW

UNAVAILABLE = ServiceUnavailable("The disk is gone.")


class ScriptedCall:
    """A call that ends in one way after the other, and the pauses between."""

    def __init__(self, *results: str | Exception) -> None:
        self._results: Iterator[str | Exception] = iter(results)
        self.pauses: list[float] = []
        self.runtime = Runtime(
            now=lambda: NOW,
            monotonic=lambda: 0.0,
            sleep=self._sleep,
            new_id=uuid4,
            random=lambda: 0.5,
        )

    async def call(self) -> str:
        end = next(self._results)
        if isinstance(end, Exception):
            raise end
        return end

    async def _sleep(self, seconds: float) -> None:
        self.pauses.append(round(seconds, 4))


async def test_an_answer_is_taken_at_once() -> None:
    attempts = ScriptedCall("stored")
    assert await retry_while(attempts.call, attempts.runtime, should_retry=always_retry) == "stored"
    assert attempts.pauses == []


async def test_what_fails_is_tried_again_until_it_is_stored() -> None:
    attempts = ScriptedCall(*[UNAVAILABLE] * 7, ValueError("a surprise"), "stored")
    assert await retry_while(attempts.call, attempts.runtime, should_retry=always_retry) == "stored"
    assert attempts.pauses == [0.075, 0.15, 0.3, 0.6, 1.2, 2.4, 3.75, 3.75]


async def test_a_refusal_is_not_asked_for_again() -> None:
    attempts = ScriptedCall(UNAVAILABLE, LeaseLost("The lease has ended."), "stored")
    with pytest.raises(LeaseLost):
        await retry_while(attempts.call, attempts.runtime, should_retry=always_retry)
    assert attempts.pauses == [0.075]


async def test_what_makes_no_sense_any_more_is_given_up() -> None:
    attempts = ScriptedCall(UNAVAILABLE, UNAVAILABLE, "stored")
    with pytest.raises(ServiceUnavailable):
        await retry_while(attempts.call, attempts.runtime, should_retry=lambda: not attempts.pauses)
    assert attempts.pauses == [0.075]
