"""The state of each stage: what it is, and why."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ledgers import begin, finish, ledger_in

from resnet.ledger import Ledger
from resnet.locks import locked
from resnet.settings import Recipe
from resnet.stage_table import STAGES
from resnet.stages import ledger_of
from resnet.status import State, read_status

STAGES_FROM = {name: set(list(STAGES)[i:]) for i, name in enumerate(STAGES)}
SETTINGS = [f"{section}.{key}" for section, values in Recipe() for key in type(values).model_fields]
# Settings that name a place: another place has no records, or other images and weights. Each has a test of its own.
PLACES = {"dataset.name", "dataset.source", "training.start_from"}


@pytest.fixture(scope="module")
def finished_artifacts(tmp_path_factory):
    artifacts = tmp_path_factory.mktemp("finished") / "artifacts"
    ledger = ledger_in(artifacts)
    for stage in STAGES:
        finish(ledger, stage)
    return artifacts


@pytest.fixture
def finished(finished_artifacts, tmp_path) -> Ledger:
    shutil.copytree(finished_artifacts, tmp_path / "artifacts")
    return ledger_in(tmp_path / "artifacts")


def states(ledger: Ledger) -> dict[str, State]:
    return {name: one.state for name, one in read_status(ledger).stages.items()}


def with_setting(ledger: Ledger, name: str, value: Any) -> Ledger:
    """The run's ledger with another value of a setting, whatever the recipe says of it."""
    section, key = name.split(".")
    values = getattr(ledger.run.recipe, section).model_copy(update={key: value})
    return ledger_of(replace(ledger.run, recipe=ledger.run.recipe.model_copy(update={section: values})))


