"""The training loop: what it checks, saves and validates when, and its line about an epoch."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from types import SimpleNamespace

import pytest
import tensorflow as tf

from resnet.errors import Stalled, UserError
from resnet.hosts.meeting import Alone
from resnet.settings import Training
from resnet.training.gradients import GRADIENT_NORM, METRICS
from resnet.training.log import TrainingLog
from resnet.training.log_format import read_log
from resnet.training.loop import TrainingLoop, epoch_line
from resnet.training.pulse import NotFinite, Pulse
from resnet.training.schedule import Schedule
from resnet.training.watch import Epoch


class FakeCheckpoints(list):
    """Checkpoints that only remember their steps, and which are to be kept."""

    def __init__(self, steps: Sequence[int] = (), full: bool = False):
        super().__init__(steps)
        self.kept: list[int] = []
        self._full = full

    def save(self, step: int, *, keep: bool = False) -> None:
        if self._full and self:
            raise UserError(f"the checkpoint of step {step} cannot be written")
        self.append(step)
        self.kept += [step] if keep else []

    def steps(self) -> list[int]:
        return list(self)


def validation(top1_error: float, top5_error: float) -> dict[str, float]:
    return {"loss": 1.2345, "top1_error": top1_error, "top5_error": top5_error}


def test_the_line_about_an_epoch_fits_in_80_columns():
    line = epoch_line(100, 120, Epoch(1.2345, None, None), validation(24.36, 17.46))
    assert line == "epoch 100/120: loss 1.234; validation: loss 1.234, error 24.36 %, top-5 17.46 %"
    assert len(line) <= 80


@pytest.mark.parametrize(("is_whole", "said"), [(False, ", resumed"), (True, "")])
def test_the_line_about_an_epoch_has_no_training_loss_where_it_was_resumed_or_float16_skipped_all(is_whole, said):
    line = epoch_line(3, 120, Epoch(None, None, None, is_whole), validation(24.36, 7.46))
    assert line == f"epoch 3/120{said}; validation: loss 1.234, error 24.36 %, top-5 7.46 %"


class FakeStep:
    """Trains nothing. A batch on its devices is its images, which are its number here."""

    metrics = (*METRICS, GRADIENT_NORM)
    first_loss = None

    def __init__(self, training: FakeTraining):
        self._training = training

    def place(self, images, labels, number) -> int:
        return images

    def on(self, batch, learning_rate) -> tf.Tensor:
        return self._training.step(batch)

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        self._training.has_averages = True
        yield
        self._training.has_averages = False


class FakeTraining:
    """A loop over 10 steps in 2 epochs that trains nothing and notes what it does."""

    chance_error, images = 90.0, 100

    def __init__(
        self,
        folder,
        done: int = 0,
        interrupt_at: str = "",
        fail_at: str = "",
        disk_is_full: bool = False,
        infinite_at: int | None = None,
        errors: Sequence[float] = (24.36,) * 9,
    ):
        self.events: list[str] = []
        self._infinite_at, self._errors = infinite_at, iter(errors)
        self.offered: list[tuple[int, float]] = []
        self.has_averages = False
        self.logged_at_fetch: dict[int, int] = {}  # lines of the log, when a batch was asked for
        self.validated_at_news: list[int] = []  # lines of validation in the log, whenever there was news
        self.checkpoints = FakeCheckpoints(full=disk_is_full)
        self.meeting, self._interrupt_at, self._fail_at = Alone(), interrupt_at, fail_at
        settings = Training(
            epochs=2, batch_size=4, replica_batch_size=4, checkpoint_steps=100, drop_epochs=[], keep_epochs=[1]
        )
        schedule = Schedule(settings, images=20)
        folder.mkdir(exist_ok=True)
        with TrainingLog(folder, done) as log:
            pulse = Pulse(FakeStep.metrics, folder / "stacks.txt", 0, self.meeting.request_stop)
            loop = TrainingLoop(
                settings, schedule, FakeStep(self), self, self.checkpoints, log, self.meeting, pulse, done
            )
            self._log = log
            loop.run(
                self.batches(range(done, schedule.steps)),
                on_epoch=self.note_log,
                on_validation=self.note_validation,
            )

    def batches(self, steps: range) -> Iterator[SimpleNamespace]:
        for step in steps:
            self.logged_at_fetch[step] = self.lines_with("loss")
            if self._interrupt_at == f"wait for {step}":  # the loader then has no more batches
                self.meeting.request_stop()
                return
            if self._fail_at == f"wait for {step}":
                raise UserError("a record is corrupt")
            yield SimpleNamespace(step=step, images=step, labels=None)

    def step(self, batch: int) -> tf.Tensor:
        before = sum(event.startswith("step") for event in self.events)
        self.note(f"step {batch}")
        return tf.constant([before + 1.0, 90.0, 50.0, math.inf if batch == self._infinite_at else 1.0])

    def note_validation(self, step: int, error: float) -> None:
        assert self.has_averages  # the weights that were validated
        self.offered.append((step, error))

    def check(self) -> None:
        self.note("check")

    def __call__(self, on_batch) -> dict[str, float]:
        assert self.has_averages
        self.note(f"validation {1 + sum(event.startswith('validation') for event in self.events)}")
        return validation(next(self._errors), 7.46)

    def note_log(self, step: int) -> None:
        self.validated_at_news.append(self.lines_with("validation_loss"))

    def lines_with(self, number: str) -> int:
        return sum(number in line for line in read_log(self._log.path))

    def note(self, event: str) -> None:
        self.events.append(event)
        if event == self._fail_at:
            raise UserError("a record is corrupt")
        if event == self._interrupt_at:
            self.meeting.request_stop()


@pytest.fixture
def interrupted(tmp_path):
    """interrupted("validation 1"): a training that is interrupted during that."""

    def make(event: str, done: int = 0) -> FakeTraining:
        made = FakeTraining.__new__(FakeTraining)
        with pytest.raises(KeyboardInterrupt):
            made.__init__(tmp_path, done, interrupt_at=event)
        return made

    return make


@pytest.fixture
def failed(tmp_path):
    """failed("check"): a training that ends with an error during that."""

    def make(event: str, done: int = 0, disk_is_full: bool = False) -> FakeTraining:
        made = FakeTraining.__new__(FakeTraining)
        with pytest.raises(UserError, match="a record is corrupt"):
            made.__init__(tmp_path, done, fail_at=event, disk_is_full=disk_is_full)
        return made

    return make


@pytest.mark.parametrize(("step", "saved"), [(0, []), (1, [1]), (3, [1, 3]), (5, [1, 5])])
def test_all_steps_are_saved_and_logged_where_the_next_batch_fails_to_come(failed, tmp_path, step, saved):
    training = failed(f"wait for {step}")
    assert training.checkpoints == saved
    lines = [line["step"] for line in read_log(tmp_path / "log.jsonl") if "loss" in line]
    assert lines == list(range(1, step + 1))


def test_an_epoch_is_validated_also_where_the_batch_after_it_fails_to_come(failed):
    assert failed("wait for 5").events[-1] == "validation 1"


def test_an_epoch_to_keep_is_kept_also_where_the_next_batch_fails_to_come(failed, tmp_path):
    assert FakeTraining(tmp_path / "whole").checkpoints.kept == [5]
    assert failed("wait for 5").checkpoints.kept == [5]


def test_a_failure_that_is_there_at_a_resume_leaves_the_checkpoints_as_they_are(failed):
    assert failed("wait for 3", done=3).checkpoints == []


def test_the_loaders_error_is_reported_where_the_checkpoint_cannot_be_saved_either(failed, capsys):
    failed("wait for 3", disk_is_full=True)
    assert "the checkpoint of step 3 cannot be written" in capsys.readouterr().err


def test_the_validation_images_are_checked_before_the_first_step(failed):
    training = failed("check")
    assert training.events == ["check"]
    assert training.checkpoints == []


def test_an_epoch_is_saved_before_it_is_validated(failed):
    training = failed("validation 1")
    assert training.events[-1] == "validation 1"
    assert training.checkpoints == [1, 5]


def test_a_training_that_is_complete_checks_nothing(tmp_path):
    FakeTraining(tmp_path)
    assert FakeTraining(tmp_path, done=10).events == []


def test_the_first_step_is_saved(interrupted):
    assert interrupted("step 1").checkpoints == [1, 2]
    assert interrupted("step 3", done=3).checkpoints == [4]


def test_each_epoch_is_saved_and_validated(tmp_path):
    done = FakeTraining(tmp_path)
    steps = [f"step {i}" for i in range(10)]
    assert done.events == ["check", *steps[:5], "validation 1", *steps[5:], "validation 2"]
    assert done.checkpoints == [1, 5, 10]


def test_batches_are_fetched_two_ahead_and_before_anything_waits_for_the_step_that_runs(tmp_path):
    """What waits is the line of the log, which reads the step's metrics."""
    assert FakeTraining(tmp_path).logged_at_fetch == {batch: max(batch - 2, 0) for batch in range(10)}


