"""Training that starts from trained weights: their content is an input of Train, wherever it lies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ledgers import begin, finish

from resnet.errors import UserError
from resnet.ledger import Ledger, starting_point
from resnet.ledger.displacing import STALE
from resnet.stages import require_ready


def finish_training(ledger: Ledger) -> Ledger:
    for stage in ("convert", "train"):
        finish(ledger, stage)
    return ledger


def finish_weights(ledger: Ledger, content: str = "trained") -> Path:
    """Finish a run's BatchNormStatistics; returns the weights."""
    finish_training(ledger)
    attempt = begin(ledger, "batchnorm")
    weights = attempt.folder / "weights.safetensors"
    weights.write_text(content)
    attempt.finish([weights])
    return weights


@pytest.fixture
def weights(tmp_path) -> Path:
    """A file of weights; nobody reads them here."""
    path = tmp_path / "weights.pth"
    path.write_bytes(b"trained")
    return path


@pytest.fixture
def tuned(ledger_for, weights):
    """tuned(path): the ledger of run `tuned`, whose training starts from there."""
    return lambda place=weights, *overrides: ledger_for(f"training.start_from={place}", *overrides, name="tuned")


@pytest.fixture
def finished_tuning(tuned) -> Ledger:
    return finish_training(tuned())


@pytest.fixture
def source(ledger_for) -> Ledger:
    """The ledger of run `source`, whose weights are finished."""
    ledger = ledger_for(name="source")
    finish_weights(ledger)
    return ledger


def test_the_same_bytes_in_another_file_leave_the_training_complete(finished_tuning, tuned, weights):
    weights.rename(weights.with_name("renamed.pth"))
    assert tuned(weights.with_name("renamed.pth")).why_incomplete("train") == ""


def test_other_bytes_in_the_same_file_make_the_training_stale(finished_tuning, tuned, weights):
    weights.write_bytes(b"trained longer")
    assert tuned().why_incomplete("train") == f"training.start_from has changed since: {weights}"


def test_setting_it_makes_a_training_from_random_weights_stale(ledger_for, tuned, weights):
    finish_training(ledger_for(name="tuned"))
    assert tuned().why_incomplete("train") == f"training.start_from was random weights, now {weights}"


def test_taking_it_away_makes_the_training_stale(finished_tuning, ledger_for, weights):
    assert ledger_for(name="tuned").why_incomplete("train") == f"training.start_from was {weights}, now random weights"


def test_another_file_makes_the_training_stale(finished_tuning, tuned, weights):
    other = weights.with_name("other.h5")
    other.write_bytes(b"other weights")
    assert tuned(other).why_incomplete("train") == f"training.start_from was {weights}, now {other}"


def test_a_finished_training_does_not_need_the_file_any_more(finished_tuning, tuned, weights):
    weights.unlink()
    assert tuned().why_incomplete("train") == ""
    require_ready(tuned(), "train")


def test_a_pipe_where_the_file_was_is_not_waited_for(finished_tuning, tuned, weights):
    weights.unlink()
    os.mkfifo(weights)
    assert tuned().why_incomplete("train") == ""


def test_an_interrupted_training_goes_on_without_the_file(tuned, weights):
    finish(tuned(), "convert")
    begin(tuned(), "train")
    inputs = tuned().begun("train")["inputs"]
    weights.unlink()
    require_ready(tuned(), "train")
    assert begin(tuned(), "train").number == 2
    assert tuned().begun("train")["inputs"] == inputs


def test_a_file_that_never_was_is_not_taken_for_the_one_that_is_gone(finished_tuning, tuned, weights):
    mistyped = tuned(weights.with_name("wieghts.pth"))
    assert "now " in mistyped.why_incomplete("train")
    with pytest.raises(UserError, match=r"wieghts\.pth cannot be read: No such file"):
        require_ready(mistyped, "report")


def test_a_file_is_hashed_once_however_often_luigi_asks(finished_tuning, tuned, monkeypatch):
    hashed = []
    monkeypatch.setattr(starting_point, "sha256", lambda path: hashed.append(path) or "digest")
    starting_point._sha256.cache_clear()
    for _ in range(3):
        tuned().why_incomplete("train")
    starting_point._sha256.cache_clear()
    assert len(hashed) == 1


