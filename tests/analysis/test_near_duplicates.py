"""Near-duplicates between the splits of records."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from copies import COPIES, cuts
from sample_images import jpeg, write_records

from resnet.analysis import near_duplicates as module
from resnet.analysis.near_duplicates import COLUMNS, NearDuplicates, NotKnown, near_duplicates
from resnet.images.decoding import png
from resnet.records.shards import Shard, ShardedRecords


def records_of(folder: Path, train: list[tuple[bytes, int]], validation: list[tuple[bytes, int]]) -> Path:
    write_records(folder, "train", train, shards=2)
    write_records(folder, "validation", validation, shards=1)
    write_records(folder, "train", train, shards=2)  # the classes are those of the training images
    return folder


@pytest.fixture
def some_records(tmp_path) -> Path:
    """Training images 0 to 3 of classes 0 to 3. Validation: four other cuts, then a copy of each kind, the last one
    with another label."""
    train, others = cuts(8)[:4], cuts(8)[4:]
    copies = [copy(cut) for copy, cut in zip(COPIES.values(), train, strict=True)]
    labels = [*range(4), 0, 1, 2, 1]
    return records_of(
        tmp_path,
        [(jpeg(pixels), label) for label, pixels in enumerate(train)],
        [(jpeg(pixels), label) for pixels, label in zip([*others, *copies], labels, strict=True)],
    )


def test_copies_are_found_with_their_labels_and_others_are_not(some_records):
    found = near_duplicates(some_records, workers=2)
    assert isinstance(found, NearDuplicates)
    assert tuple(found.pairs.columns) == COLUMNS
    pairs = found.pairs.sort_values("validation_file").reset_index(drop=True)
    assert pairs["validation_file"].tolist() == [f"validation-{i}.jpg" for i in range(4, 8)]
    assert pairs["training_file"].tolist() == [f"train-{i}.jpg" for i in range(4)]
    assert pairs["validation_label"].tolist() == ["class0", "class1", "class2", "class1"]
    assert pairs["training_label"].tolist() == ["class0", "class1", "class2", "class3"]
    assert pairs["is_same_label"].tolist() == [True, True, True, False]
    assert found.pairs["similarity"].is_monotonic_decreasing
    assert (found.images, found.rows.tolist(), found.unreadable) == (4, [4, 5, 6, 7], 0)
    assert found.contradictions["validation_file"].tolist() == ["validation-7.jpg"]
    assert found.sentence == (
        "4 of 8 validation images (50 %) are near-duplicates of training images. 1 pair has different labels: where "
        "the two show the same, one label is wrong."
    )


def test_the_error_without_them_is_said_beside_the_error_with_them(some_records):
    found = near_duplicates(some_records)
    error = found.error_without(np.array([True, False, False, False, True, True, True, True]))
    assert error == (37.5, 75.0, 4)
    assert error.sentence == "Without them the top-1 error is 75.00 %; with them 37.50 %."


def test_where_all_are_near_duplicates_no_error_is_left():
    found = NearDuplicates(None, np.arange(2), 2, 2, 2, 0, np.zeros((2, 2), int))
    assert np.isnan(found.error_without(np.array([True, False])).without_them)


def test_none_is_an_answer_too(tmp_path):
    some = [(jpeg(pixels), 0) for pixels in cuts(4)]
    assert near_duplicates(records_of(tmp_path, some[:2], some[2:])).sentence == (
        "None of 2 validation images is a near-duplicate of a training image."
    )


@pytest.fixture
def flat_records(tmp_path) -> Path:
    """Eight training images without contrast and a photograph. Validation: copies of the first, twice, and of that."""
    flat = [(png(np.full((9, 9), level, np.uint8)), 0) for level in (10, 10, 200, 200, 90, 50, 60, 70)]
    cut = (jpeg(cuts(1)[0]), 0)
    return records_of(tmp_path, [*flat, cut], [flat[0], flat[0], cut])


def test_images_without_contrast_are_near_duplicates_where_they_are_equal(flat_records):
    found = near_duplicates(flat_records)
    assert found.rows.tolist() == [0, 1, 2]
    assert set(found.pairs["training_file"]) == {"train-0.jpg", "train-8.jpg"}
    assert (found.candidates, found.compared) == (17, 7)
    assert found.sentence.endswith("17 pairs have similar hashes; the pixels of the nearest 7 were compared.")


def test_each_image_has_its_nearest_compared_before_any_has_its_second(flat_records, monkeypatch):
    monkeypatch.setattr(module, "MOST", 3)
    found = near_duplicates(flat_records)
    assert (found.candidates, found.compared) == (17, 3)
    assert found.rows.tolist() == [0, 1, 2]


def test_records_of_an_earlier_version_are_not_known_and_it_is_said_what_to_do(some_records):
    for split in ("train", "validation"):
        shard = Shard(some_records, f"{split}-00000-of-0000{2 if split == 'train' else 1}")
        shard.write_summary({k: v for k, v in shard.summary().items() if k != "perceptual_hashes"})
    found = near_duplicates(some_records)
    assert isinstance(found, NotKnown)
    assert "is not known" in found.sentence
    assert "made by an earlier version, without hashes" in found.reason
    assert "delete that folder and run ConvertRecords: the records will be the same" in found.reason


def test_records_that_are_used_in_place_are_not_known(some_records):
    shard = Shard(some_records, "train-00001-of-00002")
    shard.path.rename(some_records / "theirs")
    shard.path.symlink_to(some_records / "theirs")
    assert "Convert them: records.in_place=false" in near_duplicates(some_records).reason


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "is missing"),
        (b"{", "is corrupt"),
        (b"[]", "it lacks what every such file has"),
        (b'{"records": 2, "perceptual_hashes": {"dct-1": "00"}}', "it has 2 digits"),
        (b'{"records": 2, "perceptual_hashes": {"dct-1": 7}}', "is corrupt"),
        (b'{"records": 2, "perceptual_hashes": {"dct-1": "0000000000000000"}}', "has 1 hashes for 2 records"),
    ],
)
def test_a_summary_that_cannot_be_used_is_named_with_the_way_to_make_it_again(some_records, content, reason):
    shard = Shard(some_records, "train-00000-of-00002")
    shard.summary_path.unlink()
    if content is not None:
        shard.summary_path.write_bytes(content)
    found = near_duplicates(some_records)
    assert isinstance(found, NotKnown)
    assert reason in found.reason
    assert str(shard.summary_path) in found.reason
    assert f"elete {'it and ' if content else ''}{shard.path}, and run ConvertRecords" in found.reason


def test_a_corrupt_record_is_counted_and_no_copy_is_claimed(some_records):
    records = ShardedRecords(some_records, "train")
    shard, offset, length, _ = records.index[0].item()
    content = bytearray(records.shards[shard].read_bytes())
    content[offset + length // 2] ^= 1
    records.shards[shard].write_bytes(content)
    found = near_duplicates(some_records)
    assert (found.images, found.unreadable, found.compared) == (3, 1, 3)
    assert "1 candidate could not be compared" in found.sentence
