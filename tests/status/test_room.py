"""How much disk a run would take."""

from __future__ import annotations

from pathlib import Path

import pytest
from ledgers import ledger_in

from resnet.status.room import numbers, room


@pytest.mark.parametrize("depth", [8, 20, 56, 18, 34, 50, 101])
@pytest.mark.parametrize("stride_in", ["1x1", "3x3"])
def test_a_network_has_as_many_numbers_as_tensorflow_makes(depth, stride_in):
    import tensorflow as tf

    from resnet.model.network import ResNet

    with tf.init_scope():
        network = ResNet(depth, 7, stride_in=stride_in)
    every = sum(int(tf.size(variable)) for variable in network.named_variables().values())
    assert numbers(depth, 7) == (network.parameters, every - network.parameters)


def test_a_training_needs_room_for_its_checkpoints_and_both_weights(made):
    trained, moving = numbers(20, 2)
    found = room(made, ["train", "batchnorm"])
    assert found.records == 0
    assert found.training == 4 * (4 * (2 * trained + moving) + 2 * (trained + moving))  # 4 checkpoints with momentum
    assert room(made, ["evaluate", "report"])[:2] == (0, 0)
    assert room(made, ["evaluate", "report"]).sentence() == ""


def test_epochs_that_are_kept_and_averaged_weights_need_more(tmp_path):
    def needed(*overrides: str) -> int:
        return room(ledger_in(tmp_path, *overrides), ["train"]).training

    plain = needed()
    assert needed("training.keep_epochs=[1,2]") == pytest.approx(plain * 1.5, rel=0.1)
    assert needed("training.average=0.9") == pytest.approx(plain * 1.5, rel=0.1)
    assert needed("training.optimizer=lamb", "training.decay_kind=lamb") == pytest.approx(plain * 1.5, rel=0.1)


def test_records_take_about_as_much_room_as_the_images(tmp_path):
    folder = tmp_path / "images" / "cats"
    folder.mkdir(parents=True)
    (folder / "a.jpg").write_bytes(bytes(1000))
    (folder / "b.jpg").write_bytes(bytes(500))
    ledger = ledger_in(tmp_path / "artifacts", recipe="imagefolder", data=tmp_path / "images")
    assert room(ledger, ["convert"]).records == 1500


def test_what_cannot_be_known_is_said_to_be_unknown(tmp_path: Path):
    found = room(ledger_in(tmp_path / "not" / "there", recipe="fashion-mnist"), ["convert", "train"])
    assert found.records is None
    assert found.free > 0
    assert found.sentence().startswith("Disk: records of unknown size and ")
