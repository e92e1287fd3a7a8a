"""SIGINT and SIGTERM let a step end instead of tearing it."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def noted_signals() -> Iterator[list[int]]:
    """Note SIGINT and SIGTERM in a list instead of dying, as often as they come."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # where Python forbids handlers
        yield received
        return
    numbers = signal.SIGINT, signal.SIGTERM
    before = [
        signal.signal(number, lambda number, _: received.append(number)) for number in numbers
    ]
    try:
        yield received
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
