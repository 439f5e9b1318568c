"""The training loop: what it saves when the loader fails, and its line about an epoch."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from resnet.errors import UserError
from resnet.training.loop import epoch_line, save_on_failure


class FakeCheckpoints(list):
    """Checkpoints that only remember their steps."""

    save = list.append

    def steps(self) -> list[int]:
        return list(self)


def batches_then_failure(steps: range) -> Iterator[SimpleNamespace]:
    for step in steps:
        yield SimpleNamespace(step=step)
    raise UserError("a record is corrupt")


def validation(top1_error: float, top5_error: float) -> dict[str, float]:
    return {"loss": 1.2345, "top1_error": top1_error, "top5_error": top5_error}


def test_a_checkpoint_of_all_completed_steps_is_saved_when_the_loader_fails():
    checkpoints = FakeCheckpoints()
    with pytest.raises(UserError, match="a record is corrupt"):
        for _ in save_on_failure(batches_then_failure(range(5, 8)), checkpoints, 5):
            pass
    assert checkpoints == [8]


def test_a_loader_that_fails_at_its_first_batch_does_not_change_the_checkpoints():
    for checkpoints in (FakeCheckpoints(), FakeCheckpoints([5])):
        before = list(checkpoints)
        with pytest.raises(UserError):
            list(save_on_failure(batches_then_failure(range(0)), checkpoints, 5 if before else 0))
        assert checkpoints == before


def test_the_line_about_an_epoch_fits_in_80_columns():
    line = epoch_line(100, 120, 1.2345, validation(24.36, 17.46))
    assert line == "epoch 100/120: loss 1.234; validation: loss 1.234, top-1 24.36 %, top-5 17.46 %"
    assert len(line) <= 80


def test_the_line_about_an_epoch_has_no_training_loss_when_none_was_measured():
    line = epoch_line(3, 120, None, validation(24.36, 7.46))
    assert line == "epoch 3/120: validation: loss 1.234, top-1 24.36 %, top-5 7.46 %"
