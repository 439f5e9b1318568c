"""Batches on their way to the devices, ahead of the steps."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

from resnet.loader.loader import Batch

AHEAD = 2  # batches: one is there when a step ends, and one is copied while the step after it runs

Placed = TypeVar("Placed")


class Feed(Generic[Placed]):
    """Places batches with `place`, from a thread of its own: a context manager.

    TensorFlow's eager copy to a GPU waits for all kernels that were queued before it, and its caller waits with it. In
    a thread that costs nothing as long as the next step need not wait for it: hence two batches ahead.
    """

    def __init__(self, batches: Iterator[Batch], place: Callable[[Batch], Placed]):
        self._batches, self._place = batches, place
        self._thread = ThreadPoolExecutor(1, "feed")
        self._coming: deque[Future[Placed]] = deque()

    def __enter__(self) -> Feed:
        for _ in range(AHEAD):
            self.fetch()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown(cancel_futures=True)

    def __bool__(self) -> bool:
        """Whether there is another batch, or an error instead."""
        return bool(self._coming)

    def fetch(self) -> None:
        """Wait for a batch, and send it on its way. What fails is raised by the `take` that would return the batch."""
        try:
            batch = next(self._batches, None)
        except Exception as error:
            failed: Future[Placed] = Future()
            failed.set_exception(error)
            self._coming.append(failed)
        else:
            if batch is not None:
                self._coming.append(self._thread.submit(self._place, batch))

    def take(self) -> Placed:
        """The next batch, once it is on its devices."""
        return self._coming.popleft().result()
