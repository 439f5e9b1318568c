"""When a stage is complete, and the first reason why it is not."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from ledgers import begin, finish

from resnet.errors import LockedElsewhere, UserError
from resnet.ledger import Ledger
from resnet.ledger.locking import working
from resnet.ledger.state_files import read_state, write_state
from resnet.run import Machine
from resnet.stage_table import STAGES

# A stage and all later ones, which depend on it.
STAGES_FROM = {name: set(list(STAGES)[i:]) for i, name in enumerate(STAGES)}


def incomplete(ledger: Ledger) -> set[str]:
    return {stage for stage in STAGES if ledger.why_incomplete(stage)}


def write_photographs(root: Path) -> Path:
    for name in ("cat", "dog"):
        for number in range(3):
            (root / name).mkdir(parents=True, exist_ok=True)
            (root / name / f"{number}.jpg").write_bytes(bytes(number + 1))
    return root


def test_no_stage_is_complete_before_it_has_run(ledger_for):
    ledger = ledger_for()
    assert incomplete(ledger) == set(STAGES)
    assert ledger.why_incomplete("convert") == "it has not run yet"
    assert ledger.why_incomplete("train") == "it depends on convert, which is incomplete: it has not run yet"


def test_every_stage_is_complete_after_all_have_finished(finished, ledger_for):
    assert incomplete(finished) == set()
    assert incomplete(ledger_for()) == set()


def test_a_stage_without_stage_json_is_incomplete_whatever_else_its_folder_has(finished):
    (finished.run.stage_folder("evaluate") / "stage.json").unlink()
    assert finished.why_incomplete("evaluate") == "it was interrupted"
    assert incomplete(finished) == STAGES_FROM["evaluate"]


def test_a_stage_that_began_but_did_not_finish_was_interrupted(finished):
    begin(finished, "batchnorm")
    assert finished.why_incomplete("batchnorm") == "it was interrupted"
    assert incomplete(finished) == STAGES_FROM["batchnorm"]


def test_an_interrupted_stage_at_other_settings_says_that_it_begins_again(finished, ledger_for):
    begin(finished, "train")
    again = ledger_for("training.epochs=41")
    assert again.why_incomplete("train") == "it was interrupted; training.epochs was 40, now 41, so it begins again"


def test_a_stage_killed_right_after_writing_stage_json_is_complete(ledger_for):
    ledger = ledger_for()
    begin(ledger, "convert")
    begun = (ledger.run.records / "begun.json").read_bytes()
    finish(ledger, "convert")
    (ledger.run.records / "begun.json").write_bytes(begun)
    assert ledger.why_incomplete("convert") == ""


@pytest.mark.parametrize(
    ("override", "stage", "reason"),
    [
        ("dataset.validation_fraction=0.3", "convert", "dataset.validation_fraction was 0.2, now 0.3"),
        ("dataset.classes=9", "convert", "dataset.classes was 0, now 9"),
        ("records.max_megapixels=9", "convert", "records.max_megapixels was 100, now 9"),
        ("records.seed=1", "convert", "records.seed was 0, now 1"),
        ("records.train_shards=5", "convert", "records.train_shards was 4, now 5"),
        ("model.depth=32", "train", "model.depth was 20, now 32"),
        ("augmentation.padding=3", "train", "augmentation.padding was 4, now 3"),
        ("training.drop_epochs=[20]", "train", "training.drop_epochs was [20, 30, 36], now [20]"),
        ("batchnorm.batches=26", "batchnorm", "batchnorm.batches was 25, now 26"),
        ("evaluation.shorter_side=40", "evaluate", "evaluation.shorter_side was 32, now 40"),
    ],
)
def test_a_changed_setting_makes_its_stage_and_all_later_ones_incomplete(finished, ledger_for, override, stage, reason):
    changed = ledger_for(override)
    assert changed.why_incomplete(stage) == reason
    assert incomplete(changed) == STAGES_FROM[stage]


@pytest.mark.parametrize(
    "override", ["records.max_rejected=7", "training.checkpoint_steps=3", "training.keep_epochs=[1, 2]"]
)
def test_a_setting_that_does_not_affect_results_leaves_every_stage_complete(finished, ledger_for, override):
    assert incomplete(ledger_for(override)) == set()


def test_another_machine_leaves_every_stage_complete(finished, ledger_for):
    assert incomplete(ledger_for(machine=Machine(workers=97, devices=3, cpu_devices=4))) == set()


def test_a_recipe_of_another_name_with_the_same_settings_leaves_every_stage_complete(finished, ledger_for, tmp_path):
    (tmp_path / "mine.toml").write_text(finished.run.recipe.toml())
    assert incomplete(ledger_for(recipe=str(tmp_path / "mine.toml"), name="digits")) == set()


def test_moved_or_deleted_images_leave_the_stage_complete_but_changed_ones_do_not(ledger_for, tmp_path):
    here = write_photographs(tmp_path / "here" / "photographs")
    finish(ledger_for(recipe="imagefolder", data=here), "convert")
    there = shutil.copytree(here, tmp_path / "there" / "photographs")
    assert ledger_for(recipe="imagefolder", data=there).why_incomplete("convert") == ""
    shutil.rmtree(here)
    assert ledger_for(recipe="imagefolder", data=here).why_incomplete("convert") == ""
    (there / "cat" / "new.jpg").write_bytes(b"new")
    assert ledger_for(recipe="imagefolder", data=there).why_incomplete("convert") == "the images have changed"


def test_a_stage_of_another_version_is_incomplete(finished, monkeypatch):
    monkeypatch.setitem(STAGES, "train", STAGES["train"]._replace(version=2))
    assert finished.why_incomplete("train") == "it was made by version 1 of the stage, and the code is version 2"
    assert incomplete(finished) == STAGES_FROM["train"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_deleted_artifact_makes_its_stage_and_all_later_ones_incomplete(finished, stage):
    output = finished.run.stage_folder(stage) / "deep" / "output.bin"
    output.unlink()
    assert finished.why_incomplete(stage) == f"{output} is missing"
    assert incomplete(finished) == STAGES_FROM[stage]
    for later in STAGES_FROM[stage] - {stage}:
        assert finished.why_incomplete(later).endswith(f"{output} is missing")


def test_a_lost_byproduct_leaves_its_stage_complete(finished):
    (finished.run.stage_folder("train") / "log.txt").unlink()
    assert incomplete(finished) == set()
    assert finished.has_changed("train", "log.txt")


def test_a_truncated_artifact_makes_its_stage_incomplete(finished):
    output = finished.run.stage_folder("train") / "deep" / "output.bin"
    output.write_bytes(output.read_bytes()[:-1])
    assert finished.why_incomplete("train") == f"{output} has 5 bytes, not 6"
    assert incomplete(finished) == STAGES_FROM["train"]


def test_later_stages_stay_complete_when_an_earlier_one_runs_again_with_the_same_result(finished):
    before = finished.record("train")
    after = finish(finished, "train", log="took 4 s this time")
    assert after["digest"] == before["digest"]
    assert incomplete(finished) == set()


def test_recreating_a_lost_artifact_completes_every_stage(finished):
    shutil.rmtree(finished.run.stage_folder("convert"))
    assert incomplete(finished) == set(STAGES)
    finish(finished, "convert")
    assert incomplete(finished) == set()


def test_later_stages_become_incomplete_when_an_earlier_one_gives_another_result(finished):
    finish(finished, "train", content="another result")
    assert finished.why_incomplete("train") == ""
    assert finished.why_incomplete("batchnorm") == "train has changed since"
    assert incomplete(finished) == STAGES_FROM["batchnorm"]


def test_runs_share_the_records_and_no_other_stage(finished, ledger_for):
    assert incomplete(ledger_for(name="another")) == STAGES_FROM["train"]


def test_finished_returns_stage_json_and_raises_for_a_stage_that_has_not_finished(finished, ledger_for):
    assert finished.finished("train") == finished.record("train")
    other = ledger_for(name="other")
    with pytest.raises(UserError) as caught:
        other.finished("train")
    assert str(other.run.stage_folder("train")) in str(caught.value)


def change(path: Path, edit: Callable[[dict], None]) -> None:
    """Edit a stage.json or begun.json as an earlier version of the code would have written it."""
    content = read_state(path)
    edit(content)
    write_state(path, content)


def test_a_setting_added_since_leaves_a_finished_stage_complete_while_it_has_its_default(finished, ledger_for):
    change(
        finished.run.stage_folder("train") / "stage.json", lambda record: record["settings"]["training"].pop("momentum")
    )
    assert incomplete(finished) == set()
    changed = ledger_for("training.momentum=0.8")
    assert changed.why_incomplete("train") == "training.momentum was 0.9, now 0.8"


def test_a_setting_removed_since_leaves_a_finished_stage_complete(finished):
    change(
        finished.run.stage_folder("train") / "stage.json",
        lambda record: record["settings"]["training"].update(of_an_earlier_version=3),
    )
    assert incomplete(finished) == set()


def test_an_interrupted_stage_continues_although_a_setting_was_added_since(ledger_for):
    ledger = ledger_for()
    begin(ledger, "train")
    folder = ledger.run.stage_folder("train")
    change(folder / "begun.json", lambda record: record["settings"]["model"].pop("stride_in"))
    (folder / "checkpoint").write_bytes(b"weights")
    assert begin(ledger_for(), "train").number == 2
    assert (folder / "checkpoint").exists()


def test_a_reason_names_several_changed_settings(finished, ledger_for):
    changed = ledger_for("training.epochs=3", "training.seed=1", "training.momentum=0.8", "model.depth=32")
    reason = changed.why_incomplete("train")
    assert "model.depth was 20, now 32, training.epochs was 40, now 3" in reason
    assert reason.endswith(" and 1 more")


def test_touched_images_are_looked_at_but_have_not_changed(ledger_for, tmp_path):
    photographs = write_photographs(tmp_path / "photographs")
    finish(ledger_for(recipe="imagefolder", data=photographs), "convert")
    os.utime(photographs / "cat" / "1.jpg", (1, 1))
    touched = ledger_for(recipe="imagefolder", data=photographs)
    assert touched.why_incomplete("convert") == "the images may have changed: their times differ"
    assert touched.matches("convert", touched.record("convert"))


def test_a_stage_whose_input_has_become_incomplete_while_it_waited_for_the_lock_does_not_begin(finished, ledger_for):
    begin(finished, "evaluate")  # so it has something to do
    (finished.run.records / "deep" / "output.bin").unlink()
    with (
        pytest.raises(UserError, match="evaluate depends on convert, which is incomplete"),
        working(finished, "evaluate"),
    ):
        pytest.fail("it began")


@pytest.mark.parametrize("stage", ["train", "batchnorm", "evaluate", "report"])
def test_a_stage_does_not_begin_on_an_input_with_one_other_byte(finished, stage):
    begin(finished, stage)
    for needed in STAGES[stage].inputs:
        output = finished.run.stage_folder(needed) / "deep" / "output.bin"
        content = output.read_bytes()
        output.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))  # of the same size
        with pytest.raises(UserError, match="is corrupt: it differs from what") as caught, working(finished, stage):
            pytest.fail("it began")
        assert str(output) in str(caught.value)
        output.write_bytes(content)
    with working(finished, stage) as attempt:
        assert attempt


def test_a_lost_stage_json_is_made_again_from_what_is_beside_it(finished):
    folder = finished.run.stage_folder("train")
    before = finished.record("train")
    (folder / "stage.json").unlink()
    assert begin(finished, "train").number == 2
    assert (folder / "log.txt").exists()
    assert finish(finished, "train")["digest"] == before["digest"]
    assert incomplete(finished) == set()


def test_a_setting_that_earlier_versions_did_not_record_counts_as_the_same(ledger_for):
    ledger = ledger_for("dataset.classes=10")
    finish(ledger, "convert")
    change(ledger.run.records / "stage.json", lambda record: record["settings"]["dataset"].pop("classes"))
    assert ledger.why_incomplete("convert") == ""
    finish(ledger, "convert")
    assert ledger_for("dataset.classes=9").why_incomplete("convert") == "dataset.classes was 10, now 9"


def test_two_names_of_one_folder_of_records_are_the_same_records(ledger_for, tmp_path):
    pets = write_photographs(tmp_path / "pets")
    finish(ledger_for(recipe="imagefolder", data=pets), "convert")
    assert ledger_for("dataset.name=pets", recipe="imagefolder", data=pets).why_incomplete("convert") == ""


def test_a_stage_cannot_be_made_again_while_another_reads_its_results(finished, ledger_for, monkeypatch):
    monkeypatch.setattr("resnet.ledger.locking.KILLED_SECONDS", 0.0)
    begin(finished, "evaluate")
    with working(finished, "evaluate"):
        other = ledger_for("batchnorm.batches=3")
        with pytest.raises(LockedElsewhere, match=r"has locked .*/batchnorm"), working(other, "batchnorm"):
            pytest.fail("it began")
