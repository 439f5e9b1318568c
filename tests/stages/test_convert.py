"""The stage that makes records: every image once, nothing unreadable passed over, nothing done twice."""

from __future__ import annotations

import contextlib
import csv
import gzip
import hashlib
import json
import os
import signal
import struct
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from resnet.datasets import idx
from resnet.datasets.source import MissingData
from resnet.errors import LockedElsewhere, UserError
from resnet.files import locked
from resnet.images.decoding import decode
from resnet.images.stored import to_stored
from resnet.progress import ENVIRONMENT
from resnet.records.shards import SPLITS, ShardedRecords, read_classes
from resnet.run import Machine, Run
from resnet.stages import ledger_of, run_part, run_stage

SHARDS = [f"train-{i:05d}-of-00003" for i in range(3)] + [f"validation-{i:05d}-of-00002" for i in range(2)]
UNREADABLE = 12

CONVERT = """
import sys
from resnet.run import Machine, Run
from resnet.stages import run_stage
data, artifacts, *overrides = sys.argv[1:]
run_stage("convert", Run.of("imagefolder", overrides, data=data, artifacts=artifacts, machine=Machine(workers=1)))
"""


def convert(run: Run) -> None:
    run_stage("convert", run)


def why_incomplete(run: Run) -> str:
    return ledger_of(run).why_incomplete("convert")


def record(run: Run) -> dict:
    return ledger_of(run).finished("convert")


def is_done(run: Run, part: int) -> bool:
    return ledger_of(run).part_is_done(part)


def rows(path: Path) -> list[list[str]]:
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        header, *rest = csv.reader(file)
    assert header == ["file", "reason"]
    return rest


def files_of(folder: Path) -> dict[str, Path]:
    return {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}


def data_files(folder: Path) -> dict[str, bytes]:
    """What depends on the images alone."""
    return {
        name: path.read_bytes()
        for name, path in files_of(folder).items()
        if name.startswith(("train-", "validation-", "index/", "classes.txt"))
    }


def identities(folder: Path) -> dict[str, tuple[int, int]]:
    """What changes when a file is written again, even with the same content."""
    return {name: (path.stat().st_ino, path.stat().st_mtime_ns) for name, path in files_of(folder).items()}


def rewritten(before: dict, after: dict) -> set[str]:
    return {name for name in SHARDS if before.get(name) != after[name]}


def interrupt(run: Run) -> None:
    """Leave a finished stage as it is while it works: begun, with shards that are finished."""
    done = record(run)
    begun = {key: done[key] for key in ("stage", "version", "settings", "inputs", "start", "attempts")}
    (run.records / "begun.json").write_text(json.dumps(begun))
    for name in ("stage.json", "classes.txt", "rejected.csv", "decode_warnings.csv"):
        (run.records / name).unlink()


def remove_shard(run: Run, name: str) -> None:
    for path in (run.records / name, run.records / "index" / f"{name}.npy", run.records / "index" / f"{name}.json"):
        path.unlink()


@pytest.fixture(scope="module")
def half_broken(tmp_path_factory, picture, encoded) -> Path:
    """Two classes of twelve images, six of each unreadable. Not to be changed."""
    root = tmp_path_factory.mktemp("half broken") / "photographs"
    loud = bytearray(encoded(picture(), "PNG"))
    loud[-50] ^= 0xFF  # libpng prints that a checksum does not match
    broken = [encoded(picture(), "JPEG")[:-100], bytes(loud), b"", b"no image", bytes(loud), bytes(loud)]
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
        for number in range(6):
            (root / name / f"whole-{number}.jpg").write_bytes(encoded(picture(number), "JPEG"))
            (root / name / f"broken-{number}.jpg").write_bytes(broken[number])
    return root


@pytest.fixture(scope="module")
def failed(half_broken, run_on, tmp_path_factory) -> tuple[Run, str]:
    """A run that met the unreadable images, and what it said."""
    run = run_on(half_broken, tmp_path_factory.mktemp("failed") / "artifacts")
    with pytest.raises(UserError) as caught:
        convert(run)
    return run, str(caught.value)


def test_the_stage_is_complete_with_its_shards_indices_and_classes(converted):
    assert why_incomplete(converted) == ""
    expected = {*SHARDS, *(f"index/{name}.npy" for name in SHARDS), *(f"index/{name}.json" for name in SHARDS)}
    expected |= {"classes.txt", "rejected.csv", "decode_warnings.csv", "stage.json", ".lock"}
    assert set(files_of(converted.records)) == expected


