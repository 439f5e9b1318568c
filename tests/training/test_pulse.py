"""Steps that are not finite, and steps that do not end."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import tensorflow as tf

from resnet.errors import Stalled
from resnet.training import pulse as pulse_module
from resnet.training.gradients import GRADIENT_NORM, METRICS
from resnet.training.pulse import NotFinite, Pulse
from resnet.training.step import OF_LOSS_SCALE

NAMES = (*METRICS, GRADIENT_NORM)


def pulse(folder: Path, limit: float = 0, on_stall=lambda: None, names=NAMES) -> Pulse:
    return Pulse(names, folder / "stacks.txt", limit, on_stall)


@pytest.mark.parametrize(
    ("values", "what"), [((math.nan, 1.0), "the loss became nan"), ((1.0, math.inf), "the gradients became inf")]
)
def test_the_first_step_that_is_not_finite_is_named_with_its_learning_rate(tmp_path, values, what):
    with pulse(tmp_path) as steps:
        for step in range(1, 6):
            loss, norm = values if step in (3, 4) else (1.0, 1.0)
            steps.follow(step, 0.1 * step, tf.constant([loss, 90.0, 50.0, norm]))
        with pytest.raises(NotFinite, match=f"{what} in step 3, at the learning rate 0.3") as caught:
            steps.require_finite(all_steps=True)
        assert caught.value.step == 3
        with pytest.raises(NotFinite):
            steps.require_finite()


def test_a_step_that_float16_skips_is_not_reported(tmp_path):
    with pulse(tmp_path, names=NAMES + OF_LOSS_SCALE) as steps:
        steps.follow(1, 0.1, tf.constant([math.inf, 90.0, 50.0, math.nan, 128.0, 1.0]))
        steps.require_finite(all_steps=True)


def test_where_no_step_ends_the_stacks_are_written_and_training_is_asked_to_stop(tmp_path):
    asked = threading.Event()
    with pulse(tmp_path, limit=0.05, on_stall=asked.set) as steps:
        assert asked.wait(30)
    with pytest.raises(Stalled, match=r"no step ended within 0 s; .*stacks.txt says what each thread was doing"):
        steps.require_progress()
    steps._clock.join()
    for thread in [one for one in threading.enumerate() if one.name == "stacks"]:
        thread.join()
    assert "test_where_no_step_ends" in (tmp_path / "stacks.txt").read_text()


def test_whatever_ends_in_time_keeps_it_going(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(pulse_module.time, "monotonic", lambda: now[0])
    steps = pulse(tmp_path, limit=10.0, on_stall=lambda: pytest.fail("it was not stalled"))
    looks = iter([4.0, 8.0, 12.0, 16.0])

    def wait(seconds: float) -> bool:
        now[0] = next(looks, math.inf)
        if now[0] == 8.0:
            steps.beat()
        return now[0] == math.inf

    monkeypatch.setattr(steps._ended, "wait", wait)
    steps.beat()
    steps._watch_clock()
    steps.require_progress()


def test_without_anything_that_ends_the_same_time_is_too_long(tmp_path, monkeypatch):
    now, looks, asked = [0.0], iter([4.0, 8.0, 12.0, 16.0]), []
    monkeypatch.setattr(pulse_module.time, "monotonic", lambda: now[0])
    steps = pulse(tmp_path, limit=10.0, on_stall=lambda: asked.append(now[0]))

    def wait(seconds: float) -> bool:
        now[0] = next(looks, math.inf)
        return now[0] == math.inf or bool(asked)

    monkeypatch.setattr(steps._ended, "wait", wait)
    steps.beat()
    steps._watch_clock()
    assert asked == [12.0]


def test_a_process_that_was_suspended_is_not_stalled(tmp_path, monkeypatch):
    now, looks = [0.0], iter([1.0, 3600.0, 3601.0])
    monkeypatch.setattr(pulse_module.time, "monotonic", lambda: now[0])
    steps = pulse(tmp_path, limit=10.0, on_stall=lambda: pytest.fail("it was not stalled"))

    def wait(seconds: float) -> bool:
        now[0] = next(looks, math.inf)
        return now[0] == math.inf

    monkeypatch.setattr(steps._ended, "wait", wait)
    steps.beat()
    steps._watch_clock()
    steps.require_progress()


def test_a_disk_that_hangs_does_not_keep_the_process_alive(tmp_path):
    """Nobody reads the pipe in the place of the file for the stacks."""
    os.mkfifo(tmp_path / "stacks.txt")
    arguments = [sys.executable, "-c", STUCK, str(tmp_path / "stacks.txt")]
    assert subprocess.run(arguments, capture_output=True, timeout=60).returncode == Stalled.exit_code


STUCK = """
import sys, time
from pathlib import Path
from resnet.training import pulse
pulse.GRACE_SECONDS = 0.1
with pulse.Pulse((), Path(sys.argv[1]), 0.1, lambda: None):
    time.sleep(600)
"""


def test_a_process_that_cannot_stop_by_itself_is_ended_with_a_code_that_means_try_again(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-c", STUCK, str(tmp_path / "stacks.txt")], capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == Stalled.exit_code == 75
    assert "error: no step ended within 0 s" in ended.stderr
    assert "The same command continues from the newest checkpoint" in ended.stderr
