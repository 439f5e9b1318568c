"""What makes way when a stage is made again, what must not, and what becomes stale."""

from __future__ import annotations

import os
import time

import pytest
from ledgers import begin, finish, finish_all

from resnet.errors import UserError
from resnet.ledger import Ledger
from resnet.ledger.displacing import STALE, require_discardable, work_seconds
from resnet.ledger.state_files import read_state, write_state
from resnet.stage_table import STAGES


def took(ledger: Ledger, stage: str, seconds: float) -> None:
    """Have the attempts at a finished or interrupted stage take so long."""
    for name in ("stage.json", "begun.json"):
        path = ledger.run.stage_folder(stage) / name
        if content := read_state(path):
            write_state(path, content | {"worked_seconds": seconds})


def stale(ledger: Ledger) -> list[str]:
    return [name for name in STAGES if (ledger.run.stage_folder(name) / STALE).exists()]


def test_finished_work_of_more_than_a_minute_is_not_displaced_and_the_message_has_the_ways_on(finished, ledger_for):
    took(finished, "train", 7800)
    other = ledger_for("training.epochs=60", "training.learning_rate=0.2")
    before = finished.record("train")
    with pytest.raises(UserError) as caught:
        begin(other, "train")
    message = str(caught.value)
    assert "train would be made again, and 2 h 10 min of work in" in message
    assert "training.epochs was 40, now 60\n  training.learning_rate was 0.1, now 0.2" in message
    for way_on in ("\n  another --run", "leave out --recipe and --override", "--discard train"):
        assert way_on in message
    assert finished.record("train") == before
    assert stale(finished) == []


def test_the_same_is_said_before_anything_begins_also_for_stages_that_a_stage_needs(finished, ledger_for):
    took(finished, "train", 7800)
    other = ledger_for("training.epochs=60")
    for stage in ("train", "batchnorm", "evaluate", "report"):
        with pytest.raises(UserError, match="train would be made again"):
            require_discardable(other, stage)
    require_discardable(other, "convert")
    require_discardable(finished, "report")


@pytest.mark.parametrize("discarded", ["train", "convert", "Train"])
def test_discard_displaces_the_stage_and_those_that_depend_on_it(finished, ledger_for, tmp_path, discarded):
    took(finished, "train", 7800)
    begin(ledger_for("training.epochs=60", discard=[discarded]), "train")
    (kept,) = (tmp_path / "artifacts" / "trash").iterdir()
    assert (kept / "stage.json").exists()


def test_discard_of_a_later_stage_does_not_displace_an_earlier_one(finished, ledger_for):
    took(finished, "train", 7800)
    with pytest.raises(UserError, match="train would be made again"):
        begin(ledger_for("training.epochs=60", discard=["evaluate"]), "train")


def test_an_interrupted_training_is_work_too(ledger_for):
    ledger = ledger_for()
    folder = begin(ledger, "train").folder
    (folder / "checkpoint").write_bytes(b"weights")
    took(ledger, "train", 7800)
    with pytest.raises(UserError, match="2 h 10 min of work"):
        begin(ledger_for("training.epochs=60"), "train")


def test_time_in_which_nobody_worked_is_no_work(ledger_for):
    """A training stopped after a moment, and continued with other settings two hours later."""
    ledger = ledger_for()
    folder = begin(ledger, "train").folder
    (folder / "checkpoint").write_bytes(b"weights")
    for name in (".lock", "begun.json"):
        (folder / name).touch()
        os.utime(folder / name, (time.time() + 7200, time.time() + 7200))
    assert work_seconds(folder, ledger.begun("train")) < 60
    begin(ledger_for("training.epochs=60"), "train")


def test_the_work_of_all_attempts_counts(ledger_for):
    ledger = ledger_for()
    for hours in (1, 2):
        attempt = begin(ledger, "train")
        (attempt.folder / "checkpoint").write_bytes(b"weights")
        hour = time.time() + 3600
        os.utime(attempt.folder / "checkpoint", (hour, hour))
        assert work_seconds(attempt.folder, ledger.begun("train")) == pytest.approx(3600 * hours, abs=30)


def test_results_that_nothing_says_the_settings_of_are_guarded_too(ledger_for):
    folder = begin(ledger_for(), "train").folder
    for name, seconds in (("first", 0), ("last", 7200)):
        (folder / name).write_bytes(b"weights")
        os.utime(folder / name, (seconds, seconds))
    (folder / "begun.json").unlink()
    with pytest.raises(UserError, match=r"begun\.json and stage\.json are missing"):
        begin(ledger_for(), "train")
    begin(ledger_for(discard=["train"]), "train")


def test_the_advice_for_a_corrupt_stage_json_fits_what_is_beside_it(finished):
    folder = finished.run.stage_folder("train")
    (folder / "stage.json").write_bytes(b"{")
    with pytest.raises(UserError, match="or delete it: the stage is then finished again"):
        finished.record("train")
    (folder / "begun.json").unlink()
    with pytest.raises(UserError, match="or let what is beside it move to the trash: --discard"):
        finished.record("train")


def test_a_mark_that_cannot_be_written_in_somebody_elses_run_is_said(finished, ledger_for, monkeypatch, capsys):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.write_text", refuse)
    begin(ledger_for("training.epochs=60"), "train")
    assert "is stale, and cannot be marked so: Permission denied" in capsys.readouterr().err


def test_the_marks_of_all_runs_go_when_records_are_the_same_again(finished, ledger_for):
    another = finish_all(ledger_for(name="another"))
    begin(ledger_for("records.seed=1"), "convert")
    finish(ledger_for("records.seed=1"), "convert")
    assert stale(finished) == stale(another) == []


