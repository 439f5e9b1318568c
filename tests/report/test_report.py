"""What the report reads and counts: published errors, keys of earlier versions, texts for readers."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from resnet.progress import time_text
from resnet.report.published import published_errors
from resnet.report.results import FORMER_KEYS, Results
from resnet.report.wording import count, listed
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


@pytest.fixture
def files(tmp_path):
    """files(classes): what a run with so many classes and no validation image has left."""

    def write(classes: int, recipe: Recipe | None = None) -> SimpleNamespace:
        (tmp_path / "classes.txt").write_text("\n".join(f"n{i:08}\tname" for i in range(classes)))
        (tmp_path / "predictions.csv").write_text("file,label,class1,probability1\n")
        return SimpleNamespace(recipe=recipe, records=tmp_path, stage_folder=lambda stage: tmp_path)

    return write


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
    source, images, classes, compared, files, stage_records
):
    records = stage_records()
    records["convert"]["images"]["validation"] = images
    results = Results(files(classes, Recipe.model_validate({"dataset": {"source": source}})), records)
    assert bool(results.comparable()) == compared


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.6, "1 min 00 s"), (125, "2 min 05 s"), (7800, "2 h 10 min")]
)
def test_durations_are_written_in_readable_units(seconds, text):
    assert time_text(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"), [(1, "1 batch"), (2, "2 batches"), (0, "0 batches"), (1_281_167, "1,281,167 batches")]
)
def test_counts_use_singular_or_plural(number, text):
    assert count(number, "batch", "batches") == text


def test_a_list_reads_as_a_sentence_does():
    assert (listed([20]), listed([20, 30]), listed([20, 30, 36])) == ("20", "20 and 30", "20, 30 and 36")


def test_stage_files_of_earlier_versions_are_read_under_the_current_keys(files, stage_records):
    earlier = stage_records()
    earlier["convert"]["doubtful"] = earlier["convert"].pop("decode_warnings") + 3
    earlier["train"]["damaged_records"] = [*earlier["train"].pop("corrupt_records"), "x"]
    stages = Results(files(1), earlier).stages
    assert set(FORMER_KEYS) == {"doubtful", "damaged_records"}
    assert (stages["convert"]["decode_warnings"], stages["train"]["corrupt_records"]) == (3, ["x"])
