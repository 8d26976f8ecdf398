"""How a server process learns that it is to stop, while it still answers. What it then does is elsewhere."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SHUTDOWN_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def on_shutdown_signal(callback: Callable[[], object]) -> Iterator[None]:
    """Within it, a signal that stops the server calls `tell` first.

    The server itself only says so when it has waited for all answers, and an answer may be held back until
    there is something to say.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are none of its business
        return
    before = {number: signal.getsignal(number) for number in SHUTDOWN_SIGNALS}

    def handle_signal(number: int, frame: FrameType | None) -> None:
        callback()
        stop = before[signal.Signals(number)]
        if callable(stop):
            stop(number, frame)

    for number, stop in before.items():
        if callable(stop):
            signal.signal(number, handle_signal)
    try:
        yield
    finally:
        for number, stop in before.items():
            signal.signal(number, stop)