def test_there_is_news_after_each_validation_when_it_is_in_the_log(tmp_path):
    assert FakeTraining(tmp_path).validated_at_news == [1, 2]


def test_an_interruption_during_a_step_saves_after_it(interrupted):
    training = interrupted("step 2")
    assert training.events[-1] == "step 2"
    assert training.checkpoints == [1, 3]


@pytest.mark.parametrize(("step", "saved"), [(0, []), (1, []), (3, [1, 2])])
def test_an_interruption_while_a_batch_is_waited_for_saves_all_steps_done(interrupted, step, saved):
    training = interrupted(f"wait for {step}")
    assert training.checkpoints == saved


def test_an_interruption_during_an_epochs_last_step_leaves_the_validation_to_the_next_attempt(interrupted):
    training = interrupted("step 4")
    assert training.events[-1] == "step 4"
    assert training.checkpoints == [1, 5]


def test_an_interruption_during_a_validation_trains_no_further(interrupted):
    training = interrupted("validation 1")
    assert training.events[-1] == "validation 1"
    assert training.checkpoints == [1, 5]


def test_an_interruption_after_the_last_validation_changes_nothing_any_more(tmp_path):
    training = FakeTraining(tmp_path, interrupt_at="validation 2")
    assert training.checkpoints == [1, 5, 10]


