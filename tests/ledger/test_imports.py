"""Stages whose weights are imported: what they depend on, and what takes their place."""

from __future__ import annotations

import pytest
from ledgers import begin, finish

from resnet.errors import UserError
from resnet.ledger import Ledger
from resnet.ledger.displacing import require_discardable
from resnet.ledger.locking import importing
from resnet.ledger.state_files import write_state

STAGES = ("train", "batchnorm")
FILE = {"file": "/weights/resnet20.safetensors", "sha256": "ab" * 32}


def import_into(ledger: Ledger, imported: dict[str, str] = FILE, content: str = "weights") -> bool:
    """Import into a run; returns whether there was anything to do."""
    with importing(ledger, STAGES, imported) as attempts:
        for attempt in attempts or ():
            attempt.begin()
        for attempt in attempts or ():
            (attempt.folder / "weights.safetensors").write_text(content)
            attempt.finish([attempt.folder / "weights.safetensors"])
        return attempts is not None


@pytest.fixture
def imported(ledger_for) -> Ledger:
    """The ledger of a run with imported weights, and no records."""
    ledger = ledger_for()
    assert import_into(ledger)
    return ledger


def test_an_import_needs_no_records_and_stays_complete_when_they_come(imported, ledger_for):
    assert [imported.why_itself_incomplete(stage) for stage in STAGES] == ["", ""]
    finish(imported, "convert", "records")
    assert ledger_for().why_incomplete("batchnorm") == ""
    finish(imported, "convert", "other records")
    assert ledger_for().why_incomplete("batchnorm") == ""


def test_training_settings_do_not_matter_to_an_import_and_the_network_does(imported, ledger_for):
    finish(imported, "convert")
    changed = ledger_for("training.epochs=3", "augmentation.flip=true", "batchnorm.batches=3")
    assert changed.why_incomplete("batchnorm") == ""
    assert "model.depth was 20, now 32" in ledger_for("model.depth=32").why_incomplete("train")


def test_importing_the_same_file_again_does_nothing(imported, ledger_for):
    assert not import_into(ledger_for())


@pytest.mark.parametrize("sha256", ["ab" * 32, "cd" * 32])
def test_training_never_takes_the_place_of_imported_weights_without_discard(imported, ledger_for, sha256):
    finish(imported, "convert")
    (imported.run.stage_folder("train") / "weights.safetensors").unlink()
    with pytest.raises(UserError, match=r"imported from /weights/resnet20\.safetensors") as error:
        require_discardable(ledger_for(), "train")
    assert "weights.safetensors is missing" in str(error.value)
    with pytest.raises(UserError, match=r"import-weights /weights/resnet20\.safetensors --run digits"):
        finish(ledger_for(), "train")
    finish(ledger_for(discard=["train"]), "train", "trained")
    assert "imported" not in ledger_for().finished("train")


def test_another_file_takes_the_place_only_with_discard(imported, ledger_for):
    other = {"file": "/weights/other.safetensors", "sha256": "cd" * 32}
    with pytest.raises(UserError, match="another import is asked for"):
        import_into(ledger_for(), other)
    assert import_into(ledger_for(discard=["train"]), other)
    assert ledger_for().finished("batchnorm")["imported"] == other


def test_an_interrupted_import_is_neither_used_nor_trained_over(ledger_for):
    ledger = ledger_for()
    with importing(ledger, STAGES, FILE) as attempts:
        for attempt in attempts:
            attempt.begin()
        (attempts[0].folder / "weights.safetensors").write_text("weights")
        attempts[0].finish([attempts[0].folder / "weights.safetensors"])
    finish(ledger_for(), "convert")
    assert "the import of /weights/resnet20.safetensors was interrupted" in ledger_for().why_incomplete("batchnorm")
    with pytest.raises(UserError, match="was interrupted"):
        require_discardable(ledger_for(), "evaluate")
    assert import_into(ledger_for())
    assert ledger_for().why_incomplete("batchnorm") == ""


def test_an_import_displaces_a_training_however_short_only_with_discard(ledger_for):
    finish(ledger_for(), "convert")
    finish(ledger_for(), "train")
    with pytest.raises(UserError, match="--discard train") as error:
        import_into(ledger_for())
    assert "weights are imported from /weights/resnet20.safetensors" in str(error.value)
    assert import_into(ledger_for(discard=["train"]))


@pytest.mark.parametrize(
    ("damage", "message"), [("corrupt", "batchnorm/stage.json is corrupt"), ("long work", "--discard batchnorm")]
)
def test_an_import_that_must_not_displace_one_of_its_stages_leaves_the_others_as_they_were(ledger_for, damage, message):
    finish(ledger_for(), "convert")
    kept = begin(ledger_for(), "train").folder / "checkpoint.bin"
    kept.write_text("a short training, interrupted: an import may displace it")
    finish(ledger_for(), "batchnorm")
    batchnorm = ledger_for().run.stage_folder("batchnorm")
    if damage == "corrupt":
        (batchnorm / "stage.json").write_text("{")
    else:
        record = ledger_for().finished("batchnorm")
        write_state(batchnorm / "stage.json", record | {"worked_seconds": 100.0})
    with pytest.raises(UserError, match=message):
        import_into(ledger_for())
    assert kept.exists()
    assert not (ledger_for().run.artifacts / "trash").exists()
