"""Images that changed, and images that only look as if they had."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from conversions import convert, data_files, identities, rewritten, stage_json, why_incomplete

from resnet import datasets
from resnet.errors import UserError
from resnet.ledger.state_files import read_state, write_state
from resnet.records.shards import Shard, ShardedRecords
from resnet.run import Run
from resnet.stages import run_part

BMP = cv2.imencode(".bmp", np.zeros((20, 32, 3), np.uint8))[1].tobytes()


@pytest.fixture
def images(photographs, tmp_path) -> Path:
    """Photographs to change."""
    return Path(shutil.copytree(photographs, tmp_path / "photographs"))


@pytest.fixture
def run(images, run_on, tmp_path) -> Run:
    """Converted."""
    run = run_on(images, tmp_path / "artifacts")
    convert(run)
    return run


def again(run: Run, *, data: Path | None = None, discard: tuple[str, ...] = ()) -> Run:
    """The same run in another process, which looks at the images again."""
    few = ["records.train_shards=3", "records.validation_shards=2", f"records.parts={run.recipe.records.parts}"]
    few.append(f"records.max_rejected={run.recipe.records.max_rejected}")
    return Run.of(
        "imagefolder", few, artifacts=run.artifacts, data=data or run.data, machine=run.machine, discard=discard
    )


def shards_with(run: Run, filename: str, records_of) -> set[str]:
    found = set()
    for split in ("train", "validation"):
        names = [path.name for path in ShardedRecords(run.records, split).shards]
        shards = ShardedRecords(run.records, split).index["shard"]
        records = zip(records_of(run.records, split), shards, strict=True)
        found |= {names[shard] for record, shard in records if record.filename == filename}
    return found


def touch_all(images: Path) -> None:
    for path in images.rglob("*"):
        os.utime(path, (1, 1))


def have_taken(run: Run, hours: float) -> None:
    path = run.records / "stage.json"
    write_state(path, read_state(path) | {"worked_seconds": 3600.0 * hours})


def test_touched_images_are_looked_at_once_and_nothing_is_made_again(run, images, capfd):
    before, digest = identities(run.records), stage_json(run)["digest"]
    touch_all(images)
    assert why_incomplete(again(run)) == "the images may have changed: their times differ"
    convert(again(run))
    assert rewritten(before, identities(run.records)) == set()
    assert stage_json(run)["digest"] == digest
    assert why_incomplete(again(run)) == ""
    assert "5 of 5 shards have the same images and are kept" in capfd.readouterr().err
    assert not (run.artifacts / "trash").exists()


def test_a_copy_of_the_images_elsewhere_and_the_original_both_count_as_seen(run, images, tmp_path):
    digest = stage_json(run)["digest"]
    copy = Path(shutil.copytree(images, tmp_path / "elsewhere" / "photographs", copy_function=shutil.copyfile))
    convert(again(run, data=copy))
    assert stage_json(run)["digest"] == digest
    assert why_incomplete(again(run, data=copy)) == ""
    assert why_incomplete(again(run)) == ""


def test_an_image_replaced_by_another_of_the_same_size_changes_its_shard_only(images, run_on, tmp_path, records_of):
    (images / "cat" / "raw.bmp").write_bytes(BMP)
    run = run_on(images, tmp_path / "artifacts")
    convert(run)
    before, digest = identities(run.records), stage_json(run)["digest"]
    (images / "cat" / "raw.bmp").write_bytes(BMP[:-1] + b"\xff")
    convert(again(run))
    assert rewritten(before, identities(run.records)) == shards_with(run, "cat/raw.bmp", records_of)
    assert stage_json(run)["digest"] != digest
    (kept,) = (run.artifacts / "trash").iterdir()
    files = [path for path in kept.rglob("*") if path.is_file() and path.name != "trashed.json"]
    assert len(files) == 3  # a shard, its index, its summary


def test_mending_an_unreadable_image_makes_only_its_shard_again(images, run_on, tmp_path, image_files, records_of):
    (images / "cat" / "broken.jpg").write_bytes(b"no image")
    run = run_on(images, tmp_path / "artifacts")
    with pytest.raises(UserError, match=r"(?s)1 image cannot be read.*Finished shards are kept"):
        convert(run)
    before = identities(run.records)
    (images / "cat" / "broken.jpg").write_bytes(image_files["JPEG"])
    convert(again(run))
    assert rewritten(before, identities(run.records)) == shards_with(run, "cat/broken.jpg", records_of)
    assert sum(stage_json(run)["images"].values()) == 40
    assert not (run.artifacts / "trash").exists()


def test_records_of_an_hour_of_work_are_not_replaced_because_images_changed(run, images):
    have_taken(run, 1)
    (images / "cat" / "0.jpg").unlink()
    before = identities(run.records)
    with pytest.raises(UserError, match="the images have changed") as caught:
        convert(again(run))
    assert "--override dataset.name=NAME" in str(caught.value)
    assert identities(run.records) == before | {".lock": identities(run.records)[".lock"]}
    convert(again(run, discard=("convert",)))
    assert sum(stage_json(run)["images"].values()) == 38


def test_touched_images_of_an_hour_of_work_need_no_discard(run, images):
    have_taken(run, 1)
    touch_all(images)
    convert(again(run))
    assert why_incomplete(again(run)) == ""


def test_hosts_with_copies_of_the_images_make_parts_of_the_same_records(images, run_on, tmp_path, converted):
    copy = Path(shutil.copytree(images, tmp_path / "local" / "photographs", copy_function=shutil.copyfile))
    touch_all(copy)
    one = run_on(images, tmp_path / "artifacts", "records.parts=2")
    two = run_on(copy, tmp_path / "artifacts", "records.parts=2")
    run_part(one, 0)
    first = identities(one.records)
    run_part(two, 1)
    convert(again(two))
    after = identities(one.records)
    whole = data_files(converted.records)
    assert {name: data for name, data in data_files(one.records).items() if not name.endswith(".json")} == {
        name: data for name, data in whole.items() if not name.endswith(".json")
    }
    assert {name: after[name] for name in first if name.startswith("train-")} == {
        name: identity for name, identity in first.items() if name.startswith("train-")
    }
    assert not (one.artifacts / "trash").exists()


def test_a_part_of_changed_images_does_not_count_as_done(images, run_on, tmp_path):
    run = run_on(images, tmp_path / "artifacts", "records.parts=2")
    for part in range(2):
        run_part(run, part)
    convert(run)
    (images / "cat" / "0.jpg").unlink()
    changed = again(run)
    for part in range(2):
        run_part(changed, part)
    convert(changed)
    assert sum(stage_json(run)["images"].values()) == 38


def test_a_shard_with_a_corrupt_summary_is_named_and_made_again(run, converted, capfd):
    summary = Shard(run.records, "train-00001-of-00003").summary_path
    summary.write_bytes(summary.read_bytes().replace(b'"records": ', b'"records": 1'))
    (run.records / "stage.json").unlink()
    before = identities(run.records)
    convert(again(run))
    assert f"{summary} is corrupt (its checksum does not match). The shard is made again." in capfd.readouterr().err
    assert rewritten(before, identities(run.records)) == {"train-00001-of-00003"}
    assert data_files(run.records) == data_files(converted.records)


def test_a_disk_without_room_for_the_records_is_said_before_anything_is_written(images, run_on, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=10_000))
    run = run_on(images, tmp_path / "artifacts")
    with pytest.raises(UserError, match=r"the records need about .* GB, but the disk of .* has 0\.0 GB free"):
        convert(run)
    assert not list(run.records.glob("train-*"))


def test_one_changed_shard_of_an_hour_of_work_makes_way_if_it_is_less_than_a_minute_of_it(run, images, image_files):
    have_taken(run, 0.05)  # three minutes, for five shards
    (images / "cat" / "0.jpg").write_bytes(image_files["grey JPEG"])
    convert(again(run))
    assert why_incomplete(again(run)) == ""


def test_a_conversion_without_stage_json_displaces_and_marks_nothing_unasked_either(run, images):
    have_taken(run, 1)
    begun = read_state(run.records / "begun.json")
    write_state(run.records / "begun.json", begun | {"worked_seconds": 3600.0})
    (run.records / "stage.json").unlink()
    (images / "cat" / "0.jpg").unlink()
    with pytest.raises(UserError, match="the images have changed"):
        convert(again(run))
    assert data_files(run.records)


def test_a_stamp_is_forgotten_when_its_image_was_replaced_even_if_its_shard_was_lost(
    images, run_on, tmp_path, records_of
):
    """Otherwise the first image, restored with its time, would count as converted."""
    raw = images / "cat" / "raw.bmp"
    raw.write_bytes(BMP)
    run = run_on(images, tmp_path / "artifacts")
    convert(run)
    first = (raw.read_bytes(), raw.stat())
    raw.write_bytes(BMP[:-1] + b"\xff")
    (shard,) = shards_with(run, "cat/raw.bmp", records_of)
    (run.records / shard).unlink()
    convert(again(run))
    changed = stage_json(run)["digest"]
    raw.write_bytes(first[0])
    os.utime(raw, ns=(first[1].st_atime_ns, first[1].st_mtime_ns))
    assert why_incomplete(again(run)) == "the images may have changed: their times differ"
    convert(again(run))
    assert stage_json(run)["digest"] != changed


def as_an_earlier_version(run: Run) -> None:
    """What earlier versions wrote: no word of what shards were made from, and the listing as an input."""
    for path in (run.records / "index").glob("*.json"):
        summary = json.loads(path.read_text())
        lacking = ("made_from", "perceptual_hashes", "checksum")
        path.write_text(json.dumps({key: value for key, value in summary.items() if key not in lacking}))
    record = read_state(run.records / "stage.json")
    record["inputs"] = {"source": record.pop("source")["listing"]}
    outputs = {name: file["sha256"] for name, file in record["outputs"].items() if "byproduct" not in file}
    covered = {key: record[key] for key in ("stage", "version", "settings", "inputs")} | {"outputs": outputs}
    record["digest"] = hashlib.sha256(json.dumps(covered, sort_keys=True).encode()).hexdigest()
    (run.records / "stage.json").write_text(json.dumps(record))
    (run.records / "begun.json").unlink()


def test_records_of_an_earlier_version_are_kept_with_their_digest_while_the_images_have_their_names_and_sizes(
    run, images
):
    as_an_earlier_version(run)
    digest, before = stage_json(run)["digest"], identities(run.records)
    assert why_incomplete(again(run)) == ""
    (run.records / "classes.txt").unlink()
    convert(again(run))
    assert stage_json(run)["digest"] == digest
    assert rewritten(before, identities(run.records)) == set()


def test_records_of_an_earlier_version_are_made_again_when_an_image_has_another_size(run, images, image_files):
    as_an_earlier_version(run)
    digest = stage_json(run)["digest"]
    (images / "cat" / "0.jpg").write_bytes(image_files["grey JPEG"])
    convert(again(run))
    assert stage_json(run)["digest"] != digest
    assert why_incomplete(again(run)) == ""


def test_an_image_that_appears_while_images_are_listed_is_noticed_next_time(run, images, image_files, monkeypatch):
    load = datasets.load

    def listed_and_then_changed(*arguments):
        loaded = load(*arguments)
        (images / "cat" / "late.jpg").write_bytes(image_files["JPEG"])
        return loaded

    touch_all(images)
    monkeypatch.setattr(datasets, "load", listed_and_then_changed)
    convert(again(run))
    assert why_incomplete(again(run)) == "the images have changed"


def test_records_are_used_as_they_are_while_the_disk_of_the_images_fails(run, monkeypatch, capsys):
    def fails(*_):
        raise OSError(errno.ESTALE, "Stale file handle", "/images")

    monkeypatch.setattr(datasets, "open_source", fails)
    assert why_incomplete(again(run)) == ""
    assert "the images cannot be looked at, and the records are used as they are" in capsys.readouterr().err


def test_lists_for_people_may_get_lost(run):
    for name in ("rejected.csv", "decode_warnings.csv", "ignored.csv"):
        (run.records / name).unlink()
    assert why_incomplete(again(run)) == ""


@pytest.fixture
def tfrecords(converted, tmp_path) -> Callable[[str, int], Path]:
    """tfrecords("a/tfr", 2): a folder with so many of the converted training shards, renamed, and the validation."""

    def make(name: str, count: int) -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        for i in range(count):
            shutil.copy(converted.records / f"train-{i:05d}-of-00003", folder / f"train-{i:05d}-of-{count:05d}")
        for i in range(2):
            shutil.copy(converted.records / f"validation-{i:05d}-of-00002", folder)
        return folder

    return make


def test_records_in_place_of_another_number_of_files_leave_none_of_the_earlier_ones(tfrecords, tmp_path):
    def run_of(data: Path) -> Run:
        overrides = ["dataset.source=tfrecords", "records.in_place=true", "dataset.first_label=0"]
        return Run.of("imagefolder", overrides, artifacts=tmp_path / "a", data=data, discard=["convert"])

    first = run_of(tfrecords("a/tfr", 3))
    convert(first)
    second = run_of(tfrecords("b/tfr", 2))
    convert(second)
    assert len(ShardedRecords(second.records, "train")) == stage_json(second)["images"]["train"]
    assert len(list((second.artifacts / "trash").iterdir())) == 1
