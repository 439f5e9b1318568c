"""Batches go to the devices ahead of the steps, in order, and errors come in their place."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from resnet.errors import UserError
from resnet.training.feed import AHEAD, Feed


def failing_at(number: int) -> Iterator[int]:
    yield from range(number)
    raise UserError(f"batch {number} is corrupt")


def all_of(feed: Feed) -> Iterator[int]:
    """As a training takes them: a step on each, then another is fetched."""
    while feed:
        yield feed.take()
        feed.fetch()


@pytest.mark.parametrize("count", [0, 1, AHEAD, 10])
def test_every_batch_is_placed_and_taken_in_order(count):
    with Feed(iter(range(count)), lambda batch: f"placed {batch}") as feed:
        assert list(all_of(feed)) == [f"placed {batch}" for batch in range(count)]


def test_a_step_is_launched_while_the_one_before_it_runs_and_its_successors_batch_is_copied():
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
        while feed:
            launched.append(feed.take())
            for step in launched[-2:-1]:
                ended[step].set()
            feed.fetch()
    assert launched == list(range(10))


def test_no_more_batches_are_held_than_are_ahead():
    fetched: list[int] = []
    with Feed((fetched.append(batch) or batch for batch in range(10)), lambda batch: batch) as feed:
        for taken in all_of(feed):
            assert len(fetched) - taken == min(AHEAD, 10 - taken)


@pytest.mark.parametrize("number", [0, 1, AHEAD, AHEAD + 3])
def test_an_error_is_raised_in_place_of_its_batch(number):
    with Feed(failing_at(number), lambda batch: batch) as feed:
        taken = all_of(feed)
        assert [next(taken) for _ in range(number)] == list(range(number))
        with pytest.raises(UserError, match=f"batch {number} is corrupt"):
            next(taken)


def test_a_batch_that_cannot_be_placed_is_an_error_too():
    def place(batch: int) -> int:
        raise UserError("the memory of a device does not hold it")

    with Feed(iter([0]), place) as feed, pytest.raises(UserError, match="does not hold it"):
        feed.take()


def test_no_thread_is_left_where_a_step_fails():
    before = threading.active_count()
    with pytest.raises(UserError), Feed(iter(range(10)), lambda batch: batch):
        raise UserError("the loss became nan")
    assert threading.active_count() == before
