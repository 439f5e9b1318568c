"""Checkpoints: what they contain, which ones remain, and what happens to unreadable ones."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from resnet.errors import UserError
from resnet.model.network import ResNet
from resnet.settings import Training
from resnet.training.checkpoints import Checkpoints
from resnet.training.schedule import Schedule


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


def test_an_unreadable_newest_checkpoint_is_put_aside_and_named(checkpoints, tmp_path, capsys):
    checkpoints.save(10)
    newest = checkpoints.save(20)
    truncated = newest.read_bytes()[:1000]
    newest.write_bytes(truncated)
    assert checkpoints.restore_newest() == 10
    warning = capsys.readouterr().err
    assert "step-00000020.safetensors is not a complete safetensors file" in warning
    assert "it is now step-00000020.safetensors.unreadable, and the checkpoint before it is used" in warning
    assert (tmp_path / "step-00000020.safetensors.unreadable").read_bytes() == truncated
    assert checkpoints.steps() == [10]


def test_a_checkpoint_put_aside_never_replaces_another(checkpoints, tmp_path):
    checkpoints.save(10)
    for content in (b"first", b"second", b"third"):
        checkpoints.save(20).write_bytes(content)
        checkpoints.restore_newest()
    aside = sorted(tmp_path.glob("step-00000020.safetensors.unreadable*"))
    assert [path.read_bytes() for path in aside] == [b"first", b"second", b"third"]


def test_a_checkpoint_under_the_name_of_another_step_is_put_aside(checkpoints, tmp_path, capsys):
    checkpoints.save(10)
    checkpoints.save(20).rename(tmp_path / "step-00000030.safetensors")
    assert checkpoints.restore_newest() == 10
    assert "step-00000030.safetensors is the checkpoint of step 20, says its header" in capsys.readouterr().err
    assert (tmp_path / "step-00000030.safetensors.unreadable").exists()


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> SmallTraining:
    return SmallTraining(tmp_path_factory.mktemp("small"))


class SmallTraining:
    """Checkpoints of two variables, the one of step 20 as bytes."""

    def __init__(self, folder: Path):
        self.variables = {name: tf.Variable(tf.zeros(2)) for name in ("a", "b")}
        self.checkpoints = Checkpoints(folder, SimpleNamespace(named_variables=lambda: self.variables), {})
        self.folder = folder
        for step in (10, 20):
            self.set(step)
            self.checkpoints.corrupt = [f"known at {step}"]
            self.content = self.checkpoints.save(step).read_bytes()

    def set(self, value: float) -> None:
        for variable in self.variables.values():
            variable.assign([value, -value])

    def restored(self) -> tuple:
        """The step, and the state that belongs to it."""
        self.set(0)
        step = self.checkpoints.restore_newest()
        return step, [variable.numpy().tolist() for variable in self.variables.values()], self.checkpoints.corrupt


def state(step: int) -> tuple:
    return step, [[step, -step]] * 2, [f"known at {step}"]


@settings(max_examples=500)
@given(st.data())
def test_a_checkpoint_with_any_byte_changed_is_never_restored_as_another_state(small, data):
    path = small.folder / "step-00000020.safetensors"
    changed = bytearray(small.content)
    changed[data.draw(st.integers(0, len(changed) - 1), "byte")] ^= data.draw(st.integers(1, 255), "change")
    path.write_bytes(changed)
    found = small.restored()
    assert found in (state(10), state(20))
    assert path.exists() == (found == state(20))
    for aside in small.folder.glob("*.unreadable*"):
        aside.unlink()


def test_a_checkpoint_of_an_earlier_version_is_restored(small):
    """It has an entry of its header for each fact, and no digest."""
    from safetensors.numpy import save

    tensors = {f"weights/{name}": np.float32([30, -30]) for name in small.variables}
    path = small.folder / "step-00000030.safetensors"
    path.write_bytes(save(tensors, {"keep": "yes", "step": "30"}))
    assert small.restored() == (30, [[30, -30]] * 2, [])
    for step in (40, 50, 60, 70):
        small.checkpoints.save(step)
    assert 30 in small.checkpoints.steps()  # it says that it is to be kept
    path.unlink()


def test_weights_that_are_not_finite_are_not_saved(checkpoints, network):
    checkpoints.save(10)
    network.classifier.bias.assign([0, np.nan, 0])
    with pytest.raises(UserError, match=r"weights/classifier/bias is not finite at step 20"):
        checkpoints.save(20)
    assert checkpoints.steps() == [10]


def test_training_does_not_restart_when_every_checkpoint_is_unreadable(checkpoints):
    checkpoints.save(10).write_bytes(b"unreadable")
    for _ in range(2):  # also where an earlier attempt has put it aside
        with pytest.raises(UserError, match=r"none of the checkpoints in .* can be read"):
            checkpoints.restore_newest()


def test_an_unreadable_old_checkpoint_is_put_aside_and_later_saves_succeed(checkpoints, tmp_path, capsys):
    checkpoints.save(10).write_bytes(b"unreadable")
    for step in (20, 30, 40, 50):
        checkpoints.save(step)
    assert checkpoints.steps() == [30, 40, 50]
    assert (tmp_path / "step-00000010.safetensors.unreadable").read_bytes() == b"unreadable"
    assert capsys.readouterr().err.count("step-00000010.safetensors cannot be read; it is now") == 1


def test_the_checkpoint_just_written_remains_whatever_the_others_are(checkpoints):
    for step in (10, 50, 60, 70):
        path = checkpoints.save(step, keep=step == 10)
        if step > 10:
            path.write_bytes(b"unreadable")
    assert checkpoints.save(20).exists()
    assert {10, 20} <= set(checkpoints.steps())


def test_corrupt_records_come_back_with_the_state(checkpoints):
    checkpoints.corrupt = ["train-00000: byte 7", "train-00001: byte 9"]
    checkpoints.save(10)
    checkpoints.corrupt = []
    checkpoints.restore_newest()
    assert checkpoints.corrupt == ["train-00000: byte 7", "train-00001: byte 9"]


def test_a_failed_save_names_and_keeps_the_checkpoint_before_and_leaves_no_partial_file(
    checkpoints, tmp_path, monkeypatch
):
    checkpoints.save(10)

    def full_disk(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(UserError, match=r"step 20 .* No space left .* from step-00000010\.safetensors, which is kept"):
        checkpoints.save(20)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000010.safetensors"]


def test_a_checkpoint_is_written_again_while_the_disk_is_away(checkpoints, monkeypatch, capsys):
    fsync, attempts = os.fsync, []

    def away_at_first(descriptor):
        attempts.append(descriptor)
        if len(attempts) == 1:
            raise OSError(errno.ESTALE, "Stale file handle")
        fsync(descriptor)

    monkeypatch.setattr("os.fsync", away_at_first)
    monkeypatch.setattr("resnet.files.PAUSES", [0.0])
    checkpoints.save(10)
    assert checkpoints.restore_newest() == 10
    assert "step-00000010.safetensors: Stale file handle; the next attempt is in 0 s" in capsys.readouterr().err


def test_a_checkpoint_on_a_disk_that_stays_away_is_not_put_aside(checkpoints, monkeypatch):
    checkpoints.save(10)

    def away(path):
        raise OSError(errno.ETIMEDOUT, "Connection timed out")

    monkeypatch.setattr(Path, "read_bytes", away)
    monkeypatch.setattr("resnet.files.PAUSES", [0.0])
    with pytest.raises(UserError, match=r"cannot be read: Connection timed out\. The same command tries it again"):
        checkpoints.restore_newest()
    assert checkpoints.steps() == [10]


def test_a_training_whose_older_checkpoints_cannot_be_deleted_goes_on_and_says_so(checkpoints, monkeypatch, capsys):
    def refuse(path):
        raise OSError(errno.EIO, "Input/output error", str(path))

    monkeypatch.setattr(Path, "unlink", refuse)
    for step in (10, 20, 30, 40):
        checkpoints.save(step)
    assert checkpoints.steps() == [10, 20, 30, 40]
    assert "cannot be deleted: [Errno 5] Input/output error" in capsys.readouterr().err


@pytest.fixture
def free_megabytes(monkeypatch):
    """free_megabytes(n): the disk has room for so much."""

    def use(megabytes: float) -> None:
        monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=int(megabytes * 1e6)))

    return use


def schedule(*keep_epochs: int) -> Schedule:
    return Schedule(Training(epochs=10, batch_size=64, keep_epochs=list(keep_epochs), drop_epochs=[]), images=640)


def test_training_does_not_begin_without_room_for_its_checkpoints_and_weights(checkpoints, tmp_path, free_megabytes):
    """A checkpoint of this network is 2.2 MB, and its weights are 1.1 MB: four of the one, and one of the other."""
    free_megabytes(9)
    with pytest.raises(UserError) as error:
        checkpoints.require_space(0, schedule())
    assert str(error.value) == (
        f"training needs 10 MB for checkpoints and weights in {tmp_path}, and its disk has 9 MB free. Make room, or "
        "give another folder with --artifacts."
    )
    free_megabytes(11)
    checkpoints.require_space(0, schedule())


def test_epochs_that_are_kept_need_room_while_they_are_still_to_come(checkpoints, free_megabytes):
    free_megabytes(13)
    with pytest.raises(UserError, match=r"needs 15 MB .* keep fewer epochs \(training\.keep_epochs\)"):
        checkpoints.require_space(0, schedule(2, 5, 20))
    checkpoints.require_space(20, schedule(2, 5, 20))


def test_checkpoints_that_are_there_need_no_more_room(checkpoints, free_megabytes):
    for step in (10, 20, 30):
        checkpoints.save(step)
    free_megabytes(4)
    checkpoints.require_space(30, schedule())
    free_megabytes(2)
    with pytest.raises(UserError, match="training needs 4 MB"):
        checkpoints.require_space(30, schedule())
    checkpoints.require_space(schedule().steps, schedule())  # only the weights are left to write


def test_a_checkpoint_of_another_network_is_refused(tmp_path, checkpoints):
    checkpoints.save(10)
    other = Checkpoints(tmp_path, ResNet(32, 3), {})
    with pytest.raises(UserError, match=r"step-00000010\.safetensors is for another network"):
        other.restore_newest()
