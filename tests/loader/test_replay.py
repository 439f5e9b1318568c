"""A batch of training, made again one image at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from loader_records import corrupt
from sample_images import jpeg, photographs, write_records

from resnet.errors import UserError
from resnet.images.restart_index import read_index
from resnet.images.stored import to_stored
from resnet.loader.batches import training_batches
from resnet.loader.mixing import Mixer, kept
from resnet.loader.replay import shown_in_batch
from resnet.recipes import load_recipe
from resnet.records.example import LabelledImage
from resnet.records.shards import Shard, ShardedRecords, shard_name, write_classes
from resnet.training.mixing import mixed

SETTINGS = (
    "model.image_size=32",
    "evaluation.shorter_side=40",
    "training.batch_size=12",
    "training.replica_batch_size=12",
    "records.max_corrupt=2",
    "augmentation.scale_min=40",
    "augmentation.scale_max=60",
)


@pytest.fixture
def some_records(tmp_path) -> Path:
    write_records(tmp_path, "train", photographs(20), shards=2)
    return tmp_path


MODERN = ("augmentation.policy=randaugment", "augmentation.erasing=0.5", "training.first_image_size=16")


@pytest.mark.parametrize(
    ("crop", "workers", "more"), [("scale", 1, ()), ("area", 2, ()), ("pad", 3, ()), ("area", 1, MODERN)]
)
def test_the_images_are_those_of_trainings_loader_at_any_number_of_workers(some_records, crop, workers, more):
    corrupt(some_records, 7)
    records = ShardedRecords(some_records, "train")
    recipe = load_recipe("imagefolder", [*SETTINGS, f"augmentation.crop={crop}", *more])[1]
    with training_batches(recipe, records, workers, 1, 3) as loader:  # batch 1 ends one epoch and begins the next
        batches = {batch.step: (batch.images.copy(), batch.labels) for batch in loader}
    substituted = 0
    for step, (images, labels) in batches.items():
        shown = list(shown_in_batch(recipe, records, step, loader.corrupt))
        np.testing.assert_array_equal(np.stack([one.pixels for one in shown]), images)
        assert [one.label for one in shown] == labels.tolist()
        assert [one.row for one in shown] == list(range(12))
        assert [(one.epoch, one.position) for one in shown] == [divmod(12 * step + row, 20) for row in range(12)]
        substituted += sum((one.instead_of, one.record) == (7, 8) for one in shown)
    assert substituted == 1


def test_mixed_images_are_those_of_the_step(some_records):
    settings = [*SETTINGS, "augmentation.mixup=0.4", "augmentation.cutmix=1.0", "training.replica_batch_size=4"]
    recipe, records = load_recipe("imagefolder", settings)[1], ShardedRecords(some_records, "train")
    kinds = set()
    for batch in range(3):
        shown = list(shown_in_batch(recipe, records, batch))
        plain = list(shown_in_batch(load_recipe("imagefolder", SETTINGS)[1], records, batch))
        mixes = Mixer.of(recipe)(batch, 32)
        images = np.stack([one.pixels for one in plain])
        expected = mixed(tf.constant(images), tf.constant([one.label for one in plain]), tf.constant(mixes))
        assert np.abs(np.stack([one.pixels for one in shown]) - expected.images).max() <= 0.51
        np.testing.assert_allclose([one.share for one in shown], expected.shares, atol=1e-6)
        partners = [3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10]
        for one, partner, label in zip(shown, partners, expected.partners.numpy(), strict=True):
            if one.share < 1:
                assert (one.partner.row, one.partner.label) == (partner, label)
        kinds |= {(one.mixing, kept(mixes[one.row // 4], 32).min() == 0) for one in shown}
    assert {("CutMix", True), ("mixup", False)} <= kinds <= {("CutMix", True), ("mixup", False), ("", False)}


def test_an_image_that_keeps_all_of_itself_is_not_mixed(some_records, monkeypatch):
    """Also where mixup has drawn it, as it does in a step of fifty with a parameter of 0.2."""
    monkeypatch.setattr(Mixer, "_mix", lambda mixer, step, replica, size: (1.0, 0, 0, 0, 0))
    recipe = load_recipe("imagefolder", [*SETTINGS, "augmentation.mixup=0.2"])[1]
    shown = list(shown_in_batch(recipe, ShardedRecords(some_records, "train"), 0))
    assert {(one.share, one.partner, one.mixing) for one in shown} == {(1.0, None, "")}


def test_the_substitute_is_drawn_also_where_the_record_has_been_repaired_since(some_records):
    recipe, records = load_recipe("imagefolder", SETTINGS)[1], ShardedRecords(some_records, "train")
    offset = records.index["offset"][7]
    known = [f"train-00000-of-00002: the record at byte {offset} is corrupt: its checksum does not match"]
    records_shown = [one for step in (0, 1) for one in shown_in_batch(recipe, records, step, known)]
    assert 7 in [one.instead_of for one in records_shown]
    assert 7 not in [one.record for one in records_shown]


def test_a_record_that_training_did_not_report_is_named_in_a_warning(some_records, capfd):
    _, offset = corrupt(some_records, 7)
    recipe, records = load_recipe("imagefolder", SETTINGS)[1], ShardedRecords(some_records, "train")
    for step in (0, 1):
        list(shown_in_batch(recipe, records, step))
    assert f"the record at byte {offset} is corrupt" in (error := capfd.readouterr().err)
    assert "training has not reported it, and may have seen it: the next image is drawn" in error


def test_an_image_whose_bits_cannot_be_decoded_is_substituted_as_the_loader_does_it(tmp_path):
    encoded = [to_stored(jpeg(np.full((96, 128, 3), 40 * i, np.uint8))).encoded for i in range(6)]
    scan = read_index(encoded[2]).scan
    encoded[2] = encoded[2][:scan] + b"\0" * (len(encoded[2]) - scan)  # the index is as it was
    images = [LabelledImage(one, "JPEG", 96, 128, 0, "class0", "", f"{i}.jpg") for i, one in enumerate(encoded)]
    (tmp_path / "index").mkdir()
    Shard(tmp_path, shard_name("train", 0, 1)).write(images)
    write_classes(tmp_path, [("class0", "")])
    recipe = load_recipe("imagefolder", [*SETTINGS, "training.batch_size=6", "training.replica_batch_size=6"])[1]
    records = ShardedRecords(tmp_path, "train")
    with training_batches(recipe, records, 1, 0, 1) as loader:
        [seen] = [batch.images.copy() for batch in loader]
    shown = list(shown_in_batch(recipe, records, 0))
    assert [one.record for one in shown if one.instead_of == 2] == [3]
    np.testing.assert_array_equal(np.stack([one.pixels for one in shown]), seen)


def test_where_every_record_is_corrupt_there_is_one_message(some_records):
    for record in range(20):
        corrupt(some_records, record)
    recipe, records = load_recipe("imagefolder", SETTINGS)[1], ShardedRecords(some_records, "train")
    with pytest.raises(UserError, match=r"all records in .* are corrupt. Delete that folder and run ConvertRecords"):
        list(shown_in_batch(recipe, records, 0))


def test_a_missing_shard_is_named(some_records):
    recipe, records = load_recipe("imagefolder", SETTINGS)[1], ShardedRecords(some_records, "train")
    records.shards[1].unlink()
    with pytest.raises(UserError, match=r"cannot read .*train-00001-of-00002: No such file"):
        list(shown_in_batch(recipe, records, 0))
