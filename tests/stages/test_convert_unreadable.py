"""Conversion of images that cannot be read, or that decode with a warning."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pytest
from conversions import SHARDS, convert, identities, rewritten, stage_json, why_incomplete

from resnet.errors import UserError
from resnet.records.shards import SPLITS
from resnet.run import Run

UNREADABLE = 12


@pytest.fixture(scope="module")
def half_unreadable(tmp_path_factory, picture, encoded) -> Path:
    """Two classes of twelve images, six of each unreadable. Not to be changed."""
    root = tmp_path_factory.mktemp("half unreadable") / "photographs"
    warned = bytearray(encoded(picture(), "PNG"))
    warned[-50] ^= 0xFF  # libpng prints a warning about the checksum
    broken = [encoded(picture(), "JPEG")[:-100], bytes(warned), b"", b"no image", bytes(warned), bytes(warned)]
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
        for number in range(6):
            (root / name / f"readable-{number}.jpg").write_bytes(encoded(picture(number), "JPEG"))
            (root / name / f"broken-{number}.jpg").write_bytes(broken[number])
    return root


@pytest.fixture(scope="module")
def failed(half_unreadable, run_on, tmp_path_factory) -> tuple[Run, str]:
    """A run that failed on the unreadable images, and its error message."""
    run = run_on(half_unreadable, tmp_path_factory.mktemp("failed") / "artifacts")
    with pytest.raises(UserError) as caught:
        convert(run)
    return run, str(caught.value)


def rows(path: Path) -> list[list[str]]:
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        header, *rest = csv.reader(file)
    assert header == ["file", "reason"]
    return rest


def test_an_image_with_a_decode_warning_is_listed_with_it_and_stored(converted, records_of, repaired_jpeg):
    ((file, warning),) = rows(converted.records / "decode_warnings.csv")
    assert file == "cat/repaired.jpg"
    assert "Corrupt JPEG data" in warning
    (stored,) = [
        record for split in SPLITS for record in records_of(converted.records, split) if record.filename == file
    ]
    assert stored.encoded == repaired_jpeg


def test_unreadable_images_fail_the_stage_with_their_count_and_the_first_ten_names(failed):
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
    assert "not an image" in listed["dog/broken-3.jpg"]
    assert all(listed.values())


def test_unreadable_images_within_the_limit_are_left_out_and_counted(
    failed, half_unreadable, run_on, records_of, capsys
):
    run, _ = failed
    before = identities(run.records)
    with pytest.raises(UserError, match=f"records.max_rejected is {UNREADABLE - 1}"):
        convert(run_on(half_unreadable, run.artifacts, f"records.max_rejected={UNREADABLE - 1}"))
    tolerant = run_on(half_unreadable, run.artifacts, f"records.max_rejected={UNREADABLE}")
    convert(tolerant)
    assert rewritten(before, identities(run.records)) == set()
    assert why_incomplete(tolerant) == ""
    recorded = stage_json(tolerant)
    assert recorded["rejected"] == UNREADABLE
    assert len(rows(run.records / "rejected.csv")) == UNREADABLE
    found = sorted(record.filename for split in SPLITS for record in records_of(run.records, split))
    assert found == sorted(f"{name}/readable-{number}.jpg" for name in ("cat", "dog") for number in range(6))
    assert recorded["images"]["train"] + recorded["images"]["validation"] == len(found)
    assert f"{UNREADABLE} unreadable images" in capsys.readouterr().out


def test_a_decoder_message_about_an_unreadable_image_is_not_attributed_to_the_next_image(failed):
    run, _ = failed
    summaries = [json.loads((run.records / "index" / f"{name}.json").read_text()) for name in SHARDS]
    assert [summary["decode_warnings"] for summary in summaries] == [[]] * len(SHARDS)


def test_an_unreadable_file_with_a_name_that_is_not_utf_8_is_listed(files_in, run_on, tmp_path):
    name = os.fsdecode(b"caf\xe9.jpg")
    root = files_in(tmp_path / "photographs", {f"train/cat/{name}": b"no image"})
    run = run_on(root, tmp_path / "artifacts")
    with pytest.raises(UserError, match="cannot be read"):
        convert(run)
    ((file, _),) = rows(run.records / "rejected.csv")
    assert os.fsencode(file) == b"train/cat/caf\xe9.jpg"
