"""When a stage is complete, why it is not, and what becomes of what other settings made."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from resnet.errors import UserError
from resnet.ledger import Attempt, Ledger
from resnet.recipes import load_recipe
from resnet.run import Machine, Run
from resnet.stage_table import STAGES
from resnet.stages import ledger_of

LATER = {
    "convert": {"convert", "train", "batchnorm", "evaluate", "report"},
    "train": {"train", "batchnorm", "evaluate", "report"},
    "batchnorm": {"batchnorm", "evaluate", "report"},
    "evaluate": {"evaluate", "report"},
    "report": {"report"},
    "": set(),
}


@pytest.fixture
def ledger_for(tmp_path):
    """ledger_for("training.epochs=3"): the ledger of a run of the digits with these overrides."""

    def make(*overrides: str, recipe: str = "digits", **options) -> Ledger:
        return ledger_of(Run.of(recipe, overrides, artifacts=tmp_path / "artifacts", **options))

    return make


@pytest.fixture
def finished(ledger_for) -> Ledger:
    """A run whose five stages are done."""
    ledger = ledger_for()
    for stage in STAGES:
        do(ledger, stage)
    return ledger


def begin(ledger: Ledger, stage: str) -> Attempt:
    attempt = Attempt(ledger, stage)
    attempt.begin()
    return attempt


def do(ledger: Ledger, stage: str, content: str = "result", log: str = "took 3 s") -> dict:
    """What a stage does to its folder; returns its stage.json."""
    attempt = begin(ledger, stage)
    folder = attempt.folder
    (folder / "deep").mkdir(exist_ok=True)
    (folder / "deep" / "output.bin").write_text(content)
    (folder / "log.txt").write_text(log)
    attempt.finish([folder / "deep" / "output.bin"], byproducts=[folder / "log.txt"])
    return ledger.finished(stage)


def incomplete(ledger: Ledger) -> set[str]:
    return {stage for stage in STAGES if ledger.why_incomplete(stage)}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


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


def test_every_stage_is_complete_once_all_are_done(finished, ledger_for):
    assert incomplete(finished) == set()
    assert incomplete(ledger_for()) == set()


def test_a_stage_without_its_stage_json_is_not_complete_whatever_else_is_there(finished):
    (finished.run.stage_folder("evaluate") / "stage.json").unlink()
    assert finished.why_incomplete("evaluate") == "it has not run yet"
    assert incomplete(finished) == LATER["evaluate"]


def test_a_stage_that_has_begun_but_not_finished_was_interrupted(finished):
    begin(finished, "batchnorm")
    assert finished.why_incomplete("batchnorm") == "it was interrupted"
    assert incomplete(finished) == LATER["batchnorm"]


def test_a_stage_is_complete_though_it_was_killed_right_after_its_stage_json(ledger_for):
    ledger = ledger_for()
    begin(ledger, "convert")
    begun = (ledger.run.records / "begun.json").read_bytes()
    do(ledger, "convert")
    (ledger.run.records / "begun.json").write_bytes(begun)
    assert ledger.why_incomplete("convert") == ""


@pytest.mark.parametrize(
    ("override", "stage", "reason"),
    [
        ("dataset.validation_fraction=0.3", "convert", "dataset.validation_fraction was 0.2, now 0.3"),
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
    assert incomplete(changed) == LATER[stage]


@pytest.mark.parametrize(
    "override", ["records.max_rejected=7", "training.checkpoint_steps=3", "training.keep_epochs=[1, 2]"]
)
def test_a_setting_that_does_not_move_the_numbers_leaves_every_stage_complete(finished, ledger_for, override):
    assert incomplete(ledger_for(override)) == set()


def test_another_machine_leaves_every_stage_complete(finished, ledger_for):
    assert incomplete(ledger_for(machine=Machine(workers=97, devices=3, cpu_devices=4))) == set()


def test_a_recipe_of_another_name_with_the_same_settings_leaves_every_stage_complete(finished, ledger_for, tmp_path):
    (tmp_path / "mine.toml").write_text(finished.run.recipe.toml())
    assert incomplete(ledger_for(recipe=str(tmp_path / "mine.toml"), name="digits")) == set()


def test_images_elsewhere_or_gone_leave_the_stage_complete_but_changed_ones_do_not(ledger_for, tmp_path):
    here = write_photographs(tmp_path / "here" / "photographs")
    do(ledger_for(recipe="imagefolder", data=here), "convert")
    there = shutil.copytree(here, tmp_path / "there" / "photographs")
    assert ledger_for(recipe="imagefolder", data=there).why_incomplete("convert") == ""
    shutil.rmtree(here)
    assert ledger_for(recipe="imagefolder", data=here).why_incomplete("convert") == ""
    (there / "cat" / "new.jpg").write_bytes(b"new")
    assert ledger_for(recipe="imagefolder", data=there).why_incomplete("convert") == "the images have changed"


def test_a_stage_of_another_version_is_not_complete(finished, monkeypatch):
    monkeypatch.setitem(STAGES, "train", STAGES["train"]._replace(version=2))
    assert finished.why_incomplete("train") == "version 1 of the stage made it; this is version 2"
    assert incomplete(finished) == LATER["train"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_deleted_artifact_makes_its_stage_and_all_later_ones_incomplete(finished, stage):
    output = finished.run.stage_folder(stage) / "deep" / "output.bin"
    output.unlink()
    assert finished.why_incomplete(stage) == f"{output} is missing"
    assert incomplete(finished) == LATER[stage]
    for later in LATER[stage] - {stage}:
        assert finished.why_incomplete(later).endswith(f"{output} is missing")


def test_a_deleted_byproduct_is_missed_too(finished):
    (finished.run.stage_folder("report") / "log.txt").unlink()
    assert finished.why_incomplete("report") == f"{finished.run.stage_folder('report') / 'log.txt'} is missing"


def test_an_artifact_that_is_cut_short_is_noticed(finished):
    output = finished.run.stage_folder("train") / "deep" / "output.bin"
    output.write_bytes(output.read_bytes()[:-1])
    assert finished.why_incomplete("train") == f"{output} has 5 bytes, not 6"
    assert incomplete(finished) == LATER["train"]


def test_later_stages_stay_complete_when_an_earlier_one_is_redone_with_the_same_result(finished):
    before = finished.record("train")
    after = do(finished, "train", log="took 4 s this time")
    assert after["digest"] == before["digest"]
    assert incomplete(finished) == set()


def test_a_lost_artifact_made_again_the_same_completes_every_stage(finished):
    shutil.rmtree(finished.run.stage_folder("convert"))
    assert incomplete(finished) == set(STAGES)
    do(finished, "convert")
    assert incomplete(finished) == set()


def test_later_stages_are_not_complete_when_an_earlier_one_comes_out_otherwise(finished):
    do(finished, "train", content="another result")
    assert finished.why_incomplete("train") == ""
    assert finished.why_incomplete("batchnorm") == "train has changed since"
    assert incomplete(finished) == LATER["batchnorm"]


def test_each_stage_is_tied_to_all_that_it_builds_on(finished):
    for stage, declared in STAGES.items():
        if stage != "convert":
            expected = {name: finished.record(name)["digest"] for name in declared.inputs}
            assert finished.record(stage)["inputs"] == expected


def test_stages_of_other_settings_or_inputs_have_other_digests(finished, ledger_for):
    same = do(ledger_for(name="same"), "train")
    other = do(ledger_for("training.seed=1", name="other"), "train")
    assert same["digest"] == finished.record("train")["digest"]
    assert other["digest"] != same["digest"]


def test_runs_do_not_see_each_others_stages_but_share_the_records(finished, ledger_for):
    assert incomplete(ledger_for(name="another")) == LATER["train"]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"null", b"[]", b"\xff\xfe", b'"done"', b"{}", b'{"version": 1}', b'{"outputs": 3}']
)
def test_a_damaged_stage_json_counts_as_not_done(finished, content):
    (finished.run.stage_folder("evaluate") / "stage.json").write_bytes(content)
    assert incomplete(finished) == LATER["evaluate"]
    do(finished, "evaluate")
    assert "evaluate" not in incomplete(finished)


def test_a_stage_json_cut_short_anywhere_counts_as_not_done(finished):
    path = finished.run.stage_folder("report") / "stage.json"
    whole = path.read_bytes().rstrip()
    for length in range(0, len(whole), 25):
        path.write_bytes(whole[:length])
        assert finished.why_incomplete("report")


def test_a_damaged_begun_json_counts_as_of_other_settings_and_loses_nothing(ledger_for, tmp_path):
    ledger = ledger_for()
    begin(ledger, "train")
    (ledger.run.stage_folder("train") / "begun.json").write_bytes(b"{")
    (ledger.run.stage_folder("train") / "checkpoint").write_bytes(b"weights")
    assert begin(ledger, "train").number == 1
    assert b"weights" in contents(tmp_path / "artifacts" / "trash").values()


@pytest.mark.parametrize("was_finished", [True, False])
def test_what_other_settings_made_is_moved_to_the_trash_and_nothing_is_lost(ledger_for, was_finished, tmp_path, capsys):
    ledger = ledger_for()
    folder = ledger.run.stage_folder("train")
    if was_finished:
        do(ledger, "train")
    else:
        begin(ledger, "train")
    (folder / ".hidden").write_bytes(b"hidden")
    (folder / "checkpoints" / "7").mkdir(parents=True)
    (folder / "checkpoints" / "7" / "weights").write_bytes(b"weights")
    before = contents(folder)
    begin(ledger_for("training.epochs=41"), "train")
    assert set(contents(folder)) == {"begun.json"}
    (trashed,) = (tmp_path / "artifacts" / "trash").iterdir()
    assert contents(trashed) == before
    assert str(trashed) in capsys.readouterr().err


def test_nothing_in_the_trash_is_overwritten_by_what_comes_within_the_same_second(ledger_for, tmp_path):
    for epochs in range(41, 47):
        ledger = ledger_for(f"training.epochs={epochs}")
        begin(ledger, "train")
        (ledger.run.stage_folder("train") / "checkpoint").write_bytes(str(epochs).encode())
    begin(ledger_for(), "train")
    trashed = contents(tmp_path / "artifacts" / "trash")
    assert sorted(content for name, content in trashed.items() if name.endswith("checkpoint")) == [
        str(epochs).encode() for epochs in range(41, 47)
    ]


def test_the_lock_stays_where_its_holder_expects_it(ledger_for):
    begin(ledger_for(), "train")
    lock = ledger_for().run.stage_folder("train") / ".lock"
    lock.write_bytes(b"pid 1\n")
    begin(ledger_for("training.epochs=41"), "train")
    assert lock.read_bytes() == b"pid 1\n"


def test_an_empty_trash_folder_is_not_made_for_a_first_attempt(ledger_for, tmp_path):
    begin(ledger_for(), "train")
    assert not (tmp_path / "artifacts" / "trash").exists()


@pytest.mark.parametrize("override", ["training.epochs=40", "training.checkpoint_steps=7"])
def test_an_interrupted_stage_of_the_same_numbers_keeps_its_files_and_counts_attempts(ledger_for, override):
    first = begin(ledger_for(), "train")
    folder = ledger_for().run.stage_folder("train")
    (folder / "checkpoint").write_bytes(b"weights")
    second = begin(ledger_for(override), "train")
    assert (folder / "checkpoint").read_bytes() == b"weights"
    assert (first.number, second.number) == (1, 2)
    started = json.loads((folder / "begun.json").read_text())["start"]
    done = do(ledger_for(), "train")
    assert done["attempts"] == 3
    assert done["start"] == started


def test_an_interrupted_stage_of_other_inputs_is_moved_to_the_trash(ledger_for, tmp_path):
    ledger = ledger_for()
    do(ledger, "convert")
    begin(ledger, "train")
    (ledger.run.stage_folder("train") / "checkpoint").write_bytes(b"weights")
    do(ledger, "convert", content="other records")
    assert begin(ledger, "train").number == 1
    assert not (ledger.run.stage_folder("train") / "checkpoint").exists()
    assert b"weights" in contents(tmp_path / "artifacts" / "trash").values()


def test_a_finished_stage_with_a_lost_artifact_keeps_the_others_when_it_begins_again(finished):
    folder = finished.run.stage_folder("train")
    (folder / "deep" / "output.bin").unlink()
    begin(finished, "train")
    assert (folder / "log.txt").exists()
    assert not (folder / "stage.json").exists()


def test_the_runs_folder_holds_the_recipe_that_made_it(ledger_for):
    ledger = ledger_for("training.epochs=41")
    begin(ledger, "train")
    assert load_recipe(str(ledger.run.folder / "recipe.toml"))[1] == ledger.run.recipe


def test_the_record_says_when_where_and_with_what_a_stage_was_done(finished):
    record = finished.record("evaluate")
    assert record["start"] <= record["end"]
    assert {"numpy", "luigi"} <= set(record["packages"])
    assert {"python", "host", "git_commit"} <= set(record)
    assert record["settings"] == {"evaluation": finished.run.recipe.evaluation.model_dump()}
    assert set(record["outputs"]) == {"deep/output.bin", "log.txt"}


def test_what_a_finished_stage_made_is_read_and_an_unfinished_one_is_named(finished, ledger_for):
    assert finished.finished("train") == finished.record("train")
    other = ledger_for(name="other")
    with pytest.raises(UserError) as caught:
        other.finished("train")
    assert str(other.run.stage_folder("train")) in str(caught.value)


def test_facts_of_a_stage_are_kept_in_its_record(ledger_for):
    ledger = ledger_for()
    begin(ledger, "evaluate").finish([], top1_error=24.36)
    assert json.loads((ledger.run.stage_folder("evaluate") / "stage.json").read_text())["top1_error"] == 24.36


def test_a_stage_that_cannot_write_says_where_and_what_to_do(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    ledger = ledger_of(Run.of("digits", artifacts=tmp_path / "file" / "artifacts"))
    with pytest.raises(UserError, match="--artifacts") as caught:
        begin(ledger, "train")
    assert str(tmp_path / "file" / "artifacts") in str(caught.value)
