"""Work in threads on some items ahead of the one that is needed."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

AHEAD = 8  # items that are worked on before they are asked for
Item = TypeVar("Item")
Result = TypeVar("Result")


def prefetched(
    pool: ThreadPoolExecutor, work: Callable[[Item], Result], items: Iterable[Item]
) -> Iterator[tuple[Item, Future[Result]]]:
    """Yield each item and the work on it, in order; the pool is shut down at the end."""
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    pending = iter(items)
    try:
        while True:
            for item in islice(pending, AHEAD - len(waiting)):
                waiting.append((item, pool.submit(work, item)))
            if not waiting:
                return
            yield waiting.popleft()
    finally:
        pool.shutdown(cancel_futures=True)
