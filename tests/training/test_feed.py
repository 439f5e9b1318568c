"""Batches go to the devices ahead of their steps, in order, and errors come in their place."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator

import pytest

from resnet.errors import UserError
from resnet.training.feed import AHEAD, Feed


class FakeBatch:
    def __init__(self, number: int):
        self.number = number


def same(batch: int) -> int:
    """Places a batch that is there already."""
    return batch


def failing_at(number: int) -> Iterator[int]:
    yield from range(number)
    raise UserError(f"batch {number} is corrupt")


def all_of(feed: Feed[int]) -> Iterator[int]:
    """As a training takes them."""
    feed.fetch()
    while feed:
        yield feed.take()
        feed.fetch()


@pytest.mark.parametrize("count", [0, 1, AHEAD, 10])
def test_every_batch_is_placed_and_taken_in_order(count):
    with Feed(iter(range(count)), lambda batch: 100 + batch) as feed:
        assert list(all_of(feed)) == [100 + batch for batch in range(count)]


def test_a_step_is_launched_while_the_one_before_it_runs_although_copies_wait_for_steps():
    """As on a GPU: a copy ends only when the step that ran when it began has ended."""
    ended = [threading.Event() for _ in range(10)]  # steps
    launched: list[int] = []
    running: dict[int, list[int]] = {}  # steps when a batch was fetched, by batch

    def batches() -> Iterator[int]:
        for batch in range(10):
            running[batch] = launched[-1:]
            yield batch

    def place(batch: int) -> int:
        assert all(ended[step].wait(5) for step in running[batch]), f"step {batch} waits for the one before it"
        return batch

    with Feed(batches(), place) as feed:
        feed.fetch()
        while feed:
            launched.append(feed.take())
            for step in launched[-2:-1]:
                ended[step].set()
            feed.fetch()
    assert launched == list(range(10))


def test_only_the_batches_ahead_are_held():
    """The loader fills the memory of a batch again when nothing refers to it."""
    made: list[weakref.ref[FakeBatch]] = []
    began = [threading.Event() for _ in range(10)]

    def batches() -> Iterator[FakeBatch]:
        for number in range(10):
            batch = FakeBatch(number)
            made.append(weakref.ref(batch))
            yield batch
            del batch

    def place(batch: FakeBatch) -> FakeBatch:
        began[batch.number].set()
        return batch

    with Feed(batches(), place) as feed:
        feed.fetch()
        for number in range(8):
            assert feed.take().number == number
            feed.fetch()
            assert began[number + AHEAD].wait(20)  # so the thread is done with those before
            assert [batch().number for batch in made if batch()] == [number + 1, number + 2]


@pytest.mark.parametrize("number", [0, 1, AHEAD, AHEAD + 3])
def test_an_error_is_raised_in_place_of_its_batch(number):
    with Feed(failing_at(number), same) as feed:
        taken = all_of(feed)
        assert [next(taken) for _ in range(number)] == list(range(number))
        with pytest.raises(UserError, match=f"batch {number} is corrupt"):
            next(taken)


def test_a_batch_that_cannot_be_placed_is_an_error_too():
    def place(batch: int) -> int:
        raise UserError("the memory of a device does not hold it")

    with Feed(iter([0]), place) as feed, pytest.raises(UserError, match="does not hold it"):
        next(all_of(feed))


def test_a_copy_that_is_under_way_ends_before_the_memory_can_be_released():
    began, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def place(batch: int) -> int:
        began.set()
        assert may_end.wait(20)
        ended.set()
        return batch

    with Feed(iter(range(10)), place) as feed:
        feed.fetch()
        assert began.wait(20)
        threading.Timer(0.1, may_end.set).start()
    assert ended.is_set()
