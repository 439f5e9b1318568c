"""Conversion of folders in which not every file is an image."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest
from conversions import convert, stage_json

from resnet.errors import UserError
from resnet.records.shards import SPLITS


def rows(path: Path) -> list[list[str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_files_that_are_no_images_are_left_out_listed_and_counted(files_in, run_on, records_of, tmp_path, capsys):
    others = ["train/cat/notes.txt", "train/dog/Thumbs.db", *(f"val/cat/{i}.txt" for i in range(4)), "test/cat/1.jpg"]
    root = files_in(tmp_path / "photographs", dict.fromkeys(others, b"no image"))
    os.mkfifo(root / "train" / "cat" / "pipe.jpg")
    run = run_on(root, tmp_path / "artifacts")
    convert(run)
    recorded = stage_json(run)
    assert recorded["images"] == {"train": 2, "validation": 2}
    assert recorded["ignored"] == {".txt file": 5, "not a regular file": 1, "system file": 1, "test images": 1}
    assert sum(len(records_of(run.records, split)) for split in SPLITS) == 4
    listed = rows(run.records / "ignored.csv")
    assert listed[0] == ["file", "reason"]
    assert sorted(map(tuple, listed[1:])) == [
        ("test", "test images"),
        ("train/cat/notes.txt", ".txt file"),
        ("train/cat/pipe.jpg", "not a regular file"),
        ("train/dog/Thumbs.db", "system file"),
        *((f"val/cat/{i}.txt", ".txt file") for i in range(4)),
    ]
    output = capsys.readouterr().out
    assert "5 ignored (.txt file): train/cat/notes.txt, val/cat/0.txt, val/cat/1.txt ...\n" in output
    assert "1 ignored (test images): test\n" in output
    assert f"listed in {run.records / 'ignored.csv'}" in output


def test_a_folder_of_images_only_has_an_empty_list_and_no_output_about_it(converted):
    assert rows(converted.records / "ignored.csv") == [["file", "reason"]]


def test_an_image_beyond_records_max_megapixels_is_rejected_with_its_size(files_in, run_on, encoded, tmp_path):
    huge = encoded(np.zeros((1000, 1100, 3), np.uint8), "PNG")
    root = files_in(tmp_path / "photographs", {"train/cat/huge.png": huge})
    with pytest.raises(UserError, match=r"train/cat/huge.png: it has 1,100 x 1,000 pixels, more than records.max_meg"):
        convert(run_on(root, tmp_path / "artifacts", "records.max_megapixels=1"))
    run = run_on(root, tmp_path / "artifacts")
    convert(run)
    assert stage_json(run)["images"] == {"train": 3, "validation": 2}
