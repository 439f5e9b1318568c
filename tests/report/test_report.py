"""What the report shows: published errors, figures, and texts for readers."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from resnet.report import figures
from resnet.report.page import FORMER_KEYS, Results, confused_pairs, count, time_text
from resnet.report.published import published_errors
from resnet.settings import Recipe


def test_the_published_errors_of_resnet50_include_the_reproduced_recipe():
    rows = {row.source: row for row in published_errors(Recipe())}
    assert (rows["the recipe reproduced here"].top1_error, rows["the recipe reproduced here"].top5_error) == (
        24.36,
        7.46,
    )
    assert len(rows) > 8


def test_published_errors_are_of_the_same_network_lowest_first():
    found = published_errors(Recipe.model_validate({"model": {"depth": 18}}))
    assert [row.top1_error for row in found] == sorted(row.top1_error for row in found)
    assert 27 < found[0].top1_error < 31


def test_a_network_without_published_errors_has_an_empty_list():
    assert published_errors(Recipe.model_validate({"model": {"depth": 20}})) == []


@pytest.mark.parametrize(
    ("source", "images", "classes", "compared"),
    [
        ("imagenet", 50_000, 1000, True),
        ("tfrecords", 50_000, 1000, True),
        ("tfrecords", 49_999, 1000, False),
        ("tfrecords", 50_000, 100, False),
        ("folder", 50_000, 1000, False),
    ],
)
def test_only_errors_on_imagenet_are_compared_with_published_ones(
    source, images, classes, compared, tmp_path, stage_records
):
    (tmp_path / "classes.txt").write_text("\n".join(f"n{i:08}\tname" for i in range(classes)))
    (tmp_path / "predictions.csv").write_text("file,label,class1,probability1\n")
    run = SimpleNamespace(
        recipe=Recipe.model_validate({"dataset": {"source": source}}),
        records=tmp_path,
        stage_folder=lambda stage: tmp_path,
    )
    records = stage_records()
    records["convert"]["images"]["validation"] = images
    results = Results(run, records)
    assert bool(results.comparable()) == compared


def test_confused_pairs_are_sorted_by_count_and_have_their_share():
    predictions = pd.DataFrame(
        [("cat", "dog")] * 3 + [("cat", "cat")] * 2 + [("dog", "cat")] * 1 + [("dog", "dog")] * 9,
        columns=["label", "class1"],
    )
    assert confused_pairs(predictions) == [("cat", "dog", 3, 5), ("dog", "cat", 1, 10)]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.6, "1 min 00 s"), (125, "2 min 05 s"), (7800, "2 h 10 min")]
)
def test_durations_are_written_in_readable_units(seconds, text):
    assert time_text(seconds) == text


def test_a_run_without_mistakes_has_no_figure_of_mistakes(tmp_path):
    right = pd.DataFrame({"label": ["a"], "class1": ["a"], "probability1": [1.0]})
    assert not figures.mistakes(None, right, tmp_path / "mistakes.png")


def test_too_many_classes_have_no_confusion_matrix(tmp_path):
    names = [str(number) for number in range(figures.CONFUSION_CLASSES + 1)]
    assert not figures.confusion_matrix(pd.DataFrame({"label": names, "class1": names}), tmp_path / "matrix.png")


def test_an_empty_log_has_no_curves(tmp_path):
    assert not figures.curves([], tmp_path / "curves.png")


def test_a_sheet_of_images_is_a_png_file(tmp_path):
    figures.sheet(np.zeros((3, 8, 8, 3), np.uint8), ["a", "b", "c"], 2, tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("number", "text"), [(1, "1 batch"), (2, "2 batches"), (0, "0 batches"), (1_281_167, "1,281,167 batches")]
)
def test_counts_use_singular_or_plural(number, text):
    assert count(number, "batch", "batches") == text


def test_stage_files_of_earlier_versions_are_read_under_the_current_keys(tmp_path, stage_records):
    (tmp_path / "classes.txt").write_text("a\ta\n")
    (tmp_path / "predictions.csv").write_text("file,label,class1,probability1\n")
    run = SimpleNamespace(records=tmp_path, stage_folder=lambda stage: tmp_path)
    earlier = stage_records()
    earlier["convert"]["doubtful"] = earlier["convert"].pop("decode_warnings") + 3
    earlier["train"]["damaged_records"] = [*earlier["train"].pop("corrupt_records"), "x"]
    stages = Results(run, earlier).stages
    assert set(FORMER_KEYS) == {"doubtful", "damaged_records"}
    assert (stages["convert"]["decode_warnings"], stages["train"]["corrupt_records"]) == (3, ["x"])
