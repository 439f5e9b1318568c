from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from resnet import report
from resnet.report import confused_pairs, figures, time_text
from resnet.report.published import published_errors
from resnet.settings import Recipe


def test_the_reproduced_figure_stands_among_the_published_ones_of_resnet50():
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


def test_networks_without_published_errors_have_none():
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
def test_published_errors_stand_beside_those_on_imagenet_only(source, images, classes, compared, tmp_path):
    (tmp_path / "classes.txt").write_text("\n".join(f"n{i:08}\tname" for i in range(classes)))
    run = SimpleNamespace(
        recipe=Recipe.model_validate({"dataset": {"source": source}}),
        records=tmp_path,
        made=lambda stage: {"images": {"validation": images}},
    )
    assert bool(report.comparable(run)) == compared


def test_confusions_come_commonest_first_with_their_share():
    predictions = pd.DataFrame(
        [("cat", "dog")] * 3 + [("cat", "cat")] * 2 + [("dog", "cat")] * 1 + [("dog", "dog")] * 9,
        columns=["label", "class1"],
    )
    assert confused_pairs(predictions) == [("cat", "dog", 3, 5), ("dog", "cat", 1, 10)]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.6, "1 min 00 s"), (125, "2 min 05 s"), (7800, "2 h 10 min")]
)
def test_durations_are_written_for_people(seconds, text):
    assert time_text(seconds) == text


def test_a_run_without_mistakes_has_no_sheet_of_them(tmp_path):
    right = pd.DataFrame({"label": ["a"], "class1": ["a"], "probability1": [1.0]})
    assert not figures.mistakes(None, right, tmp_path / "mistakes.png")


def test_many_classes_make_no_matrix(tmp_path):
    names = [str(number) for number in range(figures.CONFUSION_CLASSES + 1)]
    assert not figures.confusion_matrix(pd.DataFrame({"label": names, "class1": names}), tmp_path / "matrix.png")


def test_an_empty_log_makes_no_curves(tmp_path):
    assert not figures.curves([], tmp_path / "curves.png")


def test_a_sheet_shows_the_images_given(tmp_path):
    figures._sheet(np.zeros((3, 8, 8, 3), np.uint8), ["a", "b", "c"], 2, tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")
