"""What the report needs of each stage.json."""

from __future__ import annotations

from functools import reduce
from pathlib import Path

import pytest

from resnet.errors import UserError
from resnet.report.stage_records import check

NEEDED = [
    "convert images.train",
    "convert images.validation",
    "convert rejected",
    "convert decode_warnings",
    "convert converted",
    "train devices",
    "train packages",
    "train python",
    "train git_commit",
    "train host",
    "train attempts",
    "batchnorm start",
    "batchnorm end",
    "evaluate metrics",
    "evaluate metrics.images",
    "evaluate metrics.views",
    "evaluate metrics.views.1-crop.top1_error",
    "evaluate metrics.views.1-crop.top5_error",
    "evaluate metrics.views.1-crop.top1_error_interval",
    "evaluate metrics.views.1-crop.top5_error_interval",
]


def test_a_record_with_all_that_is_shown_is_accepted(stage_records):
    for stage, record in stage_records(3).items():
        check(stage, record, Path("stage.json"))


@pytest.mark.parametrize("needed", NEEDED)
@pytest.mark.parametrize("damage", ["missing", "of another type"])
def test_what_is_shown_and_missing_or_of_another_type_is_one_message(stage_records, needed, damage):
    stage, _, name = needed.partition(" ")
    record = stage_records(3)[stage]
    *parents, key = name.split(".")
    parent = reduce(dict.__getitem__, parents, record)
    if damage == "missing":
        del parent[key]
    else:
        parent[key] = object()
    with pytest.raises(UserError) as error:
        check(stage, record, Path("runs/a/stage.json"))
    assert str(error.value).startswith(f"runs/a/stage.json cannot be used: {name}: ")
    assert "or delete it: then `luigi` finishes " in str(error.value)


def test_an_evaluation_without_a_view_is_one_message(stage_records):
    record = stage_records(3)["evaluate"]
    del record["metrics"]["views"]["1-crop"]
    with pytest.raises(UserError, match=r"metrics\.views: dictionary should have at least 1 item"):
        check("evaluate", record, Path("stage.json"))


@pytest.mark.parametrize("view", ["10-crop", "multi-scale", "a view of tomorrow"])
def test_an_evaluation_may_have_any_first_view(stage_records, view):
    record = stage_records(3)["evaluate"]
    record["metrics"]["views"] = {view: record["metrics"]["views"].pop("1-crop")}
    check("evaluate", record, Path("stage.json"))


@pytest.mark.parametrize("interval", [[], [1.0], [1.0, 2.0, 3.0], ["low", "high"]])
def test_an_interval_is_two_numbers(stage_records, interval):
    record = stage_records(3)["evaluate"]
    record["metrics"]["views"]["1-crop"]["top1_error_interval"] = interval
    with pytest.raises(UserError, match="top1_error_interval"):
        check("evaluate", record, Path("stage.json"))


def test_a_time_that_is_none_is_named(stage_records):
    with pytest.raises(UserError, match="end: value error, Invalid isoformat string: 'yesterday'"):
        check("batchnorm", stage_records()["batchnorm"] | {"end": "yesterday"}, Path("stage.json"))
