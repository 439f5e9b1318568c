"""The loss scale of float16: a step that overflows changes nothing but the scale."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from resnet.model.network import ResNet
from resnet.settings import Training
from resnet.training import loss_scale
from resnet.training.checkpoints import Checkpoints
from resnet.training.loss_scale import FIRST, GREATEST, LossScale
from resnet.training.step import TrainStep

IMAGES = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 3), np.uint8)
LABELS = np.arange(8, dtype=np.int32) % 10
STRATEGY = tf.distribute.OneDeviceStrategy("/cpu:0")


@pytest.fixture
def scale() -> LossScale:
    return LossScale()


def after(scale: LossScale, *finite: bool) -> tuple[float, int]:
    """The scale, and the steps without overflow, after steps whose gradients were finite or not."""
    for is_finite in finite:
        scale.update(STRATEGY, tf.constant(is_finite))
    return tuple(variable.numpy().item() for variable in scale.state.values())


def test_an_overflow_halves_the_scale_and_the_count_begins_again(scale):
    assert after(scale, True, True) == (FIRST, 2)
    assert after(scale, False) == (FIRST / 2, 0)
    assert after(scale, False, True) == (FIRST / 4, 1)


def test_the_scale_doubles_after_many_steps_without_overflow_up_to_a_limit(scale, monkeypatch):
    monkeypatch.setattr(loss_scale, "GROWTH_STEPS", 3)
    assert after(scale, True, True) == (FIRST, 2)
    assert after(scale, True) == (2 * FIRST, 0)
    assert after(scale, *[True] * 60)[0] == GREATEST


@pytest.fixture(scope="module")
def step() -> TrainStep:
    with STRATEGY.scope():
        network = ResNet(8, 10, precision="float16")
        return TrainStep(network, STRATEGY, Training(batch_size=8, replica_batch_size=8, precision="float16"))


def everything(step: TrainStep) -> dict[str, bytes]:
    """All state by name: of the network, the optimizer and the loss scale."""
    return {name: v.numpy().tobytes() for name, v in (step._network.named_variables() | step.state).items()}


def measured(step: TrainStep) -> dict[str, float]:
    return dict(zip(step.metrics, step(IMAGES, LABELS, 0.01).numpy().tolist(), strict=True))


def test_a_step_that_overflows_changes_nothing_but_the_scale_and_the_next_one_trains(step):
    step.state["loss_scale/scale"].assign(2.0**40)  # times any gradient, that is more than float16 has
    before = everything(step)
    metrics = measured(step)
    assert (metrics["skipped_steps"], metrics["loss_scale"]) == (1, 2.0**39)
    assert np.isfinite(metrics["loss"])
    changed = {name for name, value in everything(step).items() if value != before[name]}
    assert changed == {"loss_scale/scale"}
    step.state["loss_scale/scale"].assign(1024.0)
    assert measured(step)["skipped_steps"] == 0
    unchanged = {name for name, value in everything(step).items() if value == before[name]}
    assert not {name for name in unchanged if "loss_scale" not in name}


def test_the_gradients_do_not_depend_on_the_scale(step):
    def gradients(scale: float) -> list[np.ndarray]:
        step.state["loss_scale/scale"].assign(scale)
        return step.gradients(IMAGES, LABELS)[0]

    for one, other in zip(gradients(2.0**14), gradients(2.0**15), strict=True):
        assert np.linalg.norm(one - other) < 0.05 * np.linalg.norm(one)


def test_the_scale_is_in_the_checkpoint(step, tmp_path):
    step.state["loss_scale/scale"].assign(4096.0)
    step.state["loss_scale/steps_without_overflow"].assign(17)
    Checkpoints(tmp_path, step._network, step.state).save(3)
    step.state["loss_scale/scale"].assign(1.0)
    step.state["loss_scale/steps_without_overflow"].assign(0)
    assert Checkpoints(tmp_path, step._network, step.state).restore_newest() == 3
    assert [step.state[f"loss_scale/{name}"].numpy() for name in ("scale", "steps_without_overflow")] == [4096, 17]
