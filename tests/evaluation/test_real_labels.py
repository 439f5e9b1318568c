"""The error by the ReaL labels, as a setting of the recipe."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from loader_records import corrupt

from resnet.datasets.imagenet import shipped_classes
from resnet.errors import UserError
from resnet.evaluation.real_labels import RealLabels
from resnet.evaluation.views import Seen
from resnet.images.decoding import png
from resnet.inference import answers_of
from resnet.records.example import LabelledImage
from resnet.records.shards import Shard, ShardedRecords, shard_name, write_classes
from resnet.run import Run

FILES = [f"val/ILSVRC2012_val_{number:08d}.JPEG" for number in (1, 2, 3, 4)]


def a_run(tmp_path, path: str) -> Run:
    return Run.of("digits", [f"evaluation.real_labels={path}"], artifacts=tmp_path)


def records_in(folder: Path, classes: list[tuple[str, str]], files: list[str] = FILES) -> ShardedRecords:
    """Validation images of these names, all of the first class."""
    (folder / "index").mkdir()
    image = png(np.zeros((8, 8, 3), np.uint8))
    images = [LabelledImage(image, "PNG", 8, 8, 0, *classes[0], file) for file in files]
    Shard(folder, shard_name("validation", 0, 1)).write(images)
    write_classes(folder, classes)
    return ShardedRecords(folder, "validation")


def labels_in(folder: Path) -> Path:
    """The file of labels. The third image has none."""
    labels: list[list[int]] = [[]] * 50_000
    labels[0], labels[1], labels[3] = [7, 8], [5], [1]
    (folder / "real.json").write_text(json.dumps(labels))
    return folder / "real.json"


def test_a_right_answer_is_any_of_the_labels_that_the_file_gives_the_image(tmp_path, capsys):
    real = RealLabels.of(a_run(tmp_path, str(labels_in(tmp_path))), records_in(tmp_path, shipped_classes()))
    logits = np.zeros((4, 1000), np.float32)
    logits[[0, 1, 2], [8, 6, 3]] = 1
    logits[3] = np.nan
    found = real.measure(Seen(answers_of(logits, np.zeros(4, np.int32)), FILES, 0))
    assert (found["images"], found["top1_error"]) == (3, pytest.approx(100 * 2 / 3))  # the third has no label
    assert "66.67 % on the 3 images" in capsys.readouterr().out


def test_without_the_setting_there_are_none(tmp_path):
    assert RealLabels.of(a_run(tmp_path, ""), records_in(tmp_path, [("0", "zero")])) is None


def test_other_classes_than_imagenets_are_refused_with_the_override_that_leaves_it_out(tmp_path):
    with pytest.raises(UserError, match=r"--override evaluation\.real_labels="):
        RealLabels.of(a_run(tmp_path, "real.json"), records_in(tmp_path, [("0", "zero")]))


@pytest.mark.parametrize("name", ["val/n01440764/cat.png", ""])
def test_other_images_than_imagenets_are_refused_before_the_evaluation(tmp_path, name):
    records = records_in(tmp_path, shipped_classes(), [name])
    with pytest.raises(UserError, match=rf"not for {name}\. .* --override evaluation\.real_labels=$"):
        RealLabels.of(a_run(tmp_path, str(labels_in(tmp_path))), records)


def test_a_first_record_that_is_corrupt_is_left_for_the_evaluation_to_report(tmp_path):
    records = records_in(tmp_path, shipped_classes())
    corrupt(tmp_path, 0, "validation")
    assert RealLabels.of(a_run(tmp_path, str(labels_in(tmp_path))), records)


def test_the_file_stays_the_same_wherever_the_next_command_is_called_from(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert a_run(tmp_path, "real.json").recipe.evaluation.real_labels == str(tmp_path / "real.json")
