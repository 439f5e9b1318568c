"""TFRecord files in the forms of TensorFlow's ImageNet scripts and of TensorFlow Datasets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from sample_images import photographs

from resnet import datasets, settings
from resnet.datasets.source import Dataset, MissingData
from resnet.errors import UserError
from resnet.images.decoding import decode as decode_image
from resnet.images.regions import IndexedJpeg, WholeImage, open_image
from resnet.loader.batches import training_batches, validation_batches
from resnet.recipes import load_recipe
from resnet.records.example import decode
from resnet.records.shards import RecordReader, ShardedRecords
from resnet.run import Machine, Run
from resnet.stages import ledger_of, run_stage

SYNSETS = ("n01440764", "n01443537", "n01484850")
PHOTOS = [(encoded, i % 3) for i, (encoded, _) in enumerate(photographs(24))]


def write(path: Path, examples: list[dict]) -> None:
    with tf.io.TFRecordWriter(str(path)) as writer:
        for example in examples:
            features = {name: _feature(value) for name, value in example.items()}
            writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())


def _feature(value) -> tf.train.Feature:
    if isinstance(value, int):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def as_scripts_make_them(encoded: bytes, label: int, number: int) -> dict:
    """Like build_imagenet_data.py: classes count from 1, and there are features that are not needed."""
    return {
        "image/encoded": encoded,
        "image/format": b"JPEG",
        "image/class/label": label + 1,
        "image/class/synset": SYNSETS[label].encode(),
        "image/class/text": b"a fish",
        "image/object/bbox/label": label + 1,
        "image/filename": f"{SYNSETS[label]}_{number}.JPEG".encode(),
    }


def as_datasets_makes_them(encoded: bytes, label: int, number: int) -> dict:
    return {"image": encoded, "label": label, "file_name": f"{SYNSETS[label]}_{number}.JPEG".encode()}


def folder_of(folder: Path, make, name: str) -> Path:
    folder.mkdir()
    examples = [make(encoded, label, i) for i, (encoded, label) in enumerate(PHOTOS)]
    for number in range(2):
        write(folder / name.format("train", number, 2), examples[:18][number::2])
    write(folder / name.format("validation", 0, 1), examples[18:])
    return folder


@pytest.fixture
def scripts(tmp_path) -> Path:
    return folder_of(tmp_path / "scripts", as_scripts_make_them, "{}-{:05d}-of-{:05d}")


@pytest.fixture
def labelled(tmp_path):
    """labelled([3, 5]): a folder of records with these labels."""

    def make(labels: list[int]) -> Path:
        write(tmp_path / "train-00000-of-00001", [{"image": PHOTOS[0][0], "label": label} for label in labels])
        return tmp_path

    return make


def load(folder: Path, **changes) -> Dataset:
    overrides = [f"dataset.{key}={value}" for key, value in ({"source": "tfrecords"} | changes).items()]
    _, recipe = load_recipe("imagefolder", overrides)
    return datasets.load(recipe.dataset, folder, folder)


def run_of(folder: Path, artifacts: Path, in_place: bool = False) -> Run:
    overrides = ["dataset.source=tfrecords", f"records.in_place={str(in_place).lower()}"]
    overrides += ["records.train_shards=2", "records.validation_shards=1"]
    overrides += ["model.image_size=32", "evaluation.shorter_side=32", "augmentation.scale_min=36"]
    overrides += ["augmentation.scale_max=48", "training.batch_size=6", "training.replica_batch_size=6"]
    return Run.of("imagefolder", overrides, name="run", artifacts=artifacts, data=folder, machine=Machine(workers=1))


def test_labels_that_count_from_one_are_converted_to_count_from_zero(scripts, capsys):
    dataset = load(scripts)
    assert [identifier for identifier, _ in dataset.classes] == list(SYNSETS)
    assert (len(dataset.train), len(dataset.validation)) == (18, 6)
    for split in (dataset.train, dataset.validation):
        for i, label in enumerate(split.labels):
            assert split.image(i).name().startswith(SYNSETS[label])
            assert split.image(i).read() in [encoded for encoded, _ in PHOTOS]
    assert "taken to count from 1" in capsys.readouterr().out


def test_records_of_tensorflow_datasets_count_from_zero_and_have_other_feature_names(tmp_path):
    dataset = load(folder_of(tmp_path / "tfds", as_datasets_makes_them, "imagenet2012-{}.tfrecord-{:05d}-of-{:05d}"))
    assert sorted(set(dataset.train.labels)) == [0, 1, 2]
    assert dataset.train.image(3).name().startswith(SYNSETS[dataset.train.labels[3]])
    assert list(dataset.classes) == [("0", "0"), ("1", "1"), ("2", "2")]


def test_labels_that_could_count_from_zero_or_one_must_be_declared(labelled):
    folder = labelled([1, 1, 3, 3])  # there is no 2, so a 0 may be missing too
    with pytest.raises(UserError, match=r"from 1 to 3, so the first class may be 0 or 1.*dataset.first_label=1"):
        load(folder)
    assert sorted(set(load(folder, first_label=1).train.labels)) == [0, 2]
    assert sorted(set(load(folder, first_label=0).train.labels)) == [1, 3]


def test_the_number_of_classes_decides_whether_labels_count_from_zero_or_one(labelled):
    folder = labelled([2, 2, 3, 3])
    assert sorted(set(load(folder, classes=3).train.labels)) == [1, 2]
    with pytest.raises(UserError, match="so the first class may be 0 or 1"):
        load(folder, classes=4)


def test_a_first_label_that_contradicts_the_records_is_refused(labelled):
    with pytest.raises(UserError, match=r"from 0 to 2, but dataset.first_label is 1"):
        load(labelled([0, 0, 2, 2]), first_label=1)


def test_labels_in_another_order_than_the_synsets_are_refused(tmp_path):
    names = ((0, b"n02"), (1, b"n01"), (0, b"n02"), (1, b"n01"))
    examples = [{"image": PHOTOS[0][0], "label": label, "image/class/synset": name} for label, name in names]
    write(tmp_path / "train-00000-of-00001", examples)
    with pytest.raises(UserError, match="do not follow the sorted order of their synsets"):
        load(tmp_path)


def test_the_other_filenames_reveal_a_missing_file(scripts):
    (scripts / "train-00000-of-00002").unlink()
    with pytest.raises(UserError, match="these are missing: 0000"):
        load(scripts)


def test_files_of_two_sets_in_one_folder_are_refused(scripts):
    (scripts / "train-00002-of-00003").touch()
    with pytest.raises(UserError, match="the files like train-00000-of-00002 are of more than one set"):
        load(scripts)


def test_an_error_names_the_file_and_offset_of_a_corrupt_record(scripts):
    path = scripts / "train-00001-of-00002"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"train-00001-of-00002: the record at byte \d+ is corrupt"):
        load(scripts)


def test_an_error_names_a_file_that_is_not_a_tfrecord_file(scripts):
    (scripts / "validation-00000-of-00001").write_bytes(b"no records at all")
    with pytest.raises(UserError, match=r"validation-00000-of-00001: the record at byte 0 .* not a TFRecord file"):
        load(scripts)


def test_the_error_for_a_folder_without_records_shows_how_they_are_named(tmp_path):
    with pytest.raises(MissingData, match="train-00000-of-01024"):
        load(tmp_path)


def test_conversion_keeps_labels_filenames_and_pixels(scripts, tmp_path):
    run = run_of(scripts, tmp_path / "artifacts")
    run_stage("convert", run)
    found = {}
    for split in ("train", "validation"):
        records = ShardedRecords(run.records, split)
        reader = RecordReader(records.shards)
        for shard, offset, length, label in records.index.tolist():
            record = decode(reader.payload(shard, offset, length))
            assert record.label == label
            found[record.filename] = (label, record.encoded)
    assert len(found) == len(PHOTOS)
    for i, (encoded, label) in enumerate(PHOTOS):
        converted_label, converted = found[f"{SYNSETS[label]}_{i}.JPEG"]
        assert converted_label == label
        assert isinstance(open_image(converted), IndexedJpeg)
        np.testing.assert_array_equal(decode_image(converted), decode_image(encoded))


def test_records_used_in_place_are_linked_and_can_be_trained_on(scripts, tmp_path):
    run = run_of(scripts, tmp_path / "artifacts", in_place=True)
    run_stage("convert", run)
    assert ledger_of(run).why_incomplete("convert") == ""
    records = ShardedRecords(run.records, "train")
    assert [path.resolve() for path in records.shards] == sorted(scripts.glob("train-*"))
    assert sorted(records.index["label"].tolist()) == sorted(label for _, label in PHOTOS[:18])
    with training_batches(run.recipe, records, 2, 0, 3) as loader:
        assert sum(len(batch.labels) for batch in loader) == 18


def test_records_used_in_place_give_the_same_images_as_converted_ones(scripts, tmp_path):
    shown = []
    for in_place in (True, False):
        run, pixels = run_of(scripts, tmp_path / f"artifacts-{in_place}", in_place), {}
        run_stage("convert", run)
        records = ShardedRecords(run.records, "validation")
        with validation_batches(run.recipe, records, 2, filenames=True) as loader:
            for batch in loader:
                for name, label, image in zip(batch.filenames, batch.labels, batch.images, strict=True):
                    assert name.startswith(SYNSETS[label])
                    pixels[name] = image.tobytes()
        shown.append(pixels)
    assert shown[0] == shown[1]
    assert len(shown[0]) == 6


def test_a_changed_file_used_in_place_makes_the_stage_stale(scripts, tmp_path):
    run = run_of(scripts, tmp_path / "artifacts", in_place=True)
    run_stage("convert", run)
    path = scripts / "train-00000-of-00002"
    path.write_bytes(path.read_bytes() + b"more")
    assert "the images have changed" in ledger_of(
        run_of(scripts, tmp_path / "artifacts", in_place=True)
    ).why_incomplete("convert")


def test_jpegs_without_an_index_are_decoded_whole(scripts):
    assert isinstance(open_image(load(scripts).train.image(0).read()), WholeImage)


@pytest.mark.parametrize("feature", ["image/class/synset", "image/class/text"])
def test_a_class_of_records_with_a_line_break_in_its_name_is_refused(tmp_path, feature):
    examples = [{"image": PHOTOS[0][0], "label": label, feature: b"%d\nor" % label} for label in (0, 0, 1, 1)]
    write(tmp_path / "train-00000-of-00001", examples)
    with pytest.raises(UserError, match=r"the class .*'0.nor'.* has a tab, a line break"):
        load(tmp_path)


def test_a_declared_class_name_with_a_tab_is_refused(labelled):
    folder = labelled([0, 0, 1, 1])
    with pytest.raises(UserError, match="correct the name where it comes from"):
        datasets.load(settings.Dataset(source="tfrecords", class_names=["cat", "dog\tfox"]), folder, folder)
