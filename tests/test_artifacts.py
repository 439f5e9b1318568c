"""When a stage is complete, why it is not, and what becomes of what other settings made."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from resnet.artifacts import STAGES, Machine, Run
from resnet.errors import UserError
from resnet.settings import load_recipe

LATER = {
    "convert": {"convert", "train", "batchnorm", "evaluate", "report"},
    "train": {"train", "batchnorm", "evaluate", "report"},
    "batchnorm": {"batchnorm", "evaluate", "report"},
    "evaluate": {"evaluate", "report"},
    "report": {"report"},
    "": set(),
}


@pytest.fixture
def run_of(tmp_path):
    def make(*overrides: str, recipe: str = "digits", **options) -> Run:
        return Run.of(recipe, overrides, artifacts=tmp_path / "artifacts", **options)

    return make


@pytest.fixture
def finished(run_of) -> Run:
    """A run whose five stages are done."""
    run = run_of()
    for stage in STAGES:
        do(run, stage)
    return run


def do(run: Run, stage: str, content: str = "result", log: str = "took 3 s") -> dict:
    """What a stage does to its folder; returns its stage.json."""
    begun = run.begin(stage)
    folder = run.stage_folder(stage)
    (folder / "deep").mkdir(exist_ok=True)
    (folder / "deep" / "output.bin").write_text(content)
    (folder / "log.txt").write_text(log)
    run.finish(begun, [folder / "deep" / "output.bin"], byproducts=[folder / "log.txt"])
    record = run.record(stage)
    assert record is not None
    return record


def incomplete(run: Run) -> set[str]:
    return {stage for stage in STAGES if run.why_incomplete(stage)}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def write_photographs(root: Path) -> Path:
    for name in ("cat", "dog"):
        for number in range(3):
            (root / name).mkdir(parents=True, exist_ok=True)
            (root / name / f"{number}.jpg").write_bytes(bytes(number + 1))
    return root


def test_no_stage_is_complete_before_it_has_run(run_of):
    run = run_of()
    assert incomplete(run) == set(STAGES)
    assert run.why_incomplete("convert") == "it has not run yet"
    assert run.why_incomplete("train") == "it builds on convert, which is to be done: it has not run yet"


def test_every_stage_is_complete_once_all_are_done(finished, run_of):
    assert incomplete(finished) == set()
    assert incomplete(run_of()) == set()


def test_a_stage_without_its_stage_json_is_not_complete_whatever_else_is_there(finished):
    (finished.stage_folder("evaluate") / "stage.json").unlink()
    assert finished.why_incomplete("evaluate") == "it has not run yet"
    assert incomplete(finished) == LATER["evaluate"]


def test_a_stage_that_has_begun_but_not_finished_was_interrupted(finished):
    finished.begin("batchnorm")
    assert finished.why_incomplete("batchnorm") == "it was interrupted"
    assert incomplete(finished) == LATER["batchnorm"]


def test_a_stage_is_complete_though_it_was_killed_right_after_its_stage_json(run_of):
    run = run_of()
    run.begin("convert")
    begun = (run.records / "begun.json").read_bytes()
    do(run, "convert")
    (run.records / "begun.json").write_bytes(begun)
    assert run.why_incomplete("convert") == ""


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
def test_a_changed_setting_makes_its_stage_and_all_later_ones_incomplete(finished, run_of, override, stage, reason):
    changed = run_of(override)
    assert changed.why_incomplete(stage) == reason
    assert incomplete(changed) == LATER[stage]


@pytest.mark.parametrize(
    "override", ["records.max_rejected=7", "training.checkpoint_steps=3", "training.keep_epochs=[1, 2]"]
)
def test_a_setting_that_does_not_move_the_numbers_leaves_every_stage_complete(finished, run_of, override):
    assert incomplete(run_of(override)) == set()


def test_another_machine_leaves_every_stage_complete(finished, run_of):
    assert incomplete(run_of(machine=Machine(workers=97, devices=3, cpu_devices=4))) == set()


def test_a_recipe_of_another_name_with_the_same_settings_leaves_every_stage_complete(finished, run_of, tmp_path):
    (tmp_path / "mine.toml").write_text(finished.recipe.toml())
    assert incomplete(run_of(recipe=str(tmp_path / "mine.toml"), name="digits")) == set()


def test_images_elsewhere_or_gone_leave_the_stage_complete_but_changed_ones_do_not(run_of, tmp_path):
    here = write_photographs(tmp_path / "here" / "photographs")
    do(run_of(recipe="imagefolder", data=here), "convert")
    there = shutil.copytree(here, tmp_path / "there" / "photographs")
    assert run_of(recipe="imagefolder", data=there).why_incomplete("convert") == ""
    shutil.rmtree(here)
    assert run_of(recipe="imagefolder", data=here).why_incomplete("convert") == ""
    (there / "cat" / "new.jpg").write_bytes(b"new")
    assert run_of(recipe="imagefolder", data=there).why_incomplete("convert") == "the images have changed"


def test_a_stage_of_another_version_is_not_complete(finished, monkeypatch):
    monkeypatch.setitem(STAGES, "train", dataclasses.replace(STAGES["train"], version=2))
    assert finished.why_incomplete("train") == "it was made by version 1 of the stage; this is 2"
    assert incomplete(finished) == LATER["train"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_deleted_artifact_makes_its_stage_and_all_later_ones_incomplete(finished, stage):
    output = finished.stage_folder(stage) / "deep" / "output.bin"
    output.unlink()
    assert finished.why_incomplete(stage) == f"{output} is missing"
    assert incomplete(finished) == LATER[stage]
    for later in LATER[stage] - {stage}:
        assert finished.why_incomplete(later).endswith(f"{output} is missing")


def test_a_deleted_byproduct_is_missed_too(finished):
    (finished.stage_folder("report") / "log.txt").unlink()
    assert finished.why_incomplete("report") == f"{finished.stage_folder('report') / 'log.txt'} is missing"


def test_an_artifact_that_is_cut_short_is_noticed(finished):
    output = finished.stage_folder("train") / "deep" / "output.bin"
    output.write_bytes(output.read_bytes()[:-1])
    assert finished.why_incomplete("train") == f"{output} has 5 bytes, not 6"
    assert incomplete(finished) == LATER["train"]


def test_later_stages_stay_complete_when_an_earlier_one_is_redone_with_the_same_result(finished):
    before = finished.record("train")
    after = do(finished, "train", log="took 4 s this time")
    assert after["digest"] == before["digest"]
    assert incomplete(finished) == set()


def test_a_lost_artifact_made_again_the_same_completes_every_stage(finished):
    shutil.rmtree(finished.stage_folder("convert"))
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


def test_stages_of_other_settings_or_inputs_have_other_digests(finished, run_of):
    same = do(run_of(name="same"), "train")
    other = do(run_of("training.seed=1", name="other"), "train")
    assert same["digest"] == finished.record("train")["digest"]
    assert other["digest"] != same["digest"]


def test_runs_do_not_see_each_others_stages_but_share_the_records(finished, run_of):
    assert incomplete(run_of(name="another")) == LATER["train"]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"null", b"[]", b"\xff\xfe", b'"done"', b"{}", b'{"version": 1}', b'{"outputs": 3}']
)
def test_a_damaged_stage_json_counts_as_not_done(finished, content):
    (finished.stage_folder("evaluate") / "stage.json").write_bytes(content)
    assert incomplete(finished) == LATER["evaluate"]
    do(finished, "evaluate")
    assert "evaluate" not in incomplete(finished)


def test_a_stage_json_cut_short_anywhere_counts_as_not_done(finished):
    path = finished.stage_folder("report") / "stage.json"
    whole = path.read_bytes().rstrip()
    for length in range(0, len(whole), 25):
        path.write_bytes(whole[:length])
        assert finished.why_incomplete("report")


def test_a_damaged_begun_json_counts_as_of_other_settings_and_loses_nothing(run_of, tmp_path):
    run = run_of()
    run.begin("train")
    (run.stage_folder("train") / "begun.json").write_bytes(b"{")
    (run.stage_folder("train") / "checkpoint").write_bytes(b"weights")
    assert run.begin("train")["attempts"] == 1
    assert b"weights" in contents(tmp_path / "artifacts" / "trash").values()


@pytest.mark.parametrize("was_finished", [True, False])
def test_what_other_settings_made_is_moved_to_the_trash_and_nothing_is_lost(run_of, was_finished, tmp_path, capsys):
    run = run_of()
    folder = run.stage_folder("train")
    if was_finished:
        do(run, "train")
    else:
        run.begin("train")
    (folder / ".hidden").write_bytes(b"hidden")
    (folder / "checkpoints" / "7").mkdir(parents=True)
    (folder / "checkpoints" / "7" / "weights").write_bytes(b"weights")
    before = contents(folder)
    run_of("training.epochs=41").begin("train")
    assert set(contents(folder)) == {"begun.json"}
    (trashed,) = (tmp_path / "artifacts" / "trash").iterdir()
    assert contents(trashed) == before
    assert str(trashed) in capsys.readouterr().err


def test_nothing_in_the_trash_is_overwritten_by_what_comes_within_the_same_second(run_of, tmp_path):
    for epochs in range(41, 47):
        run = run_of(f"training.epochs={epochs}")
        run.begin("train")
        (run.stage_folder("train") / "checkpoint").write_bytes(str(epochs).encode())
    run_of().begin("train")
    trashed = contents(tmp_path / "artifacts" / "trash")
    assert sorted(content for name, content in trashed.items() if name.endswith("checkpoint")) == [
        str(epochs).encode() for epochs in range(41, 47)
    ]


def test_the_lock_stays_where_its_holder_expects_it(run_of):
    run_of().begin("train")
    lock = run_of().stage_folder("train") / ".lock"
    lock.write_bytes(b"pid 1\n")
    run_of("training.epochs=41").begin("train")
    assert lock.read_bytes() == b"pid 1\n"


def test_an_empty_trash_folder_is_not_made_for_a_first_attempt(run_of, tmp_path):
    run_of().begin("train")
    assert not (tmp_path / "artifacts" / "trash").exists()


@pytest.mark.parametrize("override", ["training.epochs=40", "training.checkpoint_steps=7"])
def test_an_interrupted_stage_of_the_same_numbers_keeps_its_files_and_counts_attempts(run_of, override):
    first = run_of().begin("train")
    folder = run_of().stage_folder("train")
    (folder / "checkpoint").write_bytes(b"weights")
    second = run_of(override).begin("train")
    assert (folder / "checkpoint").read_bytes() == b"weights"
    assert (first["attempts"], second["attempts"]) == (1, 2)
    assert second["start"] == first["start"]
    assert do(run_of(), "train")["attempts"] == 3


def test_an_interrupted_stage_of_other_inputs_is_moved_to_the_trash(run_of, tmp_path):
    run = run_of()
    do(run, "convert")
    run.begin("train")
    (run.stage_folder("train") / "checkpoint").write_bytes(b"weights")
    do(run, "convert", content="other records")
    assert run.begin("train")["attempts"] == 1
    assert not (run.stage_folder("train") / "checkpoint").exists()
    assert b"weights" in contents(tmp_path / "artifacts" / "trash").values()


def test_a_finished_stage_with_a_lost_artifact_keeps_the_others_when_it_begins_again(finished):
    folder = finished.stage_folder("train")
    (folder / "deep" / "output.bin").unlink()
    finished.begin("train")
    assert (folder / "log.txt").exists()
    assert not (folder / "stage.json").exists()


def test_the_runs_folder_holds_the_recipe_that_made_it(run_of):
    run = run_of("training.epochs=41")
    run.begin("train")
    assert load_recipe(str(run.folder / "recipe.toml"))[1] == run.recipe


def test_the_record_says_when_where_and_with_what_a_stage_was_done(finished):
    record = finished.record("evaluate")
    assert record["start"] <= record["end"]
    assert {"numpy", "luigi"} <= set(record["packages"])
    assert {"python", "host", "git_commit"} <= set(record)
    assert record["settings"] == {"evaluation": finished.recipe.evaluation.model_dump()}
    assert set(record["outputs"]) == {"deep/output.bin", "log.txt"}


def test_what_a_finished_stage_made_is_read_and_an_unfinished_one_is_named(finished, run_of):
    assert finished.made("train") == finished.record("train")
    other = run_of(name="other")
    with pytest.raises(UserError) as caught:
        other.made("train")
    assert str(other.stage_folder("train")) in str(caught.value)


def test_facts_of_a_stage_are_kept_in_its_record(run_of):
    run = run_of()
    begun = run.begin("evaluate")
    run.finish(begun, [], top1_error=24.36)
    assert json.loads((run.stage_folder("evaluate") / "stage.json").read_text())["top1_error"] == 24.36


@pytest.mark.parametrize("name", ["a/b", "../a", "/a", "a/", "..", ".hidden", "-a", "a b", "a\n", "a\0", "ü"])
def test_a_run_name_that_is_no_plain_folder_name_is_refused(run_of, name):
    with pytest.raises(UserError) as caught:
        run_of(name=name)
    assert repr(name) in str(caught.value)


def test_a_run_is_named_after_its_recipe_unless_it_has_a_name(run_of, tmp_path):
    assert run_of().folder == tmp_path / "artifacts" / "runs" / "digits"
    assert run_of(name="try-2.b_c").folder == tmp_path / "artifacts" / "runs" / "try-2.b_c"


def test_records_are_named_after_the_data_set_or_else_its_folder_or_else_its_source(run_of, tmp_path):
    assert run_of("dataset.name=mine", recipe="imagefolder", data=tmp_path / "cats").records_name == "mine"
    assert run_of(recipe="imagefolder", data=tmp_path / "my cats!").records_name == "my-cats"
    assert run_of(recipe="imagefolder", data="/").records_name == "folder"
    assert run_of(recipe="imagefolder").records_name == "folder"


def test_a_stage_that_cannot_write_says_where_and_what_to_do(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    run = Run.of("digits", artifacts=tmp_path / "file" / "artifacts")
    with pytest.raises(UserError, match="--artifacts") as caught:
        run.begin("train")
    assert str(tmp_path / "file" / "artifacts") in str(caught.value)


def test_relative_places_and_the_home_folder_are_resolved_at_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    run = Run.of("imagefolder", artifacts="results", data="~/photographs")
    assert (run.artifacts, run.data) == (tmp_path / "results", tmp_path / "home" / "photographs")
