"""Further attempts at what failed for a reason that may pass."""

from __future__ import annotations

import pytest

from pipeline.attempts import tried_again
from resnet.errors import Passing, Stalled, UserError


class Pauses(list):
    """The pauses that were made. Nobody asks to stop."""

    def __call__(self, seconds: float) -> bool:
        self.append(seconds)
        return False


class Work:
    """An attempt that fails with these errors, one after the other, and does some work where it says so."""

    def __init__(self, *errors: Exception | None, works: bool = False) -> None:
        self.errors, self.works, self.steps = list(errors), works, 0

    def __call__(self) -> None:
        self.steps += self.works
        if error := self.errors.pop(0):
            raise error

    def progress(self) -> int:
        return self.steps

    def clock(self) -> float:
        """An hour for each step."""
        return 3600.0 * self.steps


def test_what_may_pass_is_tried_again_after_growing_pauses():
    work, pauses, said = Work(Passing("the disk is away"), Stalled("no step"), Passing("away"), None), Pauses(), []
    tried_again(work, work.progress, 3, 15, said.append, pauses)
    assert pauses == [15, 60, 240]
    assert said[0] == "the disk is away\nThat may pass: the next attempt (1 of 3) is in 15 s"
    assert said[2].endswith("the next attempt (3 of 3) is in 4 min 00 s")


def test_a_mistake_is_never_tried_again():
    work, pauses = Work(UserError("no such class"), None), Pauses()
    with pytest.raises(UserError, match="no such class"):
        tried_again(work, work.progress, 3, 15, print, pauses)
    assert pauses == []


def test_after_the_last_attempt_the_error_is_raised_however_long_the_attempts_took():
    work, pauses, hours = Work(*[Stalled("no step ended within 30 min")] * 10), Pauses(), iter(range(0, 10**6, 3600))
    with pytest.raises(Passing, match="no step"):
        tried_again(work, work.progress, 2, 15, lambda text: None, pauses, lambda: next(hours))
    assert pauses == [15, 60]


def test_an_attempt_that_has_made_progress_counts_as_the_first_again():
    """A training of weeks may lose a host each week."""
    work, pauses = Work(*[Passing("a host was lost")] * 5, None, works=True), Pauses()
    tried_again(work, work.progress, 1, 15, lambda text: None, pauses, work.clock)
    assert pauses == [15] * 5


def test_without_retries_nothing_is_tried_again():
    work = Work(Passing("away"))
    with pytest.raises(Passing):
        tried_again(work, work.progress, 0, 15, print, Pauses())


def test_who_asks_to_stop_during_a_pause_is_heard():
    work = Work(Passing("away"), None)
    with pytest.raises(Passing):
        tried_again(work, work.progress, 3, 15, lambda text: None, lambda seconds: True)
    assert len(work.errors) == 1


def test_attempts_that_get_a_step_further_and_fail_at_once_do_not_go_on_for_ever():
    work, pauses = Work(*[Stalled("no step ended")] * 10, works=True), Pauses()
    with pytest.raises(Passing):
        tried_again(work, work.progress, 2, 15, lambda text: None, pauses, lambda: 0.0)
    assert pauses == [15, 60]
