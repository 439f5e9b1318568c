"""What is known of runs and data sets."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from ledgers import begin, finish, ledger_in

from resnet.inventory import read_inventory
from resnet.inventory.runs import Score, StoredSettings
from resnet.ledger.state_files import read_state, write_state
from resnet.locks import locked
from resnet.records.shards import write_classes

SCORES = {"top1_error": 12.5, "top1_error_interval": [10.0, 15.0]}


def rewrite(path: Path, **facts) -> None:
    write_state(path, (read_state(path) or {}) | facts)


def the_run(artifacts: Path):
    (run,) = read_inventory(artifacts).runs
    return run


def test_an_artifacts_folder_that_is_missing_or_empty_has_nothing(tmp_path):
    assert read_inventory(tmp_path / "missing") == ([], [])
    assert read_inventory(tmp_path) == ([], [])


def test_a_folder_in_which_a_stage_ended_before_it_began_is_no_run_and_no_data_set(tmp_path):
    for folder in (tmp_path / "runs/failed", tmp_path / "runs/failed/train", tmp_path / "records/failed"):
        with locked(folder):
            assert os.listdir(folder)
    assert read_inventory(tmp_path) == ([], [])


@pytest.mark.parametrize("target", ["runs/linked", "elsewhere"])
def test_a_link_in_a_folder_is_something_that_has_come_of_it_and_is_not_followed(tmp_path, target):
    with locked(tmp_path / "runs/linked"), locked(tmp_path / "elsewhere"):
        (tmp_path / "runs/linked/link").symlink_to(tmp_path / target)
    assert the_run(tmp_path).name == "linked"


def test_a_run_has_the_settings_that_it_has_stored(ledger_for):
    ledger = ledger_for("training.epochs=7", "dataset.name=eight")
    begin(ledger, "convert")
    assert the_run(ledger.run.artifacts).settings == StoredSettings("digits", "eight", 20, 32, 7)


@pytest.mark.parametrize("data", ["/pictures/My cats", "/pictures/..", ""])
def test_a_run_has_the_records_that_the_pipeline_gives_it(tmp_path, data):
    ledger = ledger_in(tmp_path, recipe="imagefolder", data=data)
    ledger.run.store()
    assert the_run(tmp_path).settings.data_set == ledger.run.records_name


def test_a_run_of_an_earlier_version_without_run_json_is_known(finished):
    (finished.run.folder / "run.json").unlink()
    assert the_run(finished.run.artifacts).settings == StoredSettings("digits", "digits", 20, 32, 40)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "is not the folder of a run: it has no recipe.toml"),
        (b"[model]\ndepth = 50\n", "differs from what the run stored"),
    ],
)
def test_a_run_without_its_recipe_or_with_another_one_is_listed_with_the_reason(finished, content, problem):
    path = finished.run.stored_recipe
    path.unlink() if content is None else path.write_bytes(content)
    run = the_run(finished.run.artifacts)
    assert problem in run.problems[0]
    assert str(path.parent) in run.problems[0]


@pytest.mark.parametrize("content", [b"\xff", b"[", b"dataset = 3", b"model = 3\n[dataset]\nname = 3", b""])
def test_a_recipe_that_is_none_is_no_reason_to_fail(tmp_path, content):
    (tmp_path / "runs" / "odd").mkdir(parents=True)
    (tmp_path / "runs" / "odd" / "recipe.toml").write_bytes(content)
    assert the_run(tmp_path).settings.depth is None


def test_scores_are_in_the_order_of_the_views(finished):
    views = {"10-crop": SCORES, "1-crop": {"top1_error": 13.0}}
    rewrite(finished.run.stage_folder("evaluate") / "stage.json", metrics={"images": 9, "views": views})
    scores = the_run(finished.run.artifacts).scores
    assert scores == (Score("10-crop", 12.5, (10.0, 15.0)), Score("1-crop", 13.0, None))


@pytest.mark.parametrize("metrics", [None, [], {"views": 3}, {"views": {"1-crop": {"top1_error": "low"}}}])
def test_an_evaluation_without_errors_is_a_problem(finished, metrics):
    rewrite(finished.run.stage_folder("evaluate") / "stage.json", metrics=metrics)
    assert "has no errors that can be shown" in the_run(finished.run.artifacts).problems[0]


def test_the_run_with_the_newest_activity_comes_first(tmp_path):
    for name, year in (("a", 2024), ("b", 2026), ("c", 2025)):
        ledger = ledger_in(tmp_path, name=name)
        finish(ledger, "convert")
        finish(ledger, "train")
        rewrite(ledger.run.stage_folder("train") / "stage.json", end=f"{year}-01-01T00:00:00+00:00")
    (tmp_path / "runs" / "of nobody").mkdir()
    assert [run.name for run in read_inventory(tmp_path).runs] == ["b", "c", "a", "of nobody"]


def test_the_log_of_a_training_that_is_not_finished_is_activity(tmp_path):
    ledger = ledger_in(tmp_path)
    finish(ledger, "convert")
    log = begin(ledger, "train").folder / "log.jsonl"
    log.write_text("")
    os.utime(log, (4e9, 4e9))
    assert the_run(tmp_path).last_activity.timestamp() == 4e9


def test_a_data_set_has_its_counts_and_the_size_of_all_its_files(ledger_for):
    ledger = ledger_for()
    attempt = begin(ledger, "convert")
    files = [attempt.folder / name for name in ("train-00000-of-00001", "validation-00000-of-00001", "index.npy")]
    for path in files:
        path.write_bytes(bytes(10))
    classes = write_classes(attempt.folder, [("0", "zero"), ("1", "one")])
    facts = {"images": {"train": 8, "validation": 2}, "rejected": 1, "ignored": {"text": 2, "video": 3}}
    attempt.finish([*files, classes], **facts)
    (known,) = read_inventory(ledger.run.artifacts).data_sets
    counts = (known.train, known.validation, known.classes, known.shards, known.rejected, known.ignored)
    assert counts == (8, 2, 2, 2, 1, 5)
    assert known.size == 30 + classes.stat().st_size
    assert known.problems == ()


def test_a_data_set_whose_facts_are_odd_or_missing_has_unknown_counts(ledger_for):
    ledger = ledger_for()
    begin(ledger, "convert").finish([], images="many", rejected=None, ignored=3)
    (known,) = read_inventory(ledger.run.artifacts).data_sets
    assert (known.train, known.rejected, known.ignored, known.classes) == (None, None, None, None)
    assert "classes.txt is missing" in known.problems[0]


def test_a_data_set_that_is_not_converted_yet_has_no_problem(ledger_for):
    begin(ledger_for(), "convert")
    (known,) = read_inventory(ledger_for().run.artifacts).data_sets
    assert (known.train, known.size, known.problems) == (None, None, ())


def test_a_stage_file_of_a_stranger_with_odd_values_is_no_reason_to_fail(tmp_path):
    for name in ("convert", "train", "evaluate"):
        folder = tmp_path / ("records/odd" if name == "convert" else f"runs/odd/{name}")
        folder.mkdir(parents=True)
        odd = {"version": [], "settings": 3, "inputs": "none", "start": 7, "end": {}, "metrics": "good", "images": 3}
        (folder / "stage.json").write_text(json.dumps(odd))
    (tmp_path / "runs" / "odd" / "recipe.toml").write_text('[dataset]\nname = "odd"\n')
    assert the_run(tmp_path).scores == ()
