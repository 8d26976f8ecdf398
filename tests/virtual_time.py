"""An event loop whose time skips idle waits, so that hours of timers take minutes, with their real settings.

While a statement of a database or a job of a thread runs, and while code runs, time passes as on the machine.
While everything waits for a timer, time jumps to that timer. All timeouts, intervals and sleeps of asyncio
follow this time.
"""

import asyncio
import secrets
import selectors
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from datetime import datetime, timedelta
from typing import Any, TypeVar

from app.db.core.database import Database, ReadDriver
from app.db.core.statements import CompiledStatement, Record
from app.db.core.write_session import Transaction, WriteDriver
from app.db.migrations import migrate
from tests.factories import NOW

T = TypeVar("T")

_INSERT_TIMEOUT = timedelta(minutes=10)

_DELIVERY_SECONDS = 0.0002
"""Time in which the kernel delivers what was written to a connection on loopback."""


class _SkippingSelector(selectors.DefaultSelector):
    """Selector that waits for timers only while an operation runs, and skips the wait otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.running_operations = 0
        self.skipped_seconds = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0 or self.running_operations:
            return super().select(timeout)
        started_at = time.monotonic()
        ready = super().select(0)
        if not ready:
            time.sleep(_DELIVERY_SECONDS)
            ready = super().select(0)
        if not ready:
            self.skipped_seconds += max(timeout - (time.monotonic() - started_at), 0)
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Event loop with a time of its own, which skips idle waits."""

    def __init__(self) -> None:
        self._skipping_selector = _SkippingSelector()
        super().__init__(self._skipping_selector)

    def time(self) -> float:
        return super().time() + self._skipping_selector.skipped_seconds

    @property
    def skipped(self) -> timedelta:
        """Time that has been skipped since the loop was created."""
        return timedelta(seconds=self._skipping_selector.skipped_seconds)

    @contextmanager
    def operation(self) -> Iterator[None]:
        """Let time pass as on the machine inside the context."""
        self._skipping_selector.running_operations += 1
        try:
            yield
        finally:
            self._skipping_selector.running_operations -= 1

    def run_in_executor(  # type: ignore[override]  # an asynchronous function in typeshed's base class
        self, executor: Any, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        self._skipping_selector.running_operations += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._end_operation)
        return future

    def _end_operation(self, _: object) -> None:
        self._skipping_selector.running_operations -= 1


def run_in_virtual_time(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in a new VirtualTimeLoop."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)


def running_loop() -> VirtualTimeLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    return loop


class LoopClock:
    """Clock that is at NOW when it is created or restarted, and follows the time of the event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.restart()

    def restart(self) -> None:
        self._started_at = self._loop.time()

    def monotonic(self) -> float:
        return self._loop.time() - self._started_at

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.monotonic())


def open_in_virtual_time(url: str, timeout: timedelta = timedelta(seconds=10)) -> Database:
    """Open a database during whose statements and transactions time passes as on the machine."""
    operation = running_loop().operation
    return Database(
        url,
        timeout=timeout,
        wrap_driver=lambda driver: _ReadOperations(driver, operation),
        wrap_writer=lambda writer: _WriteOperations(writer, operation),
    )


@asynccontextmanager
async def open_migrated_in_virtual_time(url: str) -> AsyncIterator[Database]:
    """Open a database as `open_in_virtual_time` does, with time to insert many rows, and migrate it."""
    async with open_in_virtual_time(url, timeout=_INSERT_TIMEOUT) as database:
        with running_loop().operation():
            await migrate(database, now=NOW, random_bytes=secrets.token_bytes)
        yield database


class _ReadOperations:
    """Driver whose statements are operations of the event loop."""

    def __init__(
        self, driver: ReadDriver, operation: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._driver = driver
        self._operation = operation

    async def fetch(
        self, statement: CompiledStatement, arguments: Sequence[object]
    ) -> Sequence[Record]:
        with self._operation():
            return await self._driver.fetch(statement, arguments)

    async def close(self) -> None:
        await self._driver.close()


class _WriteOperations:
    """Driver whose transactions are operations of the event loop."""

    def __init__(
        self, writer: WriteDriver, operation: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._writer = writer
        self._operation = operation

    async def write(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        with self._operation():
            return await self._writer.write(work)

    async def close(self) -> None:
        await self._writer.close()
