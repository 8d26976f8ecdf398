"""Notifies the application of a shutdown signal while the server still handles requests."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SHUTDOWN_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def on_shutdown_signal(callback: Callable[[], object]) -> Iterator[None]:
    """Call `callback` on a shutdown signal during the context, before the server's own handler.

    The server notifies the application only after all responses are complete, and a long poll would
    delay that.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread receives signals
        return
    previous = {number: signal.getsignal(number) for number in SHUTDOWN_SIGNALS}

    def handle_signal(number: int, frame: FrameType | None) -> None:
        callback()
        handler = previous[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)

    for number, handler in previous.items():
        if callable(handler):
            signal.signal(number, handle_signal)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
