"""Batches on their way to the devices, ahead of their steps."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

from resnet.loader.loader import Batch

T = TypeVar("T")

AHEAD = 2  # batches: one on the devices, so that its step is queued behind the running one; and one whose copy waits


class Feed(Generic[T]):
    """Sends batches to the devices by `place`, from a thread of its own: a context manager.

    TensorFlow's eager copy to a GPU waits for all kernels that were queued before it, and its caller waits with it.
    Here a thread waits instead, and training does not, as long as the batch of the next step is there already: hence
    two ahead.

    Where a batch fails to come, `take` raises the error in its place: not at all if training ends before that.
    """

    def __init__(self, batches: Iterator[Batch], place: Callable[[Batch], T]):
        self._batches, self._place = batches, place
        self._thread = ThreadPoolExecutor(1, "feed")
        self._coming: deque[Future[T]] = deque()

    def __enter__(self) -> Feed[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown(cancel_futures=True)  # a copy must end before the batch's memory is unlocked and released

    def __bool__(self) -> bool:
        """Whether there is a batch to take, or an error in its place."""
        return bool(self._coming)

    def fetch(self) -> None:
        """Wait for batches, until AHEAD of them are on their way, or there are no more."""
        while len(self._coming) < AHEAD:
            try:
                batch = next(self._batches, None)
            except Exception as error:
                failed: Future[T] = Future()
                failed.set_exception(error)
                self._coming.append(failed)
                return
            if batch is None:
                return
            self._coming.append(self._thread.submit(self._place, batch))

    def take(self) -> T:
        """The next batch, once it is on its devices."""
        return self._coming.popleft().result()