def test_every_image_is_in_one_record_with_its_class(converted, photographs, records_of):
    records = [record for split in SPLITS for record in records_of(converted.records, split)]
    assert sorted(record.filename for record in records) == sorted(files_of(photographs))
    names = ["cat", "dog", "zebra_finch"]
    for record in records:
        name = record.filename.partition("/")[0]
        assert (record.synset, record.text, record.label) == (name, name.replace("_", " "), names.index(name))


def test_each_class_is_in_either_split(converted):
    for split in SPLITS:
        assert set(ShardedRecords(converted.records, split).index["label"]) == {0, 1, 2}


def test_the_index_has_the_records_own_labels(converted, records_of):
    for split in SPLITS:
        labels = [record.label for record in records_of(converted.records, split)]
        assert list(ShardedRecords(converted.records, split).index["label"]) == labels


def test_records_hold_the_images_as_they_are_to_be_stored(converted, photographs, records_of):
    for split in SPLITS:
        for record in records_of(converted.records, split):
            stored = to_stored((photographs / record.filename).read_bytes())
            assert (record.encoded, record.format, record.height, record.width) == stored[:4]


def test_photographs_that_are_left_whole_are_counted_by_their_reason(converted):
    assert record(converted)["left_whole"] == {"progressive": 1, "damaged bits": 1}


def test_shards_of_a_split_differ_by_one_image_at_most(converted):
    for split in SPLITS:
        sizes = np.bincount(ShardedRecords(converted.records, split).index["shard"])
        assert max(sizes) - min(sizes) <= 1


def test_the_record_of_the_stage_counts_what_was_done(converted, photographs):
    done = record(converted)
    assert sum(done["images"].values()) == len(files_of(photographs))
    assert done["images"] == {split: len(ShardedRecords(converted.records, split)) for split in SPLITS}
    assert (done["rejected"], done["decode_warnings"]) == (0, 1)
    kinds = [to_stored(path.read_bytes()).converted_from for path in files_of(photographs).values()]
    assert done["converted"] == Counter(kind for kind in kinds if kind)
    assert done["seeds"] == {"records.seed": 0, "dataset.split_seed": 0}


def test_an_image_that_decodes_with_a_warning_is_listed_with_it_and_stored(converted, records_of, repaired_jpeg):
    ((file, warning),) = rows(converted.records / "decode_warnings.csv")
    assert file == "cat/repaired.jpg"
    assert "Corrupt JPEG data" in warning
    (stored,) = [
        record for split in SPLITS for record in records_of(converted.records, split) if record.filename == file
    ]
    assert stored.encoded == repaired_jpeg


def test_the_checksums_in_the_record_are_the_files(converted):
    for name, output in record(converted)["outputs"].items():
        content = (converted.records / name).read_bytes()
        assert output["sha256"] == hashlib.sha256(content).hexdigest()
        assert output["size"] == len(content)


def test_the_same_seed_makes_the_same_bytes_whatever_the_number_of_workers(
    converted, photographs, run_on, tmp_path, capsys
):
    run = run_on(photographs, tmp_path / "artifacts", workers=2)
    convert(run)
    assert data_files(run.records) == data_files(converted.records)
    assert record(run)["digest"] == record(converted)["digest"]
    said = capsys.readouterr().out
    images = record(run)["images"]
    assert f"{images['train']} training and {images['validation']} validation images" in said
    assert "2 stored as PNG, pixels unchanged: JPEG of 4 components (CMYK)" in said


def test_another_seed_spreads_the_same_images_otherwise(converted, photographs, run_on, tmp_path, records_of):
    run = run_on(photographs, tmp_path / "artifacts", "records.seed=1")
    convert(run)
    here, there = ([r.filename for r in records_of(one.records, "train")] for one in (run, converted))
    assert here != there
    assert sorted(here) == sorted(there)


def test_what_is_complete_is_not_done_again_and_needs_no_images(converted_copy, run_on, tmp_path):
    before = identities(converted_copy.records)
    convert(converted_copy)
    convert(run_on(tmp_path / "gone" / "photographs", converted_copy.artifacts))
    assert identities(converted_copy.records) == before | {".lock": identities(converted_copy.records)[".lock"]}


