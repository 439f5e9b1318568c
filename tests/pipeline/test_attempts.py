"""Further attempts at what failed for a reason that may pass."""

from __future__ import annotations

import pytest

from pipeline.attempts import tried_again
from resnet.errors import Passing, Stalled, UserError


class Clock:
    """A clock that moves by itself only while an attempt or a pause lasts."""

    def __init__(self) -> None:
        self.now, self.pauses = 0.0, []

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.now += seconds
        self.pauses.append(seconds)


def failing(errors: list[Exception | None], clock: Clock, seconds: float = 1.0):
    """An attempt that takes so long, and fails with these errors one after the other."""

    def attempt() -> None:
        clock.now += seconds
        if error := errors.pop(0):
            raise error

    return attempt


def test_what_may_pass_is_tried_again_after_growing_pauses():
    clock, said = Clock(), []
    errors = [Passing("the disk is away"), Stalled("no step ended"), Passing("the disk is away"), None]
    tried_again(failing(errors, clock), 3, 15, said.append, clock.pause, clock)
    assert clock.pauses == [15, 60, 240]
    assert said[0] == "the disk is away\nThat may pass: the next attempt (1 of 3) is in 15 s"
    assert said[2].endswith("the next attempt (3 of 3) is in 4 min 00 s")


def test_a_mistake_is_never_tried_again():
    clock = Clock()
    with pytest.raises(UserError, match="no such class"):
        tried_again(failing([UserError("no such class"), None], clock), 3, 15, print, clock.pause, clock)
    assert clock.pauses == []


def test_after_the_last_attempt_the_error_is_raised():
    clock = Clock()
    with pytest.raises(Passing, match="away"):
        tried_again(failing([Passing("away")] * 3, clock), 2, 15, lambda text: None, clock.pause, clock)
    assert clock.pauses == [15, 60]


def test_an_attempt_that_has_worked_for_long_counts_as_the_first_again():
    """A training of weeks may lose a host each week."""
    clock = Clock()
    errors = [Passing("a host was lost")] * 5 + [None]
    tried_again(failing(errors, clock, seconds=3600.0), 1, 15, lambda text: None, clock.pause, clock)
    assert clock.pauses == [15] * 5


def test_without_retries_nothing_is_tried_again():
    clock = Clock()
    with pytest.raises(Passing):
        tried_again(failing([Passing("away")], clock), 0, 15, print, clock.pause, clock)
