"""The convert stage: complete, resumed, killed, and accounting for every image."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import signal
import struct
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from conversions import SHARDS, convert, data_files, files_of, identities, rewritten, stage_json, why_incomplete

from resnet.datasets import idx
from resnet.datasets.source import MissingData
from resnet.errors import UserError
from resnet.images.decoding import decode
from resnet.images.stored import to_stored
from resnet.progress import ENVIRONMENT
from resnet.records.shards import SPLITS, ShardedRecords, read_classes
from resnet.run import Machine, Run

CONVERT = """
import sys
from resnet.run import Machine, Run
from resnet.stages import run_stage
data, artifacts, *overrides = sys.argv[1:]
run_stage("convert", Run.of("imagefolder", overrides, data=data, artifacts=artifacts, machine=Machine(workers=1)))
"""


@pytest.fixture
def downloads(tmp_path, monkeypatch):
    """downloads(): a new run on a small Fashion-MNIST that it has to download first."""
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


def interrupt(run: Run) -> None:
    """Make a complete stage look interrupted: begun, with finished shards."""
    recorded = stage_json(run)
    begun = {key: recorded[key] for key in ("stage", "version", "settings", "inputs", "start", "attempts")}
    (run.records / "begun.json").write_text(json.dumps(begun))
    for name in ("stage.json", "classes.txt", "rejected.csv", "decode_warnings.csv", "ignored.csv"):
        (run.records / name).unlink()


def remove_shard(run: Run, name: str) -> None:
    for path in (run.records / name, run.records / "index" / f"{name}.npy", run.records / "index" / f"{name}.json"):
        path.unlink()


def test_a_complete_stage_has_shards_indices_and_classes(converted):
    assert why_incomplete(converted) == ""
    expected = {*SHARDS, *(f"index/{name}.npy" for name in SHARDS), *(f"index/{name}.json" for name in SHARDS)}
    expected |= {
        "classes.txt",
        "rejected.csv",
        "decode_warnings.csv",
        "ignored.csv",
        "stage.json",
        "begun.json",
        "log-1.txt",
        ".lock",
    }
    assert set(files_of(converted.records)) == expected


def test_every_image_is_in_one_record_with_its_class(converted, photographs, records_of):
    records = [record for split in SPLITS for record in records_of(converted.records, split)]
    assert sorted(record.filename for record in records) == sorted(files_of(photographs))
    names = ["cat", "dog", "zebra_finch"]
    for record in records:
        name = record.filename.partition("/")[0]
        assert (record.synset, record.text, record.label) == (name, name.replace("_", " "), names.index(name))


def test_each_class_is_in_both_splits(converted):
    for split in SPLITS:
        assert set(ShardedRecords(converted.records, split).index["label"]) == {0, 1, 2}


def test_the_index_has_the_labels_of_the_records(converted, records_of):
    for split in SPLITS:
        labels = [record.label for record in records_of(converted.records, split)]
        assert list(ShardedRecords(converted.records, split).index["label"]) == labels


def test_records_have_the_images_in_their_stored_form(converted, photographs, records_of):
    for split in SPLITS:
        for record in records_of(converted.records, split):
            stored = to_stored((photographs / record.filename).read_bytes())
            assert (record.encoded, record.format, record.height, record.width) == stored[:4]


def test_photographs_stored_without_restart_markers_are_counted_by_reason(converted):
    assert stage_json(converted)["left_whole"] == {"progressive": 1, "invalid scan data": 1}


def test_the_shards_of_a_split_differ_by_at_most_one_image(converted):
    for split in SPLITS:
        sizes = np.bincount(ShardedRecords(converted.records, split).index["shard"])
        assert max(sizes) - min(sizes) <= 1


def test_stage_json_counts_images_rejections_decode_warnings_conversions_and_reductions(converted, photographs):
    recorded = stage_json(converted)
    assert sum(recorded["images"].values()) == len(files_of(photographs))
    assert recorded["images"] == {split: len(ShardedRecords(converted.records, split)) for split in SPLITS}
    assert (recorded["rejected"], recorded["decode_warnings"]) == (0, 1)
    stored = [to_stored(path.read_bytes()) for path in files_of(photographs).values()]
    unchanged = Counter(one.converted_from for one in stored if one.converted_from and not one.reduced)
    assert recorded["converted"] == unchanged
    assert recorded["reduced"] == Counter(reason for one in stored for reason in one.reduced)
    assert recorded["ignored"] == {}
    assert recorded["seeds"] == {"records.seed": 0, "dataset.split_seed": 0}


def test_stage_json_has_the_checksum_and_size_of_each_output(converted):
    for name, output in stage_json(converted)["outputs"].items():
        content = (converted.records / name).read_bytes()
        assert output["sha256"] == hashlib.sha256(content).hexdigest()
        assert output["size"] == len(content)


def test_the_same_seed_gives_the_same_bytes_with_any_number_of_workers(
    converted, photographs, run_on, tmp_path, capsys
):
    run = run_on(photographs, tmp_path / "artifacts", workers=2)
    convert(run)
    assert data_files(run.records) == data_files(converted.records)
    assert stage_json(run)["digest"] == stage_json(converted)["digest"]
    output = capsys.readouterr().out
    images = stage_json(run)["images"]
    assert f"{images['train']} training and {images['validation']} validation images" in output
    assert "2 stored as PNG, pixels unchanged: WebP" in output
    assert "2 images reduced: CMYK to RGB" in output
    assert "3 images reduced: transparency dropped" in output
    assert "CMYK" not in "".join(line for line in output.splitlines() if "unchanged" in line)


def test_another_seed_distributes_the_same_images_differently(converted, photographs, run_on, tmp_path, records_of):
    run = run_on(photographs, tmp_path / "artifacts", "records.seed=1")
    convert(run)
    here, there = ([r.filename for r in records_of(one.records, "train")] for one in (run, converted))
    assert here != there
    assert sorted(here) == sorted(there)


def test_a_complete_conversion_does_not_run_again_and_needs_no_images(converted_copy, run_on, tmp_path):
    before = identities(converted_copy.records)
    convert(converted_copy)
    convert(run_on(tmp_path / "gone" / "photographs", converted_copy.artifacts))
    assert identities(converted_copy.records) == before | {".lock": identities(converted_copy.records)[".lock"]}


def test_only_a_missing_shard_is_rewritten(converted_copy, converted):
    before = identities(converted_copy.records)
    remove_shard(converted_copy, SHARDS[1])
    convert(converted_copy)
    assert rewritten(before, identities(converted_copy.records)) == {SHARDS[1]}
    assert data_files(converted_copy.records) == data_files(converted.records)
    assert stage_json(converted_copy)["digest"] == stage_json(converted)["digest"]


def test_an_interrupted_conversion_resumes_with_the_missing_shards(converted_copy, converted):
    interrupt(converted_copy)
    (converted_copy.records / "index" / f"{SHARDS[3]}.json").unlink()  # killed before the shard's last file
    before = identities(converted_copy.records)
    convert(converted_copy)
    assert rewritten(before, identities(converted_copy.records)) == {SHARDS[3]}
    assert data_files(converted_copy.records) == data_files(converted.records)
    recorded = stage_json(converted_copy)
    assert recorded["attempts"] == 2
    assert {key: recorded[key] for key in ("images", "decode_warnings", "converted", "digest")} == {
        key: stage_json(converted)[key] for key in ("images", "decode_warnings", "converted", "digest")
    }


def test_killing_a_conversion_ends_its_workers_and_the_next_attempt_resumes_it(files_in, run_on, encoded, tmp_path):
    slow = encoded(np.zeros((7000, 7000), np.uint8), "PNG", "P")  # keeps a worker busy for a second
    root = files_in(tmp_path / "photographs", {"val/cat/slow.png": slow})
    options = ["records.train_shards=1", "records.validation_shards=1"]
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
        with open(reading) as pipe:
            assert "2 of 5" in pipe.readline()  # the training images are done; the worker is busy with slow.png
        process.kill()
        process.communicate(timeout=60)  # returns when the last worker has closed its end
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    run = run_on(root, tmp_path / "artifacts", *options)
    assert why_incomplete(run) == "it was interrupted"
    before = identities(run.records)
    convert(run)
    recorded = stage_json(run)
    assert (recorded["attempts"], recorded["rejected"], recorded["images"]) == (2, 0, {"train": 2, "validation": 3})
    assert identities(run.records)["train-00000-of-00001"] == before["train-00000-of-00001"]


@pytest.mark.parametrize("name", [f"index/{SHARDS[0]}.npy", SHARDS[0]])
def test_a_truncated_shard_or_index_is_rewritten(converted_copy, converted, name):
    path = converted_copy.records / name
    os.truncate(path, path.stat().st_size - 7)
    assert str(path) in why_incomplete(converted_copy)
    convert(converted_copy)
    assert path.read_bytes() == (converted.records / name).read_bytes()


def test_records_without_any_state_move_to_the_trash_and_nothing_is_lost(converted_copy, converted):
    for name in ("stage.json", "begun.json"):
        (converted_copy.records / name).unlink()
    before = identities(converted_copy.records)
    convert(converted_copy)
    (trashed,) = (converted_copy.artifacts / "trash").iterdir()
    kept = {name: identity for name, identity in identities(trashed).items() if name != "trashed.json"}
    assert kept == {name: identity for name, identity in before.items() if name != ".lock"}
    assert data_files(converted_copy.records) == data_files(converted.records)


def test_a_lost_stage_json_is_made_again_and_no_shard(converted_copy, converted):
    before = identities(converted_copy.records)
    (converted_copy.records / "stage.json").unlink()
    convert(converted_copy)
    assert rewritten(before, identities(converted_copy.records)) == set()
    assert stage_json(converted_copy)["digest"] == stage_json(converted)["digest"]


def test_a_class_can_have_a_name_that_is_not_utf_8(files_in, run_on, tmp_path, image_files, records_of):
    name = os.fsdecode(b"caf\xe9")
    more = {f"{split}/{name}/0.jpg": image_files["JPEG"] for split in ("train", "val")}
    run = run_on(files_in(tmp_path / "photographs", more), tmp_path / "artifacts")
    convert(run)
    assert name in {record.synset for record in records_of(run.records, "train")}


def test_there_can_be_more_shards_than_images(files_in, run_on, tmp_path, records_of):
    root = files_in(tmp_path / "photographs", {})
    run = run_on(root, tmp_path / "artifacts", "records.train_shards=5", "records.validation_shards=7")
    convert(run)
    assert len(list(run.records.glob("train-*"))) == 5
    for split, folder in (("train", "train"), ("validation", "val")):
        assert sorted(record.filename for record in records_of(run.records, split)) == [
            f"{folder}/{name}/0.jpg" for name in ("cat", "dog")
        ]


def test_digits_are_converted_without_a_data_folder(tmp_path, records_of):
    run = Run.of("digits", ["records.train_shards=2"], artifacts=tmp_path, machine=Machine(workers=1))
    convert(run)
    records = records_of(run.records, "train") + records_of(run.records, "validation")
    assert len({record.filename for record in records}) == len(records) == 1797
    assert {decode(record.encoded).shape for record in records[::100]} == {(8, 8, 3)}
    assert [identifier for identifier, _ in read_classes(run.records)] == list("0123456789")


def test_a_count_that_differs_from_the_recipe_fails_before_anything_is_written(photographs, run_on, tmp_path):
    run = run_on(photographs, tmp_path / "artifacts", "dataset.classes=4")
    with pytest.raises(UserError, match="found 3 classes"):
        convert(run)
    assert set(files_of(run.records)) == {".lock"}


def test_missing_images_raise_missing_data_and_the_remaining_records_stay(converted_copy, run_on, tmp_path):
    remove_shard(converted_copy, SHARDS[0])
    before = identities(converted_copy.records)
    with pytest.raises(MissingData):
        convert(run_on(tmp_path / "gone" / "photographs", converted_copy.artifacts))
    del before[".lock"]
    assert before.items() <= identities(converted_copy.records).items()


def test_the_next_process_recognises_the_downloaded_images(downloads):
    convert(downloads())
    assert why_incomplete(downloads()) == ""


def test_downloading_the_images_again_for_a_missing_shard_completes_the_same_records(downloads):
    run = downloads()
    convert(run)
    digest = stage_json(run)["digest"]
    for path in (run.artifacts / "downloads" / "fashion-mnist").iterdir():
        path.unlink()
    remove_shard(run, SHARDS[0])
    convert(downloads())
    assert why_incomplete(downloads()) == ""
    assert stage_json(run)["digest"] == digest
