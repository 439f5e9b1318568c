"""The learning rate's schedule, and where epochs end."""

from __future__ import annotations

import keras
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet.settings import Training
from resnet.training.schedule import Schedule


def test_the_published_schedule_divides_by_ten_at_epochs_30_60_and_90_and_ends_at_120():
    schedule = Schedule(Training(), images=1_281_167)
    assert schedule.steps == 600_548
    first = {
        epoch: next(s for s in range(epoch * 5004, schedule.steps) if schedule.epoch(s) == epoch)
        for epoch in (30, 60, 90)
    }
    for drops, (epoch, step) in enumerate(first.items()):
        assert schedule.learning_rate(step - 1) == 0.1 * 0.1**drops, epoch
        assert schedule.learning_rate(step) == 0.1 * 0.1 ** (drops + 1), epoch


@given(images=st.integers(1, 500), batch=st.integers(1, 100), epochs=st.integers(1, 5))
def test_every_epoch_ends_and_training_ends_with_the_last_one(images, batch, epochs):
    training = Training(epochs=epochs, batch_size=batch, replica_batch_size=batch, drop_epochs=[])
    schedule = Schedule(training, images)
    assert schedule.steps * batch >= epochs * images > (schedule.steps - 1) * batch
    assert schedule.is_epoch_end(schedule.steps)
    if images >= batch:
        assert sum(schedule.is_epoch_end(done) for done in range(schedule.steps + 1)) == epochs


def rates(images: int, **settings: object) -> list[float]:
    """The learning rates of all steps, with batches of 10 images."""
    training = Training(
        **{"learning_rate": 0.8, "drop_epochs": [], "batch_size": 10, "replica_batch_size": 10} | settings
    )
    schedule = Schedule(training, images)
    return [schedule.learning_rate(step) for step in range(schedule.steps)]


def test_in_the_warm_up_the_rate_rises_evenly_and_its_last_step_has_all_of_it():
    assert rates(40, epochs=3, warmup_epochs=2) == pytest.approx([*(0.1 * step for step in range(1, 9)), *[0.8] * 4])
    assert rates(40, epochs=2, warmup_epochs=1, warmup_factor=0.5) == pytest.approx([0.5, 0.6, 0.7, *[0.8] * 5])


def test_drops_follow_the_warm_up():
    found = rates(20, epochs=3, warmup_epochs=1, drop_epochs=[2])
    assert found == pytest.approx([0.4, 0.8, 0.8, 0.8, 0.08, 0.08])


@pytest.mark.parametrize(("warmup", "final"), [(0, 0.0), (3, 0.0), (3, 0.02)])
def test_the_cosine_is_that_of_keras(warmup, final):
    found = rates(200, epochs=10, schedule="cosine", warmup_epochs=warmup, final_learning_rate=final)
    theirs = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.8, decay_steps=(10 - warmup) * 20, alpha=final / 0.8
    )
    expected = [float(theirs(step)) for step in range((10 - warmup) * 20)]
    assert found[warmup * 20 :] == pytest.approx(expected, rel=1e-4, abs=1e-7)


@given(
    images=st.integers(1, 300),
    batch=st.integers(1, 100),
    epochs=st.integers(2, 6),
    warmup=st.integers(0, 5),
    schedule=st.sampled_from(["drops", "cosine"]),
)
def test_the_rate_rises_in_the_warm_up_then_falls_and_stays_within_its_bounds(images, batch, epochs, warmup, schedule):
    training = Training(
        epochs=epochs,
        batch_size=batch,
        replica_batch_size=batch,
        warmup_epochs=min(warmup, epochs - 1),
        warmup_factor=0.1,
        schedule=schedule,
        drop_epochs=[epochs - 1],
        learning_rate=1.0,
        final_learning_rate=0.05,
    )
    plan = Schedule(training, images)
    found = [plan.learning_rate(step) for step in range(plan.steps)]
    peak = found.index(max(found))
    assert found[:peak] == sorted(found[:peak])
    assert found[peak:] == sorted(found[peak:], reverse=True)
    assert min(found) >= 0.05
    assert max(found) <= 1.0
