"""Shards: which image goes where, and how any record is found again."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from resnet.conversion.plan import assign
from resnet.errors import UserError
from resnet.records.example import LabelledImage, decode
from resnet.records.shards import RecordReader, Shard, ShardedRecords, read_classes, shard_name, write_classes
from resnet.records.tfrecord import CorruptRecord, unframe

unhurried = hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

CLASSES = [("n01440764", "tench, Tinca tinca"), ("n01443537", "goldfish"), ("café", "café 狗")]


def images(count: int, start: int = 0) -> list[LabelledImage]:
    return [
        LabelledImage(os.urandom(50 + number), "JPEG", 4, 5, number % 3, *CLASSES[number % 3], f"image-{number}.jpg")
        for number in range(start, start + count)
    ]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "index").mkdir()
    write_classes(tmp_path, CLASSES)
    return tmp_path


@given(count=st.integers(0, 3000), shards=st.integers(1, 200), seed=st.integers(0, 2**63))
@unhurried
def test_every_image_goes_to_one_shard_and_shards_differ_by_one_image_at_most(count, shards, seed):
    parts = assign(count, shards, seed)
    assert len(parts) == shards
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(count))
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1


@given(count=st.integers(0, 300), shards=st.integers(1, 20), seed=st.integers(0, 2**63))
@unhurried
def test_where_an_image_goes_depends_on_the_seed_alone(count, shards, seed):
    for one, again in zip(assign(count, shards, seed), assign(count, shards, seed), strict=True):
        np.testing.assert_array_equal(one, again)


def test_another_seed_spreads_images_otherwise():
    assert not np.array_equal(assign(100, 1, 0)[0], assign(100, 1, 1)[0])


def test_each_shard_is_like_the_whole_and_not_a_run_of_classes():
    # 100 classes of 100 images in the order of the classes: by chance a shard of 100 holds 63 classes, give or take 3.
    labels = np.repeat(np.arange(100), 100)
    for part in assign(len(labels), 100, 0):
        assert len(np.unique(labels[part])) > 45
        assert np.any(np.diff(part) < 0), "the images of a shard are in the order of the classes"


def test_shards_are_named_as_tensorflows_scripts_name_them():
    assert shard_name("train", 7, 1024) == "train-00007-of-01024"


def test_every_record_is_found_by_its_index(folder):
    written = [images(4), [], images(3, start=4)]
    for number, content in enumerate(written):
        Shard(folder, shard_name("train", number, 3)).write(content)
    records = ShardedRecords(folder, "train")
    reader = RecordReader(records.shards)
    flat = [image for content in written for image in content]
    assert len(records) == len(flat)
    assert list(records.index["shard"]) == [0, 0, 0, 0, 2, 2, 2]
    for index in (range(7), reversed(range(7))):
        for i in index:
            shard, offset, length, label = (int(value) for value in records.index[i])
            assert decode(reader.payload(shard, offset, length)) == flat[i]
            assert label == flat[i].label
    reader.close()


def test_the_index_leaves_no_byte_of_the_shard_out(folder):
    shard = Shard(folder, "train-00000-of-00001")
    shard.write(images(5))
    index = np.load(shard.index_path)
    np.testing.assert_array_equal(index["offset"], np.cumsum([0, *index["length"][:-1]]))
    assert index["length"].sum() == shard.path.stat().st_size


def test_the_splits_are_kept_apart(folder):
    Shard(folder, "train-00000-of-00001").write(images(3))
    Shard(folder, "validation-00000-of-00001").write(images(2))
    assert (len(ShardedRecords(folder, "train")), len(ShardedRecords(folder, "validation"))) == (3, 2)


def test_only_shards_match_the_name_of_a_split(folder):
    Shard(folder, "train-00000-of-00001").write(images(3))
    assert [path.name for path in folder.glob("train-*")] == ["train-00000-of-00001"]


def test_a_damaged_record_is_named_by_shard_and_offset_and_the_others_are_read(folder):
    content = images(3)
    shard = Shard(folder, "train-00000-of-00001")
    shard.write(content)
    records = ShardedRecords(folder, "train")
    offset, length = int(records.index["offset"][1]), int(records.index["length"][1])
    with open(shard.path, "r+b") as file:
        file.seek(offset + length // 2)
        byte = file.read(1)[0]
        file.seek(offset + length // 2)
        file.write(bytes([byte ^ 1]))
    reader = RecordReader(records.shards)
    with pytest.raises(CorruptRecord) as caught:
        reader.payload(0, offset, length)
    assert str(shard.path) in str(caught.value)
    assert str(offset) in str(caught.value)
    for i in (0, 2):
        assert decode(reader.payload(0, int(records.index["offset"][i]), int(records.index["length"][i]))) == content[i]
    reader.close()


def test_a_record_beyond_the_end_of_a_shard_cut_short_is_corrupt(folder):
    shard = Shard(folder, "train-00000-of-00001")
    shard.write(images(3))
    records = ShardedRecords(folder, "train")
    os.truncate(shard.path, int(records.index["offset"][2]) + 5)
    reader = RecordReader(records.shards)
    with pytest.raises(CorruptRecord):
        reader.payload(0, int(records.index["offset"][2]), int(records.index["length"][2]))
    reader.close()


def test_a_reader_can_be_used_again_after_it_was_closed(folder):
    Shard(folder, "train-00000-of-00001").write(images(1))
    records = ShardedRecords(folder, "train")
    reader = RecordReader(records.shards)
    length = int(records.index["length"][0])
    first = reader.payload(0, 0, length)
    reader.close()
    assert reader.payload(0, 0, length) == first
    reader.close()


def test_the_summary_of_a_shard_tells_how_it_came_out(folder):
    shard = Shard(folder, "train-00000-of-00001")
    summary = shard.write(images(3), rejected=[("a.jpg", "why")])
    assert summary["records"] == 3
    assert summary["bytes"] == shard.path.stat().st_size
    assert summary["rejected"] == [("a.jpg", "why")]
    assert shard.summary() == json.loads(json.dumps(summary))


def test_a_shard_that_was_never_finished_has_no_summary(folder):
    shard = Shard(folder, "train-00000-of-00001")
    assert shard.summary() is None

    def failing():
        yield from images(2)
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        shard.write(failing())
    assert shard.summary() is None
    assert not shard.path.exists()


@pytest.mark.parametrize("which", ["path", "index_path", "summary_path"])
@pytest.mark.parametrize("harm", ["gone", "empty", "cut short"])
def test_a_shard_with_a_file_gone_or_cut_short_is_not_finished(folder, which, harm):
    shard = Shard(folder, "train-00000-of-00001")
    shard.write(images(3))
    path = getattr(shard, which)
    if harm == "gone":
        path.unlink()
    else:
        os.truncate(path, 0 if harm == "empty" else path.stat().st_size - 5)
    assert shard.summary() is None


@pytest.mark.parametrize("content", [b"[]", b"{}", b"null", b"\xff"])
def test_a_shard_with_a_damaged_summary_is_not_finished(folder, content):
    shard = Shard(folder, "train-00000-of-00001")
    shard.write(images(3))
    shard.summary_path.write_bytes(content)
    assert shard.summary() is None


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_folder_without_records_says_what_to_run(tmp_path, split):
    with pytest.raises(UserError, match="ConvertRecords") as caught:
        ShardedRecords(tmp_path, split)
    assert str(tmp_path) in str(caught.value)
    assert split in str(caught.value)


def test_records_without_their_classes_say_what_to_run(folder):
    Shard(folder, "train-00000-of-00001").write(images(3))
    (folder / "classes.txt").unlink()
    with pytest.raises(UserError, match="ConvertRecords") as caught:
        ShardedRecords(folder, "train")
    assert str(folder / "classes.txt") in str(caught.value)


def test_an_index_cut_short_anywhere_is_named_with_what_to_do(folder):
    shard = Shard(folder, "train-00000-of-00001")
    shard.write(images(3))
    whole = shard.index_path.read_bytes()
    for length in range(len(whole)):
        shard.index_path.write_bytes(whole[:length])
        with pytest.raises(UserError, match="ConvertRecords") as caught:
            ShardedRecords(folder, "train")
        assert str(shard.index_path) in str(caught.value)


def test_an_index_of_something_else_is_named(folder):
    shard = Shard(folder, "train-00000-of-00001")
    shard.write(images(3))
    np.save(shard.index_path, np.arange(5))
    with pytest.raises(UserError, match="int64") as caught:
        ShardedRecords(folder, "train")
    assert str(shard.index_path) in str(caught.value)


def test_the_shards_payloads_are_examples_one_after_another(folder):
    content = images(3)
    shard = Shard(folder, "train-00000-of-00001")
    shard.write(content)
    file = shard.path.read_bytes()
    lengths = np.load(shard.index_path)["length"]
    ends = np.cumsum(lengths)
    assert [decode(unframe(file[end - length : end])) for end, length in zip(ends, lengths, strict=True)] == content


def test_classes_are_read_as_they_were_written(folder):
    assert read_classes(folder) == CLASSES


folder_names = st.text(st.characters(codec="utf-8", exclude_characters="\0/\t\n"), min_size=1)


@given(classes=st.lists(st.tuples(folder_names, folder_names), min_size=1, max_size=5))
@unhurried
def test_whatever_classes_are_called_they_are_read_as_they_were_written(classes, tmp_path_factory):
    write_classes(tmp_path_factory.getbasetemp(), classes)
    assert read_classes(tmp_path_factory.getbasetemp()) == classes