def test_results_on_another_disk_than_the_trash_are_left_with_a_message(finished, ledger_for, monkeypatch):
    def refuse(*_):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("pathlib.Path.rename", refuse)
    with pytest.raises(UserError, match=r"is on another disk than .*: move what is in it away by hand"):
        begin(ledger_for("training.epochs=60"), "train")


def test_work_of_less_than_a_minute_makes_way_with_a_message(finished, ledger_for, tmp_path, capsys):
    begin(ledger_for("training.epochs=60"), "train")
    (kept,) = (tmp_path / "artifacts" / "trash").iterdir()
    said = capsys.readouterr().err
    assert f"moved the earlier Train results (training.epochs was 40, now 60) to {kept}" in said


def test_what_depends_on_displaced_results_is_marked_stale_at_once(finished, ledger_for):
    begin(ledger_for("training.epochs=60"), "train")
    assert stale(finished) == ["batchnorm", "evaluate", "report"]
    mark = (finished.run.stage_folder("evaluate") / STALE).read_text()
    assert "depend on train" in mark
    assert "training.epochs was 40, now 60" in mark
    assert (finished.run.stage_folder("evaluate") / "deep" / "output.bin").exists()


def test_a_stage_that_is_stale_already_keeps_the_first_reason(finished, ledger_for):
    other = ledger_for("training.epochs=60")
    begin(other, "train")
    mark = finished.run.stage_folder("evaluate") / STALE
    before = mark.read_text()
    finish(other, "train", content="another result")
    begin(other, "batchnorm")
    assert mark.read_text() == before


def test_a_stage_that_runs_again_loses_the_mark(finished, ledger_for):
    other = ledger_for("training.epochs=60")
    finish(other, "train", content="another result")
    begin(other, "batchnorm")
    assert stale(finished) == ["evaluate", "report"]


def test_another_result_leaves_all_marks(finished, ledger_for):
    finish(ledger_for("training.epochs=60"), "train", content="another result")
    assert stale(finished) == ["batchnorm", "evaluate", "report"]


def test_a_stage_that_is_stale_for_another_reason_keeps_its_mark(finished, ledger_for):
    finish(ledger_for("training.epochs=60"), "train", content="another result")
    finish(ledger_for("training.epochs=60", "records.seed=1"), "convert")  # with the same records
    assert stale(finished) == ["batchnorm", "evaluate", "report"]


def test_records_that_another_run_was_trained_on_for_long_are_not_displaced_by_other_settings(finished, ledger_for):
    took(finished, "train", 7800)
    other = ledger_for("records.train_shards=5", name="other")
    with pytest.raises(UserError) as caught:
        begin(other, "convert")
    assert "records.train_shards was 4, now 5" in str(caught.value)
    assert "run digits was trained on these records, in 2 h 10 min" in str(caught.value)
    assert "--override dataset.name=NAME" in str(caught.value)


def test_a_training_is_not_judged_before_its_records_are_made_again(finished, ledger_for):
    """Another run's records took the place of its own, which come out as they were."""
    took(finished, "train", 7800)
    displaced = ledger_for("records.seed=1", name="other", discard=["convert"])
    finish(displaced, "convert", content="other records")
    require_discardable(ledger_for(), "report")
    finish(ledger_for(), "convert")
    assert finished.why_incomplete("report") == ""


def test_the_marks_go_when_the_result_turns_out_to_be_the_same(finished, ledger_for):
    finish(ledger_for("training.epochs=60"), "train")
    assert stale(finished) == []


def test_making_a_lost_output_again_marks_nothing(finished):
    (finished.run.stage_folder("train") / "deep" / "output.bin").unlink()
    begin(finished, "train")
    assert stale(finished) == []


def test_displaced_records_mark_every_run_that_was_trained_on_them(finished, ledger_for):
    another = finish_all(ledger_for(name="another"))
    begin(ledger_for("records.seed=1"), "convert")
    assert stale(finished) == stale(another) == ["train", "batchnorm", "evaluate", "report"]


def test_what_is_left_of_a_first_state_file_that_was_never_finished_goes_without_a_word(ledger_for, tmp_path, capsys):
    folder = ledger_for().run.stage_folder("train")
    folder.mkdir(parents=True)
    (folder / ".begun.json.host-1-ab.partial").write_bytes(b"{")
    begin(ledger_for(), "train")
    assert not (tmp_path / "artifacts" / "trash").exists()
    assert capsys.readouterr().err == ""


def test_records_of_images_in_another_folder_of_the_same_name_are_not_displaced(ledger_for, tmp_path):
    one, two = (tmp_path / name / "images" for name in ("a", "b"))
    for root, size in ((one, 1), (two, 2)):
        for name in ("cat", "dog"):
            (root / name).mkdir(parents=True)
            (root / name / "0.jpg").write_bytes(bytes(size))
    finish(ledger_for(recipe="imagefolder", data=one), "convert")
    other = ledger_for(recipe="imagefolder", data=two)
    with pytest.raises(UserError) as caught:
        begin(other, "convert")
    for words in (f"those of {one}, not of {two}", "--override dataset.name=NAME", "--discard convert"):
        assert words in str(caught.value)
    assert finish(ledger_for("dataset.name=b", recipe="imagefolder", data=two), "convert")
    begin(ledger_for(recipe="imagefolder", data=two, discard=["convert"]), "convert")


def test_a_log_is_no_work_however_long_an_attempt_has_waited(finished):
    folder = finished.run.stage_folder("evaluate")
    for path in [*folder.rglob("*.bin"), folder / "log.txt", folder / "stage.json"]:
        path.unlink()
    (folder / "log-1.txt").touch()
    os.utime(folder / "log-1.txt", (time.time() + 3600,) * 2)
    assert work_seconds(folder, finished.begun("evaluate")) == 0.0
