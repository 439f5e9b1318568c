"""What is said of a training after an epoch, and when."""

from __future__ import annotations

import pytest

from resnet.training.watch import FIRST_STEPS, Epoch, Watch

GOOD = Epoch(loss=1.0, images_per_second=1000.0, data_wait=0.01)


def test_of_a_training_that_goes_well_nothing_is_said(caplog):
    watch = Watch(chance_error=90.0, images=900)
    for number in range(1, 5):
        watch.look(number, GOOD, 1000 * number, top1_error=50.0)
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("steps", "top1_error", "is_said"),
    [(FIRST_STEPS, 90.0, True), (FIRST_STEPS, 88.1, True), (FIRST_STEPS, 87.9, False), (99, 95.0, False)],
)
def test_a_network_that_is_no_better_than_chance_after_its_first_steps(steps, top1_error, is_said, caplog):
    """Better by two standard deviations, which are 1 % for 900 images."""
    Watch(chance_error=90.0, images=900).look(1, GOOD, steps, top1_error)
    start = f"after epoch 1 the error is {top1_error:.2f} %, no better than chance: "
    assert any(message.startswith(start) for message in caplog.messages) == is_said


def test_an_epoch_that_waited_for_its_images(caplog):
    Watch(90.0, 900).look(2, GOOD._replace(data_wait=0.123), 1000, 50.0)
    assert caplog.messages[0].startswith("epoch 2 waited for images for 12 % of its time: give it more workers")


def test_an_epoch_of_half_the_speed(caplog):
    watch = Watch(90.0, 900)
    for number, speed in enumerate([1000.0, 1100.0, 560.0, 549.0], start=1):
        watch.look(number, GOOD._replace(images_per_second=speed), 1000, 50.0)
    assert [message.split(":")[0] for message in caplog.messages] == ["epoch 4 made 549 images/s, an earlier one 1,100"]


def test_each_is_said_once(caplog):
    watch = Watch(90.0, 900)
    watch.look(1, GOOD, 1000, 50.0)
    for number in (2, 3):
        watch.look(number, Epoch(None, 100.0, 0.5), 1000 * number, 95.0)
    assert len(caplog.messages) == 3
    assert all("epoch 2" in message for message in caplog.messages)


def test_an_epoch_of_which_nothing_was_seen_is_not_judged(caplog):
    watch = Watch(90.0, 900)
    watch.look(1, GOOD, 1000, 50.0)
    watch.look(2, Epoch(None, None, None), 2000, 50.0)
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("loss", "expected", "is_said"), [(2.7, 2.3, False), (2.8, 2.3, True), (1.7, 2.3, True), (9.0, None, False)]
)
def test_a_first_loss_that_random_weights_do_not_make(loss, expected, is_said, caplog):
    Watch(90.0, 900).look_at_first_loss(loss, expected)
    assert [m.split(";")[0] for m in caplog.messages] == ([f"the first loss is {loss:.3f}"] if is_said else [])


def test_a_host_that_leaves_the_speaking_to_another_says_nothing(caplog):
    watch = Watch(90.0, images=900, speaks=False)
    watch.look_at_first_loss(9.0, 2.3)
    watch.look(1, GOOD._replace(data_wait=0.5), 1000, 95.0)
    assert caplog.messages == []