def test_only_a_shard_that_is_gone_is_written_again(converted_copy, converted):
    before = identities(converted_copy.records)
    remove_shard(converted_copy, SHARDS[1])
    convert(converted_copy)
    assert rewritten(before, identities(converted_copy.records)) == {SHARDS[1]}
    assert data_files(converted_copy.records) == data_files(converted.records)
    assert record(converted_copy)["digest"] == record(converted)["digest"]


def test_an_interrupted_conversion_goes_on_with_the_shards_that_are_missing(converted_copy, converted):
    interrupt(converted_copy)
    (converted_copy.records / "index" / f"{SHARDS[3]}.json").unlink()  # killed before the shard's last file
    before = identities(converted_copy.records)
    convert(converted_copy)
    assert rewritten(before, identities(converted_copy.records)) == {SHARDS[3]}
    assert data_files(converted_copy.records) == data_files(converted.records)
    done = record(converted_copy)
    assert done["attempts"] == 2
    assert {key: done[key] for key in ("images", "decode_warnings", "converted", "digest")} == {
        key: record(converted)[key] for key in ("images", "decode_warnings", "converted", "digest")
    }


def test_a_killed_conversion_takes_its_workers_along_and_is_continued_where_it_was(files_in, run_on, tmp_path):
    root = files_in(tmp_path / "photographs", {})
    os.mkfifo(root / "val" / "cat" / "endless.jpg")  # whoever opens it waits for a writer
    options = ["records.train_shards=1", "records.validation_shards=1", "records.max_rejected=1"]
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", CONVERT, str(root), str(tmp_path / "artifacts"), *options],
        env=os.environ | {ENVIRONMENT: str(writing)},
        pass_fds=(writing,),
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    os.close(writing)
    try:
        with open(reading) as news:
            assert "2 of 5" in news.readline()  # the training images are done; the worker waits at the endless one
        process.kill()
        process.communicate(timeout=60)  # returns when the last worker has let go of the pipe
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    run = run_on(root, tmp_path / "artifacts", *options)
    assert why_incomplete(run) == "it was interrupted"
    before = identities(run.records)
    (root / "val" / "cat" / "endless.jpg").unlink()
    (root / "val" / "cat" / "endless.jpg").write_bytes(b"")  # as large as it was
    convert(run)
    done = record(run)
    assert (done["attempts"], done["rejected"], done["images"]) == (2, 1, {"train": 2, "validation": 2})
    assert identities(run.records)["train-00000-of-00001"] == before["train-00000-of-00001"]


@pytest.mark.parametrize("name", [f"index/{SHARDS[0]}.npy", SHARDS[0]])
def test_a_file_of_a_shard_that_was_cut_short_is_made_whole_again(converted_copy, converted, name):
    path = converted_copy.records / name
    os.truncate(path, path.stat().st_size - 7)
    assert str(path) in why_incomplete(converted_copy)
    convert(converted_copy)
    assert path.read_bytes() == (converted.records / name).read_bytes()


def test_records_that_do_not_say_what_made_them_are_moved_to_the_trash_and_nothing_is_lost(converted_copy, converted):
    (converted_copy.records / "stage.json").unlink()
    before = identities(converted_copy.records)
    convert(converted_copy)
    (trashed,) = (converted_copy.artifacts / "trash").iterdir()
    assert identities(trashed) == {name: identity for name, identity in before.items() if name != ".lock"}
    assert data_files(converted_copy.records) == data_files(converted.records)


def test_unreadable_images_fail_the_stage_with_their_number_and_the_first_ten_names(failed):
    run, message = failed
    assert f"{UNREADABLE} images cannot be read" in message
    listed = rows(run.records / "rejected.csv")
    for file, reason in listed[:10]:
        assert f"\n  {file}: {reason}\n" in message
    for file, _ in listed[10:]:
        assert file not in message
    assert str(run.records / "rejected.csv") in message
    assert f"records.max_rejected={UNREADABLE}" in message
    assert why_incomplete(run) == "it was interrupted"


def test_every_unreadable_image_is_listed_with_its_reason(failed):
    run, _ = failed
    listed = dict(rows(run.records / "rejected.csv"))
    assert sorted(listed) == sorted(f"{name}/broken-{number}.jpg" for name in ("cat", "dog") for number in range(6))
    assert "empty" in listed["cat/broken-2.jpg"]
    assert "no image" in listed["dog/broken-3.jpg"]
    assert all(listed.values())


