"""Rate of clients that read at once, slowly, or not at all."""

from datetime import timedelta

from app.http.read_rate import ReadRate

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
