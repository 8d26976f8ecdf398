"""Shutdown of a process: reaction to its signals, and the limit of its cleanup."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType

import structlog

CLEANUP_LIMIT = timedelta(seconds=3)
"""Time for background tasks and connections to end, once requests and attempts have ended."""

_LOG_TIMEOUT = timedelta(seconds=1)
"""Longest wait for the line that the process was ended."""

_SHUTDOWN_SIGNALS = (signal.SIGINT, signal.SIGTERM)

logger = structlog.stdlib.get_logger(__name__)


@contextmanager
def on_shutdown_signal(
    *, drain: Callable[[], object], stop: Callable[[], object], delay: timedelta
) -> Iterator[None]:
    """While the context is open, call `drain` at a shutdown signal, and `stop` before the server's handler.

    After SIGTERM both `stop` and the server's handler wait for the delay, so that load balancers notice
    that the server is draining. They do not wait after SIGINT or a second signal. `stop` must end responses
    that wait: the server reports a shutdown only after it has waited for all responses, and a long poll
    holds its response back until there is something new. Does nothing outside the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    previous_handlers = {number: signal.getsignal(number) for number in _SHUTDOWN_SIGNALS}
    timers: list[asyncio.TimerHandle] = []
    is_draining = False

    def handle_signal(number: int, frame: FrameType | None) -> None:
        nonlocal is_draining
        is_first, is_draining = not is_draining, True
        # A signal may arrive at any moment, also while a task uses what the callbacks change.
        loop.call_soon_threadsafe(drain)
        if is_first and delay and number == signal.SIGTERM:
            loop.call_soon_threadsafe(stop_later, number, frame)
        else:
            loop.call_soon_threadsafe(stop)
            call_previous_handler(number, frame)

    def stop_later(number: int, frame: FrameType | None) -> None:
        timers.append(loop.call_later(delay.total_seconds(), stop_after_delay, number, frame))

    def stop_after_delay(number: int, frame: FrameType | None) -> None:
        stop()
        call_previous_handler(number, frame)

    def call_previous_handler(number: int, frame: FrameType | None) -> None:
        previous = previous_handlers[signal.Signals(number)]
        if callable(previous):
            previous(number, frame)

    for number, previous in previous_handlers.items():
        if callable(previous):
            signal.signal(number, handle_signal)
    try:
        yield
    finally:
        for timer in timers:
            timer.cancel()
        for number, previous in previous_handlers.items():
            signal.signal(number, previous)


@contextmanager
def limited_cleanup(limit: timedelta | None) -> Iterator[Callable[[], None]]:
    """Yield a function; the process ends unless the context ends within the limit after its call.

    No result is lost then: every commit precedes its answer, and leases expire. The last use of keys and
    buffered lines of the access log are lost. None is no limit.
    """
    if limit is None:
        yield lambda: None
        return

    def log_error() -> None:
        logger.error("shutdown not finished in time", limit_seconds=limit.total_seconds())

    def end_process() -> None:
        # Logged by another thread, because a log that no one reads blocks its writer.
        log_thread = threading.Thread(target=log_error, daemon=True)
        log_thread.start()
        log_thread.join(_LOG_TIMEOUT.total_seconds())
        os._exit(1)

    timer = threading.Timer(limit.total_seconds(), end_process)
    timer.daemon = True
    try:
        yield timer.start
    finally:
        timer.cancel()