def test_a_run_counts_by_its_weights_like_a_file_with_the_same_bytes(source, tuned, weights):
    finish_training(tuned("source"))
    assert tuned("source").finished("train")["start_from"] == "run source"
    assert tuned(weights).why_incomplete("train") == ""


def test_a_run_that_has_other_weights_now_makes_the_training_stale(source, tuned):
    finish_training(tuned("source"))
    finish_weights(source, "trained longer")
    assert tuned("source").why_incomplete("train") == "training.start_from has changed since: run source"


def test_a_finished_training_does_not_need_the_run_any_more(source, tuned):
    finish_training(tuned("source"))
    stage = source.run.stage_folder("batchnorm") / "stage.json"
    stage.write_text("{")
    assert tuned("source").why_incomplete("train") == ""
    stage.unlink()
    assert tuned("source").why_incomplete("train") == ""


def test_a_mark_of_stale_results_goes_from_a_training_with_trained_weights_too(finished_tuning, ledger_for):
    finish(ledger_for("records.seed=1", name="other"), "convert", "other records")
    marked = finished_tuning.run.stage_folder("train") / STALE
    assert marked.exists()
    finish(ledger_for(name="other"), "convert")
    assert not marked.exists()


def message(ledger: Ledger) -> str:
    with pytest.raises(UserError) as caught:
        require_ready(ledger, "report")
    return str(caught.value)


def test_a_run_that_does_not_exist_is_named_with_the_nearest_that_does(source, tuned):
    said = message(tuned("sauce"))
    assert "'sauce' is neither a file (with a / in it, or ending in .safetensors," in said
    assert said.endswith(f"the name of a run in {source.run.artifacts}/runs; did you mean source?")


def test_a_run_that_is_not_finished_is_named_with_the_command_that_finishes_it(source, tuned):
    (source.run.stage_folder("batchnorm") / "stage.json").unlink()
    said = message(tuned("source"))
    assert said.startswith("training.start_from: run source has no finished weights yet. Finish it: luigi ")
    assert said.endswith(f"BatchNormStatistics --local-scheduler --run source --artifacts {source.run.artifacts}")


def test_a_run_whose_weights_are_lost_is_named_with_the_command_that_makes_them_again(source, tuned):
    (source.run.stage_folder("batchnorm") / "weights.safetensors").unlink()
    said = message(tuned("source"))
    assert "weights.safetensors cannot be read: No such file or directory. Make it again: luigi" in said


def test_a_run_with_a_corrupt_stage_json_is_named(source, tuned):
    (source.run.stage_folder("batchnorm") / "stage.json").write_text("{")
    assert "runs/source/batchnorm/stage.json is corrupt" in message(tuned("source"))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (Path.mkdir, "it is not a file"),
        (os.mkfifo, "it is not a file"),
        (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
        (lambda path: None, "No such file or directory"),
    ],
    ids=["folder", "pipe", "loop", "nothing"],
)
def test_what_cannot_be_read_as_a_file_is_named_before_anything_is_done(tuned, tmp_path, make, reason):
    path = tmp_path / "there.pth"
    make(path)
    assert message(tuned(path)) == (
        f"training.start_from: {path} cannot be read: {reason}. Give a file (with a / in it, or ending in "
        ".safetensors, .pth, .pt, .bin, .h5, .keras) or the name of a run."
    )
    assert not tuned(path).run.folder.exists()


def test_bytes_that_changed_after_training_began_are_not_used(tuned, weights):
    finish(tuned(), "convert")
    attempt = begin(tuned(), "train")
    point = attempt.ledger.starting_point
    point.require_same(starting_point.sha256(weights), attempt.begun)
    weights.write_bytes(b"trained longer")
    with pytest.raises(UserError, match=r"weights\.pth has just changed\. Run the same command again\."):
        point.require_same(starting_point.sha256(weights), attempt.begun)


def test_weights_of_a_run_that_are_not_as_it_wrote_them_are_told_from_newer_ones(source, tuned):
    finish(tuned("source"), "convert")
    attempt = begin(tuned("source"), "train")
    point = attempt.ledger.starting_point
    with pytest.raises(UserError, match=r"is corrupt: it differs from what batchnorm wrote\. Delete it"):
        point.require_same("another digest", attempt.begun)
    newer = starting_point.sha256(finish_weights(source, "trained longer"))
    with pytest.raises(UserError, match="has just changed"):
        point.require_same(newer, attempt.begun)
