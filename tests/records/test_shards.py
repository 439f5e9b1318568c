"""Shards: which images they get, and how their records are found and checked."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet.errors import UserError
from resnet.records.example import LabelledImage, decode
from resnet.records.shards import RecordReader, Shard, ShardedRecords, read_classes, shard_name, write_classes
from resnet.records.tfrecord import CorruptRecord, unframe

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


def test_shards_are_named_like_those_of_tensorflows_scripts():
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


def test_the_index_covers_every_byte_of_the_shard(folder):
    shard = Shard(folder, "train-00000-of-00001")
    shard.write(images(5))
    index = np.load(shard.index_path)
    np.testing.assert_array_equal(index["offset"], np.cumsum([0, *index["length"][:-1]]))
    assert index["length"].sum() == shard.path.stat().st_size


def test_each_split_has_its_own_records(folder):
    Shard(folder, "train-00000-of-00001").write(images(3))
    Shard(folder, "validation-00000-of-00001").write(images(2))
    assert (len(ShardedRecords(folder, "train")), len(ShardedRecords(folder, "validation"))) == (3, 2)


def test_only_tfrecord_files_match_the_name_of_a_split(folder):
    Shard(folder, "train-00000-of-00001").write(images(3))
    assert [path.name for path in folder.glob("train-*")] == ["train-00000-of-00001"]


def test_an_error_names_the_shard_and_offset_of_a_corrupt_record_and_the_others_are_read(folder):
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


def test_a_record_past_the_end_of_a_truncated_shard_is_corrupt(folder):
    shard = Shard(folder, "train-00000-of-00001")
    shard.write(images(3))
    records = ShardedRecords(folder, "train")
    os.truncate(shard.path, int(records.index["offset"][2]) + 5)
    reader = RecordReader(records.shards)
    with pytest.raises(CorruptRecord):
        reader.payload(0, int(records.index["offset"][2]), int(records.index["length"][2]))
    reader.close()


def test_a_closed_reader_opens_its_shards_again(folder):
    Shard(folder, "train-00000-of-00001").write(images(1))
    records = ShardedRecords(folder, "train")
    reader = RecordReader(records.shards)
    length = int(records.index["length"][0])
    first = reader.payload(0, 0, length)
    reader.close()
    assert reader.payload(0, 0, length) == first
    reader.close()


def test_a_reader_keeps_at_most_the_given_number_of_shards_open(folder):
    for number in range(3):
        Shard(folder, shard_name("train", number, 3)).write(images(1, start=number))
    records = ShardedRecords(folder, "train")
    reader = RecordReader(records.shards, most_open=2)
    counts = []
    for shard, offset, length, _ in records.index.tolist() * 2:
        reader.payload(shard, offset, length)
        counts.append(reader.open_files)
    assert counts == [1, 2, 2, 2, 2, 2]
    reader.close()
    assert reader.open_files == 0


def test_the_summary_of_a_shard_has_its_counts_and_the_given_facts(folder):
    shard = Shard(folder, "train-00000-of-00001")
    summary = shard.write(images(3), rejected=[("a.jpg", "why")])
    assert summary["records"] == 3
    assert summary["bytes"] == shard.path.stat().st_size
    assert summary["rejected"] == [("a.jpg", "why")]
    assert shard.summary() == json.loads(json.dumps(summary))


def test_an_unfinished_shard_has_no_summary(folder):
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
@pytest.mark.parametrize("harm", ["missing", "empty", "truncated"])
def test_a_shard_with_a_missing_or_truncated_file_has_no_summary(folder, which, harm):
    shard = Shard(folder, "train-00000-of-00001")
    shard.write(images(3))
    path = getattr(shard, which)
    if harm == "missing":
        path.unlink()
    else:
        os.truncate(path, 0 if harm == "empty" else path.stat().st_size - 5)
    assert shard.summary() is None


@pytest.mark.parametrize("content", [b"[]", b"{}", b"null", b"\xff"])
def test_a_shard_with_an_invalid_summary_has_no_summary(folder, content):
    shard = Shard(folder, "train-00000-of-00001")
    shard.write(images(3))
    shard.summary_path.write_bytes(content)
    assert shard.summary() is None


@pytest.mark.parametrize("split", ["train", "validation"])
def test_the_error_for_a_folder_without_records_says_what_to_run(tmp_path, split):
    with pytest.raises(UserError, match="ConvertRecords") as caught:
        ShardedRecords(tmp_path, split)
    assert str(tmp_path) in str(caught.value)
    assert split in str(caught.value)


def test_the_error_for_records_without_classes_says_what_to_run(folder):
    Shard(folder, "train-00000-of-00001").write(images(3))
    (folder / "classes.txt").unlink()
    with pytest.raises(UserError, match="ConvertRecords") as caught:
        ShardedRecords(folder, "train")
    assert str(folder / "classes.txt") in str(caught.value)


def test_the_error_for_a_truncated_index_names_it_and_says_what_to_run(folder):
    shard = Shard(folder, "train-00000-of-00001")
    shard.write(images(3))
    whole = shard.index_path.read_bytes()
    for length in range(len(whole)):
        shard.index_path.write_bytes(whole[:length])
        with pytest.raises(UserError, match="ConvertRecords") as caught:
            ShardedRecords(folder, "train")
        assert str(shard.index_path) in str(caught.value)


def test_an_error_names_an_index_with_other_entries(folder):
    shard = Shard(folder, "train-00000-of-00001")
    shard.write(images(3))
    np.save(shard.index_path, np.arange(5))
    with pytest.raises(UserError, match="int64") as caught:
        ShardedRecords(folder, "train")
    assert str(shard.index_path) in str(caught.value)


def test_a_shard_is_a_sequence_of_framed_examples(folder):
    content = images(3)
    shard = Shard(folder, "train-00000-of-00001")
    shard.write(content)
    file = shard.path.read_bytes()
    lengths = np.load(shard.index_path)["length"]
    ends = np.cumsum(lengths)
    assert [decode(unframe(file[end - length : end])) for end, length in zip(ends, lengths, strict=True)] == content


def test_classes_are_read_back_as_written(folder):
    assert read_classes(folder) == CLASSES


folder_names = st.text(st.characters(codec="utf-8", exclude_characters="\0/\t\n"), min_size=1)


@given(classes=st.lists(st.tuples(folder_names, folder_names), min_size=1, max_size=5))
def test_any_class_names_are_read_back_as_written(classes, tmp_path_factory):
    write_classes(tmp_path_factory.getbasetemp(), classes)
    assert read_classes(tmp_path_factory.getbasetemp()) == classes


def test_a_summary_of_an_earlier_version_is_read_under_todays_keys(folder):
    shard = Shard(folder, "train-00000-of-00001")
    shard.write(images(2), rejected=[], decode_warnings=[["a.jpg", "premature end"]])
    today = shard.summary()
    former = {"doubtful" if key == "decode_warnings" else key: value for key, value in today.items()}
    shard.summary_path.write_text(json.dumps(former))  # without a checksum
    assert shard.summary() == today


@given(position=st.floats(0, 1, exclude_max=True), change=st.integers(1, 255))
def test_a_summary_with_another_byte_is_named_and_not_used(position, change, tmp_path_factory):
    folder = tmp_path_factory.mktemp("records")
    (folder / "index").mkdir()
    shard = Shard(folder, "train-00000-of-00001")
    whole = shard.write(images(2), rejected=[])
    content = bytearray(shard.summary_path.read_bytes())
    content[int(position * len(content))] ^= change
    shard.summary_path.write_bytes(content)
    found = shard.summary()
    assert found is None or {key: found[key] for key in whole if key in found} == whole


def test_writing_a_shard_again_begins_with_the_end_of_its_summary(folder):
    """Killed in between, the shard is unfinished, whatever the sizes of the new and the old one."""
    shard = Shard(folder, "train-00000-of-00001")
    shard.write(images(2))

    def fails():
        yield from images(1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shard.write(fails())
    assert shard.summary() is None


@pytest.mark.parametrize("classes", [CLASSES[:2], CLASSES[:1]])
def test_an_index_with_a_label_beyond_the_classes_is_refused(folder, classes):
    Shard(folder, "train-00000-of-00002").write(images(1))
    Shard(folder, "train-00001-of-00002").write(images(3))
    write_classes(folder, classes)
    with pytest.raises(UserError, match=f"labels from 0 to 2, but classes.txt lists {len(classes)} classes") as caught:
        ShardedRecords(folder, "train")
    assert str(folder / "index" / "train-00001-of-00002.npy") in str(caught.value)
    assert "run ConvertRecords" in str(caught.value)


def test_an_index_with_a_negative_label_is_refused(folder):
    Shard(folder, "train-00000-of-00001").write([images(1)[0]._replace(label=-1)])
    with pytest.raises(UserError, match="labels from -1 to -1"):
        ShardedRecords(folder, "train")
