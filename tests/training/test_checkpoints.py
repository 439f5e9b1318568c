"""Checkpoints: what they contain, which ones remain, and what happens to unreadable ones."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from resnet.errors import UserError
from resnet.model.network import ResNet
from resnet.training.checkpoints import Checkpoints


@pytest.fixture
def network() -> ResNet:
    return ResNet(20, 3)


@pytest.fixture
def checkpoints(tmp_path, network) -> Checkpoints:
    momentum = [tf.Variable(tf.zeros_like(v), name=v.name.split(":")[0]) for v in network.trainable_variables]
    return Checkpoints(tmp_path, network, {f"momentum/{variable.name}": variable for variable in momentum})


def test_restoring_returns_all_state_bit_for_bit(checkpoints, network):
    random = np.random.default_rng(0)
    state = {name: random.standard_normal(v.shape).astype(np.float32) for name, v in checkpoints.variables.items()}
    for name, value in state.items():
        checkpoints.variables[name].assign(value)
    checkpoints.save(7)
    for variable in checkpoints.variables.values():
        variable.assign(tf.zeros_like(variable))
    assert checkpoints.restore_newest() == 7
    for name, value in state.items():
        assert checkpoints.variables[name].numpy().tobytes() == value.tobytes(), name


def test_a_checkpoint_has_weights_statistics_and_momentum(checkpoints, network):
    assert len(checkpoints.variables) == len(network.variables) + len(network.trainable_variables)


def test_without_a_checkpoint_training_starts_at_step_0(checkpoints):
    assert checkpoints.restore_newest() == 0


def test_the_newest_three_remain_and_those_saved_with_keep(checkpoints):
    for step in range(10, 80, 10):
        checkpoints.save(step, keep=step == 20)
    assert checkpoints.steps() == [20, 50, 60, 70]


def test_an_unreadable_newest_checkpoint_is_skipped_with_a_warning(checkpoints, tmp_path, capsys):
    checkpoints.save(10)
    newest = checkpoints.save(20)
    newest.write_bytes(newest.read_bytes()[:1000])
    assert checkpoints.restore_newest() == 10
    assert "step-00000020.safetensors is not a complete safetensors file" in capsys.readouterr().err


def test_weights_that_are_not_finite_are_not_saved(checkpoints, network):
    checkpoints.save(10)
    network.classifier.bias.assign([0, np.nan, 0])
    with pytest.raises(UserError, match=r"weights/classifier/bias is not finite at step 20"):
        checkpoints.save(20)
    assert checkpoints.steps() == [10]


def test_training_does_not_restart_when_every_checkpoint_is_unreadable(checkpoints):
    checkpoints.save(10).write_bytes(b"unreadable")
    with pytest.raises(UserError, match=r"none of the checkpoints in .* can be read"):
        checkpoints.restore_newest()


def test_an_unreadable_old_checkpoint_remains_and_later_saves_succeed(checkpoints):
    checkpoints.save(10).write_bytes(b"unreadable")
    for step in (20, 30, 40, 50):
        checkpoints.save(step)
    assert checkpoints.steps() == [10, 30, 40, 50]


def test_a_failed_save_keeps_earlier_checkpoints_and_leaves_no_partial_file(checkpoints, tmp_path, monkeypatch):
    checkpoints.save(10)

    def full_disk(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        checkpoints.save(20)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000010.safetensors"]


def test_a_checkpoint_of_another_network_is_refused(tmp_path, checkpoints):
    checkpoints.save(10)
    other = Checkpoints(tmp_path, ResNet(32, 3), {})
    with pytest.raises(UserError, match=r"step-00000010\.safetensors is for another network"):
        other.restore_newest()
