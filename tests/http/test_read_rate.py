"""Rate of clients that read at once, slowly, or not at all."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest

from app.http.read_rate import MIN_BYTES_PER_SECOND, ReadRate
from tests.http.asgi import VirtualTimeLoop

PERIOD = timedelta(seconds=60)
RATE = 1000


class Client:
    """Client on a clock of its own; a sample is added each second."""

    def __init__(self) -> None:
        self._now = 0.0
        self._rate = ReadRate(lambda: self._now, PERIOD)

    @property
    def is_slow(self) -> bool:
        return self._rate.is_below(RATE)

    def read(self, size: int, seconds: int) -> None:
        with self._rate.measure_wait(size):
            self.wait(seconds)

    def wait(self, seconds: int) -> None:
        for _ in range(seconds):
            self._now += 1
            self._rate.add_sample()


def test_client_that_reads_at_the_rate_is_not_slow() -> None:
    client = Client()
    for _ in range(100):
        client.read(4000, seconds=4)
        assert not client.is_slow


def test_client_is_slow_once_it_was_below_the_rate_for_the_period() -> None:
    client = Client()
    for _ in range(14):
        client.read(3999, seconds=4)
    assert not client.is_slow

    client.read(3999, seconds=4)
    assert client.is_slow


def test_client_that_reads_nothing_is_slow_after_the_period() -> None:
    client = Client()
    client.read(100_000, seconds=59)
    assert not client.is_slow

    client.read(0, seconds=2)
    assert client.is_slow


def test_client_that_reads_faster_again_is_not_slow() -> None:
    client = Client()
    client.read(1, seconds=60)
    assert client.is_slow

    client.read(60_000, seconds=2)
    assert not client.is_slow


def test_time_in_which_the_server_prepares_rows_does_not_count() -> None:
    client = Client()
    for _ in range(20):
        client.read(1000, seconds=1)
        client.wait(30)

    assert not client.is_slow


def run_until_slow(rate: int, others_wait: Callable[[float], bool]) -> float | None:
    """Read for 200 s, and return the second at which the client was found slow, if it was.

    `others_wait` gets the time in seconds.
    """

    async def read() -> float | None:
        loop = asyncio.get_running_loop()
        read_rate = ReadRate(loop.time, PERIOD)
        try:
            async with read_rate.limit_slow_client(lambda: others_wait(loop.time())):
                for _ in range(100):
                    with read_rate.measure_wait(2 * rate):
                        await asyncio.sleep(2)
        except TimeoutError:
            return round(loop.time())
        return None

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(read())


@pytest.mark.parametrize(
    ("rate", "waiting_from", "slow_at"),
    [
        (MIN_BYTES_PER_SECOND - 1, 0, 61),
        (MIN_BYTES_PER_SECOND - 1, 100, 100),
        (MIN_BYTES_PER_SECOND - 1, 1000, None),
        (MIN_BYTES_PER_SECOND, 0, None),
    ],
    ids=["others wait", "others wait later", "no one waits", "not slow"],
)
def test_slow_client_is_limited_once_others_wait(
    rate: int, waiting_from: float, slow_at: float | None
) -> None:
    assert run_until_slow(rate, lambda now: now >= waiting_from) == slow_at


def test_others_that_waited_only_before_the_client_was_slow_do_not_count() -> None:
    refusals = [True]

    assert run_until_slow(1, lambda _now: bool(refusals) and refusals.pop()) is None