def test_an_epoch_that_was_not_validated_is_validated_first_on_resume(tmp_path):
    assert FakeTraining(tmp_path, done=5).events[:2] == ["check", "validation 1"]
    (line, *_) = [line for line in read_log(tmp_path / "log.jsonl") if "validation_loss" in line]
    assert line["step"] == 5


def test_an_interruption_during_the_validation_at_a_resume_trains_no_further(interrupted):
    training = interrupted("validation 1", done=5)
    assert training.events == ["check", "validation 1"]
    assert training.checkpoints == []


def test_the_epoch_line_has_the_mean_loss_of_whole_epochs_only(tmp_path, capfd):
    FakeTraining(tmp_path / "whole")
    whole = capfd.readouterr().err
    FakeTraining(tmp_path / "resumed", done=2)
    resumed = capfd.readouterr().err
    assert "epoch 1/2: loss 3.000; validation" in whole  # the mean of 1, 2, 3, 4, 5
    assert "epoch 1/2, resumed; validation" in resumed
    assert "epoch 2/2: loss" in resumed


@pytest.mark.parametrize(("step", "saved"), [(0, []), (2, [1]), (4, [1])])
def test_gradients_that_are_not_finite_stop_training_at_their_step_and_nothing_of_it_is_saved(tmp_path, step, saved):
    training = FakeTraining.__new__(FakeTraining)
    with pytest.raises(NotFinite, match=rf"the gradients became inf in step {step + 1}, at the learning rate 0\.1"):
        training.__init__(tmp_path, infinite_at=step)
    assert training.events[-1] == f"step {step}"
    assert training.checkpoints == saved


def test_the_weights_that_were_validated_are_offered_with_their_error(tmp_path):
    assert FakeTraining(tmp_path, errors=(30.0, 100 * 4 / 359)).offered == [(5, 30.0), (10, 100 * 4 / 359)]


def test_a_training_that_stops_because_nothing_ends_has_saved_and_says_so(tmp_path, monkeypatch):
    def stalled(pulse: Pulse) -> None:
        raise Stalled("no step ended")

    training = FakeTraining.__new__(FakeTraining)
    monkeypatch.setattr(Pulse, "require_progress", stalled)
    with pytest.raises(Stalled):
        training.__init__(tmp_path, interrupt_at="step 2")
    assert training.checkpoints == [1, 3]
