"""Records that do not match their checksum: named, counted, substituted up to a cap."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from loader_records import corrupt
from loader_streams import digests, training
from sample_images import photographs, write_records

from resnet.errors import UserError
from resnet.loader.batches import training_batches, validation_batches
from resnet.loader.loader import Loader
from resnet.loader.random_streams import AUGMENTATION, draws
from resnet.loader.sampler import EvaluationSampler, TrainingSampler
from resnet.loader.transforms import Augment, CenterCrop, show
from resnet.recipes import load_recipe
from resnet.records.example import encoded_image
from resnet.records.shards import RecordReader, ShardedRecords
from resnet.settings import Augmentation


@pytest.fixture
def some_records(tmp_path) -> Path:
    images = [(encoded, i // 3 % 3) for i, (encoded, _) in enumerate(photographs(20))]  # neighbours of other classes
    write_records(tmp_path, "train", images, shards=2)
    return tmp_path


def test_a_corrupt_record_stops_the_loader_and_is_named(some_records):
    shard, offset = corrupt(some_records, 7)
    with pytest.raises(UserError) as error:
        digests(training(ShardedRecords(some_records, "train")))
    assert f"train-0000{shard}-of-00002: the record at byte {offset} is corrupt: its checksum" in str(error.value)
    assert "records.max_corrupt is 0" in str(error.value)
    assert "run ConvertRecords" in str(error.value)


def test_for_a_corrupt_record_in_a_linked_file_the_advice_is_to_get_the_file_again(some_records, tmp_path):
    corrupt(some_records, 3)
    for shard in some_records.glob("train-*"):
        shard.rename(tmp_path / f"their-{shard.name}")
        shard.symlink_to(tmp_path / f"their-{shard.name}")
    with pytest.raises(UserError, match=rf"link to {tmp_path}/their-train-0000[01]-of-00002: get that file") as error:
        digests(training(ShardedRecords(some_records, "train")))
    assert "delete" not in str(error.value)


@pytest.mark.parametrize("workers", [1, 3])
def test_corrupt_records_up_to_the_cap_are_substituted_by_the_next_images_of_the_shards(some_records, capfd, workers):
    whole = ShardedRecords(some_records, "train")
    corrupt(some_records, 7)
    corrupt(some_records, 8)
    sampler = TrainingSampler(20, 10, seed=1)
    with training(whole, batch_size=10, last=4, workers=workers, max_corrupt=2) as loader:
        batches = [(batch.images.copy(), batch.labels) for batch in loader]
        assert len(loader.corrupt) == 2
    printed = capfd.readouterr().err
    assert printed.count("its checksum does not match; the next image is its substitute") == 2  # once, not every epoch
    for step, (_, labels) in enumerate(batches):
        members = sampler.batch(step)[0].records
        members = np.where((members == 7) | (members == 8), 9, members)
        np.testing.assert_array_equal(labels, whole.index["label"][members])
    # The pixels are the substitute's, with the crop and colour of that position.
    (crowd,) = (step for step in (0, 1) if 7 in sampler.batch(step)[0].records)
    records = sampler.batch(crowd)[0].records
    row, position = int(np.flatnonzero(records == 7)[0]), sampler.batch(crowd)[0].position
    reader, out = RecordReader(whole.shards), np.empty((32, 32, 3), np.uint8)
    shard, offset, length, _ = whole.index[9].item()
    transform = Augment.of(Augmentation(scale_min=40, scale_max=60), 32)
    drawn = draws(1, 0, position + row, 1, AUGMENTATION).tolist()
    show(encoded_image(reader.payload(shard, offset, length)), transform, drawn, out)
    np.testing.assert_array_equal(batches[crowd][0][row], out)


def test_one_corrupt_record_more_than_the_cap_stops_the_loader(some_records):
    for record in (3, 7, 11):
        corrupt(some_records, record)
    with pytest.raises(UserError, match=r"records.max_corrupt is 2"):
        digests(training(ShardedRecords(some_records, "train"), max_corrupt=2))


def test_records_known_to_be_corrupt_count_against_the_cap_and_are_not_reported_again(some_records, capfd):
    places = []
    for record in (7, 8):
        shard, offset = corrupt(some_records, record)
        places.append(
            f"train-0000{shard}-of-00002: the record at byte {offset} is corrupt: its checksum does not match"
        )
    records = ShardedRecords(some_records, "train")
    first = training(records, max_corrupt=2)
    expected = digests(first)
    assert sorted(first.corrupt) == sorted(places)
    capfd.readouterr()
    again = training(records, max_corrupt=2, corrupt=first.corrupt)
    assert digests(again) == expected
    assert again.corrupt == first.corrupt
    assert capfd.readouterr().err == ""
    corrupt(some_records, 11)
    with pytest.raises(UserError, match=r"records.max_corrupt is 2"):
        digests(training(records, max_corrupt=2, corrupt=first.corrupt))


def test_records_known_to_be_corrupt_are_the_same_where_the_artifacts_have_moved(some_records, capfd):
    corrupt(some_records, 7)
    loader = training(ShardedRecords(some_records, "train"), max_corrupt=1)
    digests(loader)
    moved = some_records.rename(some_records.with_name("moved"))
    capfd.readouterr()
    digests(training(ShardedRecords(moved, "train"), max_corrupt=1, corrupt=loader.corrupt))
    assert capfd.readouterr().err == ""


def test_training_batches_take_the_corrupt_records_that_a_run_knows(some_records):
    recipe = load_recipe("digits", ["records.max_corrupt=1"])[1]
    with training_batches(recipe, ShardedRecords(some_records, "train"), 1, 0, 1, corrupt=["known"]) as loader:
        assert loader.corrupt == ["known"]


def test_an_evaluation_is_not_offered_substitutes_which_it_never_takes(some_records):
    corrupt(some_records, 7)
    records = ShardedRecords(some_records, "train")
    recipe = load_recipe("digits", ["records.max_corrupt=5"])[1]
    with validation_batches(recipe, records, 1) as loader, pytest.raises(UserError) as error:
        list(loader)
    assert "is corrupt: its checksum does not match. An evaluation needs every record. To repair" in str(error.value)
    assert "max_corrupt" not in str(error.value)


def test_the_substitute_of_a_corrupt_record_keeps_its_own_name(some_records):
    names = [f"train-{i}.jpg" for i in [*range(0, 20, 2), *range(1, 20, 2)]]  # in the order of the shards
    for record in (0, 7):
        corrupt(some_records, record)
        names[record] = names[record + 1]
    records = ShardedRecords(some_records, "train")
    shown = {"first_step": 0, "last_step": 1, "workers": 2, "filenames": True, "max_corrupt": 2}
    with Loader(records, EvaluationSampler(20, 20), [CenterCrop(32)], 32, **shown) as loader:
        (batch,) = loader
    assert batch.filenames == names


def test_all_records_corrupt_stops_the_loader_at_any_cap(some_records):
    for record in range(20):
        corrupt(some_records, record)
    with pytest.raises(UserError, match=r"records.max_corrupt is 100"):
        digests(training(ShardedRecords(some_records, "train"), max_corrupt=100))


def test_a_record_that_matches_at_the_second_read_is_used_and_counted(some_records, monkeypatch):
    records = ShardedRecords(some_records, "train")
    reader, reads, pread = RecordReader(records.shards), [], os.pread

    def wrong_once(descriptor: int, size: int, offset: int) -> bytes:
        reads.append(offset)
        content = pread(descriptor, size, offset)
        return bytes(size) if len(reads) == 2 else content

    monkeypatch.setattr(os, "pread", wrong_once)
    shard, offset, length, _ = records.index[0].item()
    assert encoded_image(reader.payload(shard, offset, length))[:2] == b"\xff\xd8"
    assert (reader.second_reads, len(reads)) == (1, 6)


def test_a_missing_shard_is_named(some_records):
    records = ShardedRecords(some_records, "train")
    records.shards[1].unlink()
    with pytest.raises(UserError, match=r"cannot read .*train-00001-of-00002: No such file"):
        digests(training(records))
