"""The learning rate's schedule, and where epochs end."""

from __future__ import annotations

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