def other(value: Any) -> Any:
    """Another value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    return f"{value}x" if isinstance(value, str) else [*value, *(value[-1:] or ["x"])]


def value_of(ledger: Ledger, name: str) -> Any:
    section, key = name.split(".")
    return getattr(getattr(ledger.run.recipe, section), key)


def test_every_stage_is_missing_before_it_has_run(tmp_path):
    assert states(ledger_in(tmp_path)) == dict.fromkeys(STAGES, State.MISSING)


def test_every_stage_is_up_to_date_after_all_have_finished(finished):
    status = read_status(finished)
    assert states(finished) == dict.fromkeys(STAGES, State.UP_TO_DATE)
    assert status.is_up_to_date
    assert status.next.seconds == {}


@pytest.mark.parametrize("name", sorted(set(SETTINGS) - PLACES))
def test_a_changed_setting_makes_exactly_the_stages_stale_that_depend_on_it_and_is_named(name, finished):
    section, key = name.split(".")
    field = type(getattr(finished.run.recipe, section)).model_fields[key]
    affects_results = (field.json_schema_extra or {}).get("affects_results", True)
    was = value_of(finished, name)
    status = read_status(with_setting(finished, name, other(was))).stages
    first = next(stage for stage, row in STAGES.items() if section in row.sections)
    stale = {stage for stage, one in status.items() if one.state is not State.UP_TO_DATE}
    if not affects_results:
        assert stale == set()
        return
    assert stale == STAGES_FROM[first]
    assert {status[stage].state for stage in stale} == {State.STALE}
    assert status[first].why.startswith(f"{name} was {json.dumps(was)}, now {json.dumps(other(was))}")
    for stage in stale - {first}:
        assert status[stage].why.startswith("it depends on ")
        assert status[stage].why.endswith(", which is stale")


def test_other_records_have_not_been_made_and_what_was_made_from_these_is_stale(finished):
    assert states(with_setting(finished, "dataset.name", "elsewhere")) == {
        "convert": State.MISSING,
        **dict.fromkeys(STAGES_FROM["train"], State.STALE),
    }


def test_images_of_another_source_make_all_stages_stale(finished, caplog):
    """The images cannot be looked at, since no folder of them is given: the records stay, and are of another source."""
    found = read_status(with_setting(finished, "dataset.source", "folder")).stages
    assert found["convert"].why == 'dataset.source was "digits", now "folder"'
    assert {one.state for one in found.values()} == {State.STALE}


def test_other_weights_to_start_from_make_the_training_stale(finished):
    found = read_status(with_setting(finished, "training.start_from", "/weights.pth")).stages
    assert found["train"].why == "training.start_from was random weights, now /weights.pth"
    assert {name for name, one in found.items() if one.state is State.STALE} == STAGES_FROM["train"]


def test_records_of_other_images_under_the_same_name_are_said_to_be_others(tmp_path):
    ledgers = []
    for number, name in enumerate(("here", "there")):
        for label in ("cat", "dog"):
            (tmp_path / name / label).mkdir(parents=True)
            for image in range(2 + number):
                (tmp_path / name / label / f"{image}.png").write_bytes(bytes(image))
        given = {"recipe": "imagefolder", "data": tmp_path / name}
        ledgers.append(ledger_in(tmp_path / "artifacts", "dataset.name=pets", **given))
    finish(ledgers[0], "convert")
    one = read_status(ledgers[1]).stages["convert"]
    assert one.state is State.STALE
    assert "has the records of other images: those of" in one.why


def test_an_input_that_changed_is_named(finished):
    finish(finished, "batchnorm", content="other statistics")
    status = read_status(finished).stages
    assert status["evaluate"].state is State.STALE
    assert status["evaluate"].why == "batchnorm has changed since"
    assert status["train"].state is State.UP_TO_DATE


def test_a_stage_that_is_at_work_says_how_far_it_is_and_who_runs_it(finished):
    attempt = begin(finished, "evaluate")
    said = {"pid": 7, "host": "a", "time": "", "fraction": 0.25, "message": "evaluating: 5 of 20", "seconds_left": 9.0}
    (attempt.folder / "progress.json").write_text(json.dumps(said))
    with locked(attempt.folder):
        one = read_status(finished).stages["evaluate"]
    assert one.state is State.RUNNING
    assert (one.fraction, one.message, one.seconds_left) == (0.25, "evaluating: 5 of 20", 9.0)
    assert one.owner.startswith("pid ")


def test_what_runs_says_itself_how_long_it_still_takes(finished):
    attempt = begin(finished, "evaluate")
    (attempt.folder / "progress.json").write_text(json.dumps({"fraction": 0.25, "seconds_left": 9.0}))
    with locked(attempt.folder):
        assert read_status(finished).next.seconds["evaluate"] == 9.0


def test_a_stage_that_has_only_begun_was_interrupted(finished):
    begin(finished, "evaluate")
    found = read_status(finished).stages
    assert found["evaluate"].state is State.INTERRUPTED
    assert found["report"].why == "it depends on Evaluate, which is interrupted"


def test_a_stage_that_failed_says_why(finished):
    attempt = begin(finished, "evaluate")
    text = "2026-11-27 01:00:00  error: no room. Make some.\n2026-11-27 01:00:00    second line\n"
    (attempt.folder / "log-2.txt").write_text(text)
    status = read_status(finished)
    assert status.stages["evaluate"].state is State.INTERRUPTED
    assert status.stages["evaluate"].why == "its last attempt failed: no room. Make some."
    assert status.lines()[4].endswith("its last attempt failed: no room. Make some.")
    (attempt.folder / "log-2.txt").write_text(f"2026-11-27 01:00:00  error: {'word ' * 100}\n")
    line = read_status(finished).lines()[4]
    assert len(line) < 300 + len(str(attempt.folder))
    assert line.endswith(f" ... (see {attempt.folder / 'log-2.txt'})")


def test_a_long_error_is_shortened_where_the_path_of_its_log_is_longer_still(finished):
    begin(finished, "evaluate")
    status = read_status(finished)
    log = Path("x" * 400)
    status.stages["evaluate"] = replace(status.stages["evaluate"], why="word " * 100, log=log)
    assert status.lines()[4].endswith(f"word ... (see {log})")
    status.stages["evaluate"] = replace(status.stages["evaluate"], log=None)
    assert status.lines()[4].endswith("word ...")


def test_an_interrupted_training_says_where_it_resumes(made):
    folder = made.run.stage_folder("train")
    (folder / "stage.json").unlink()
    (folder / "checkpoints").mkdir()
    for step in (10, 20):
        (folder / "checkpoints" / f"step-{step:08d}.safetensors").touch()
    one = read_status(made).stages["train"]
    assert one.state is State.INTERRUPTED
    assert (one.resumes_at, one.fraction) == (20, 20 / (40 * 8 / 4))  # 40 epochs of 8 images, 4 a step


def test_an_interrupted_attempt_at_other_settings_is_stale(finished):
    begin(finished, "evaluate")
    one = read_status(with_setting(finished, "evaluation.views", ["10-crop"])).stages["evaluate"]
    assert one.state is State.STALE
    assert one.why == 'it was interrupted; evaluation.views was ["1-crop"], now ["10-crop"], so it begins again'


def test_a_training_of_more_epochs_says_where_it_goes_on(made):
    folder = made.run.stage_folder("train") / "checkpoints"
    folder.mkdir()
    (folder / "step-00000080.safetensors").touch()
    one = read_status(with_setting(made, "training.epochs", 80)).stages["train"]
    assert one.state is State.STALE
    assert one.why == "it has 40 epochs, and is lengthened to 80"
    assert (one.resumes_at, one.fraction) == (80, 0.5)


def test_a_corrupt_state_file_is_unreadable_and_says_what_to_do(finished):
    (finished.run.stage_folder("train") / "stage.json").write_text("{")
    status = read_status(finished)
    assert status.stages["train"].state is State.UNREADABLE
    assert "Restore it from a copy, or delete it" in status.stages["train"].why
    assert not status.is_up_to_date


def test_progress_that_cannot_be_read_is_no_error(finished):
    attempt = begin(finished, "evaluate")
    (attempt.folder / "progress.json").write_text("[1")
    assert read_status(finished).stages["evaluate"].fraction is None


def test_looking_changes_nothing(finished):
    artifacts = finished.run.artifacts
    before = {path: path.stat().st_mtime_ns for path in artifacts.rglob("*")}
    read_status(with_setting(finished, "training.epochs", 3))
    assert {path: path.stat().st_mtime_ns for path in artifacts.rglob("*")} == before