def test_unreadable_images_within_the_limit_are_left_out_and_counted(failed, half_broken, run_on, records_of, capsys):
    run, _ = failed
    before = identities(run.records)
    with pytest.raises(UserError, match=f"records.max_rejected is {UNREADABLE - 1}"):
        convert(run_on(half_broken, run.artifacts, f"records.max_rejected={UNREADABLE - 1}"))
    tolerant = run_on(half_broken, run.artifacts, f"records.max_rejected={UNREADABLE}")
    convert(tolerant)
    assert rewritten(before, identities(run.records)) == set()
    assert why_incomplete(tolerant) == ""
    done = record(tolerant)
    assert done["rejected"] == UNREADABLE
    assert len(rows(run.records / "rejected.csv")) == UNREADABLE
    found = sorted(record.filename for split in SPLITS for record in records_of(run.records, split))
    assert found == sorted(f"{name}/whole-{number}.jpg" for name in ("cat", "dog") for number in range(6))
    assert done["images"]["train"] + done["images"]["validation"] == len(found)
    assert f"{UNREADABLE} unreadable images" in capsys.readouterr().out


def test_what_a_decoder_says_of_an_unreadable_image_is_not_put_down_to_the_next(failed):
    run, _ = failed
    summaries = [json.loads((run.records / "index" / f"{name}.json").read_text()) for name in SHARDS]
    assert [summary["decode_warnings"] for summary in summaries] == [[]] * len(SHARDS)


def test_an_unreadable_file_whose_name_is_not_utf_8_is_listed_too(files_in, run_on, tmp_path):
    name = os.fsdecode(b"caf\xe9.jpg")
    root = files_in(tmp_path / "photographs", {f"train/cat/{name}": b"no image"})
    run = run_on(root, tmp_path / "artifacts")
    with pytest.raises(UserError, match="cannot be read"):
        convert(run)
    ((file, _),) = rows(run.records / "rejected.csv")
    assert os.fsencode(file) == b"train/cat/caf\xe9.jpg"


def test_a_class_whose_name_is_not_utf_8_is_a_class_like_any_other(files_in, run_on, tmp_path, image_files, records_of):
    name = os.fsdecode(b"caf\xe9")
    more = {f"{split}/{name}/0.jpg": image_files["JPEG"] for split in ("train", "val")}
    run = run_on(files_in(tmp_path / "photographs", more), tmp_path / "artifacts")
    convert(run)
    assert name in {record.synset for record in records_of(run.records, "train")}


def test_there_may_be_more_shards_than_images(files_in, run_on, tmp_path, records_of):
    root = files_in(tmp_path / "photographs", {})
    run = run_on(root, tmp_path / "artifacts", "records.train_shards=5", "records.validation_shards=7")
    convert(run)
    assert len(list(run.records.glob("train-*"))) == 5
    for split, folder in (("train", "train"), ("validation", "val")):
        assert sorted(record.filename for record in records_of(run.records, split)) == [
            f"{folder}/{name}/0.jpg" for name in ("cat", "dog")
        ]


def test_digits_are_converted_without_any_data_folder(tmp_path, records_of):
    run = Run.of("digits", ["records.train_shards=2"], artifacts=tmp_path, machine=Machine(workers=1))
    convert(run)
    records = records_of(run.records, "train") + records_of(run.records, "validation")
    assert len({record.filename for record in records}) == len(records) == 1797
    assert {decode(record.encoded).shape for record in records[::100]} == {(8, 8, 3)}
    assert [identifier for identifier, _ in read_classes(run.records)] == list("0123456789")


def test_a_number_of_images_that_is_not_the_recipes_stops_before_anything_is_written(photographs, run_on, tmp_path):
    run = run_on(photographs, tmp_path / "artifacts", "dataset.classes=4")
    with pytest.raises(UserError, match="found 3 classes"):
        convert(run)
    assert set(files_of(run.records)) == {".lock"}


def test_images_that_are_gone_are_missing_data_and_what_is_left_of_the_records_stays(converted_copy, run_on, tmp_path):
    remove_shard(converted_copy, SHARDS[0])
    before = identities(converted_copy.records)
    with pytest.raises(MissingData):
        convert(run_on(tmp_path / "gone" / "photographs", converted_copy.artifacts))
    del before[".lock"]
    assert before.items() <= identities(converted_copy.records).items()


