"""A training of more epochs goes on where a shorter one ended, where it can."""

from __future__ import annotations

import re

import pytest
from ledgers import begin, finish, finish_all, ledger_in

from resnet.errors import UserError
from resnet.ledger import Ledger
from resnet.ledger.displacing import require_discardable
from resnet.ledger.lengthening import lengthened_from
from resnet.ledger.state_files import read_state, write_state

SHORT = ("training.epochs=20", "training.drop_epochs=[10, 15, 25]")


@pytest.fixture
def short(tmp_path) -> Ledger:
    """A finished run of 20 epochs that took two hours, with a checkpoint."""
    ledger = finish_all(ledger_in(tmp_path, *SHORT))
    folder = ledger.run.stage_folder("train")
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "step-00000100.safetensors").write_text("state")
    (folder / "weights.safetensors").write_text("weights")
    write_state(folder / "stage.json", ledger.record("train") | {"worked_seconds": 7200.0})
    return ledger


def changed(ledger: Ledger, *overrides: str) -> Ledger:
    return ledger_in(ledger.run.artifacts, *SHORT, *overrides)


def test_more_epochs_keep_the_checkpoints_and_move_only_the_result_to_the_trash(short):
    longer, folder = changed(short, "training.epochs=30"), short.run.stage_folder("train")
    assert longer.why_incomplete("train") == "it has 20 epochs, and is lengthened to 30"
    require_discardable(longer, "report")
    attempt = begin(longer, "train")
    assert attempt.begun["lengthened_from"] == [20]
    assert attempt.begun["attempts"] == 2
    assert attempt.begun["worked_seconds"] == 7200.0
    assert (folder / "checkpoints" / "step-00000100.safetensors").exists()
    (trash,) = (short.run.artifacts / "trash").iterdir()
    assert {path.name for path in trash.iterdir()} == {"stage.json", "weights.safetensors", "trashed.json"}
    assert read_state(trash / "stage.json")["settings"]["training"]["epochs"] == 20
    assert (short.run.stage_folder("batchnorm") / "stale.txt").exists()


def test_an_interrupted_lengthening_goes_on_and_may_be_lengthened_again(short):
    longer = changed(short, "training.epochs=30")
    begin(longer, "train")
    assert begin(longer, "train").begun["lengthened_from"] == [20]
    finish(longer, "train")
    assert begin(changed(short, "training.epochs=40"), "train").begun["lengthened_from"] == [20, 30]


def test_a_process_that_ends_before_the_result_has_moved_away_can_lengthen_again(short, monkeypatch):
    longer = changed(short, "training.epochs=30")

    def killed(*_) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr("resnet.ledger.displacing.move", killed)
        with pytest.raises(SystemExit):
            begin(longer, "train")
    assert begin(longer, "train").begun["lengthened_from"] == [20]
    assert not (short.run.stage_folder("train") / "stage.json").exists()
    assert begin(longer, "train").begun["lengthened_from"] == [20]


def test_an_interrupted_training_goes_on_with_more_epochs_and_was_never_shorter(short):
    folder = short.run.stage_folder("train")
    (folder / "stage.json").unlink()
    attempt = begin(changed(short, "training.epochs=30"), "train")
    assert "lengthened_from" not in attempt.begun
    assert attempt.begun["attempts"] == 2
    assert (folder / "checkpoints" / "step-00000100.safetensors").exists()


def test_the_drops_after_its_end_may_change(short):
    assert lengthened_from(
        changed(short, "training.epochs=30", "training.drop_epochs=[10,15,20]"), short.record("train")
    )


@pytest.mark.parametrize(
    ("overrides", "why"),
    [
        (
            ("training.drop_epochs=[10,14]",),
            "the learning rate would drop elsewhere in its 20 epochs",
        ),
        (("training.learning_rate=0.2",), ""),
        (("training.schedule=cosine",), ""),
        (("training.epochs=10",), ""),
    ],
)
def test_what_changes_a_step_that_was_done_is_no_lengthening(short, overrides, why):
    other = changed(short, "training.epochs=30", *overrides)
    assert lengthened_from(other, short.record("train")) is None
    with pytest.raises(UserError) as caught:
        require_discardable(other, "train")
    assert ("cannot be lengthened" in str(caught.value)) == bool(why)
    assert why in str(caught.value)
    with pytest.raises(UserError, match="2 h 00 min of work"):
        begin(other, "train")


@pytest.mark.parametrize(("gone", "why"), [(False, "along a cosine"), (True, "its checkpoints are gone")])
def test_it_is_said_why_a_training_cannot_be_lengthened(tmp_path, gone, why):
    settings = ("training.epochs=20",) + (() if gone else ("training.schedule=cosine",))
    ledger = ledger_in(tmp_path, *settings)
    finish(ledger, "convert")
    finish(ledger, "train")
    folder = ledger.run.stage_folder("train")
    write_state(folder / "stage.json", ledger.record("train") | {"worked_seconds": 7200.0})
    (folder / "checkpoints").mkdir()
    if not gone:
        (folder / "checkpoints" / "step-00000100.safetensors").write_text("state")
    longer = ledger_in(tmp_path, *settings, "training.epochs=30")
    assert re.fullmatch(
        rf"training\.epochs was 20, now 30; it cannot be lengthened: .*{why}.*, so it begins again",
        longer.why_incomplete("train"),
    )
    with pytest.raises(UserError, match=why):
        require_discardable(longer, "train")


def test_a_fine_tuning_is_lengthened_although_the_weights_that_it_started_from_are_gone(tmp_path):
    source = tmp_path / "source.safetensors"
    source.write_text("trained weights")
    settings = (*SHORT, f"training.start_from={source}")
    ledger = ledger_in(tmp_path, *settings, recipe="finetune", data=tmp_path)
    finish(ledger, "train")
    checkpoints = ledger.run.stage_folder("train") / "checkpoints"
    checkpoints.mkdir()
    (checkpoints / "step-00000100.safetensors").write_text("state")
    source.unlink()
    ledger_in(tmp_path, *settings, "training.epochs=30", recipe="finetune", data=tmp_path).require_start()
    other = ledger_in(tmp_path, *settings, "training.learning_rate=0.5", recipe="finetune", data=tmp_path)
    with pytest.raises(UserError, match="cannot be read"):
        other.require_start()