def test_downloaded_images_are_told_to_be_the_same_by_the_next_process(downloads):
    convert(downloads())
    assert why_incomplete(downloads()) == ""


def test_images_downloaded_again_for_a_lost_shard_leave_the_records_complete(downloads):
    run = downloads()
    convert(run)
    digest = record(run)["digest"]
    for path in (run.artifacts / "downloads" / "fashion-mnist").iterdir():
        path.unlink()
    remove_shard(run, SHARDS[0])
    convert(downloads())
    assert why_incomplete(downloads()) == ""
    assert record(run)["digest"] == digest


@pytest.fixture
def files_in(image_files):
    """files_in(root, {"train/cat/1.jpg": b""}): these files, beside one good image of either class in either split."""

    def make(root: Path, contents: dict[str, bytes]) -> Path:
        good = {f"{split}/{name}/0.jpg": image_files["JPEG"] for split in ("train", "val") for name in ("cat", "dog")}
        for name, content in (good | contents).items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content)
        return root

    return make


@pytest.fixture
def downloads(tmp_path, monkeypatch):
    """downloads(): a fresh run on a small Fashion-MNIST that has to be downloaded first."""
    labels = np.arange(12, dtype=np.uint8) % 3
    pixels = np.random.default_rng(0).integers(0, 256, (12, 8, 8), np.uint8)
    (tmp_path / "official").mkdir()
    official = {}
    for name in idx.FILES:
        array = pixels if "images" in name else labels
        head = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
        content = gzip.compress(head + array.tobytes())
        (tmp_path / "official" / f"{name}.gz").write_bytes(content)
        official[name] = hashlib.md5(content).hexdigest()
    monkeypatch.setattr(idx, "DEBIAN", tmp_path / "debian")
    monkeypatch.setitem(idx.MD5, "fashion-mnist", official)
    monkeypatch.setitem(idx.DOWNLOADS, "fashion-mnist", (tmp_path / "official").as_uri())

    def make() -> Run:
        any_number = [f"dataset.{name}=0" for name in ("train_images", "validation_images", "classes")]
        few = ["records.train_shards=3", "records.validation_shards=2", *any_number]
        return Run.of("fashion-mnist", few, artifacts=tmp_path / "artifacts", machine=Machine(workers=1))

    return make


@pytest.fixture
def in_parts(photographs, run_on, tmp_path) -> Run:
    return run_on(photographs, tmp_path / "artifacts", "records.parts=3")


def test_parts_make_all_shards_between_them_the_same_as_without(in_parts, converted):
    made: set[str] = set()
    for part in (2, 0, 1):
        assert not is_done(in_parts, part)
        run_part(in_parts, part)
        assert is_done(in_parts, part)
        made |= set(SHARDS[part::3])
        assert {name for name in SHARDS if (in_parts.records / name).exists()} == made
    assert why_incomplete(in_parts) == "its parts are done, but not yet put together"
    written = {name: (in_parts.records / name).stat().st_mtime_ns for name in SHARDS}
    convert(in_parts)
    assert {name: (in_parts.records / name).stat().st_mtime_ns for name in SHARDS} == written
    assert data_files(in_parts.records) == data_files(converted.records)
    assert record(in_parts)["digest"] == record(converted)["digest"]


def test_parts_do_not_wait_for_each_other_but_the_stage_waits_for_them(in_parts):
    run_part(in_parts, 0)
    with locked(in_parts.records, shared=True):  # another host at its part
        run_part(in_parts, 1)
        assert is_done(in_parts, 1)
        with pytest.raises(LockedElsewhere), locked(in_parts.records):
            pass


def test_the_stage_makes_what_a_part_left_out(in_parts, converted):
    run_part(in_parts, 1)
    convert(in_parts)
    assert data_files(in_parts.records) == data_files(converted.records)


def test_parts_of_other_settings_are_not_taken_for_done(in_parts, photographs, run_on):
    run_part(in_parts, 0)
    other = run_on(photographs, in_parts.artifacts, "records.parts=3", "records.seed=5")
    assert not is_done(other, 0)
    run_part(other, 0)
    assert is_done(other, 0)
    assert list((in_parts.artifacts / "trash").iterdir())


def test_a_part_that_does_not_exist_is_refused(in_parts):
    with pytest.raises(UserError, match=r"records.parts is 3, and parts are counted from 0"):
        run_part(in_parts, 3)
