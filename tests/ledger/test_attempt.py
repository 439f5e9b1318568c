"""An attempt at a stage: what it keeps when it begins, what it moves to the trash, and what it records at the end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ledgers import begin, finish, ledger_in

from resnet.errors import UserError
from resnet.ledger.displacing import LABEL
from resnet.recipes import load_recipe
from resnet.stage_table import STAGES


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != LABEL)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize("was_finished", [True, False])
def test_artifacts_of_other_settings_move_to_the_trash_and_nothing_is_lost(ledger_for, was_finished, tmp_path, capsys):
    ledger = ledger_for()
    folder = ledger.run.stage_folder("train")
    if was_finished:
        finish(ledger, "train")
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


def test_moves_to_the_trash_within_the_same_second_overwrite_nothing(ledger_for, tmp_path):
    for epochs in range(41, 47):
        ledger = ledger_for(f"training.epochs={epochs}")
        begin(ledger, "train")
        (ledger.run.stage_folder("train") / "checkpoint").write_bytes(str(epochs).encode())
    begin(ledger_for(), "train")
    trashed = contents(tmp_path / "artifacts" / "trash")
    assert sorted(content for name, content in trashed.items() if name.endswith("checkpoint")) == [
        str(epochs).encode() for epochs in range(41, 47)
    ]


def test_the_lock_file_stays_when_artifacts_move_to_the_trash(ledger_for):
    begin(ledger_for(), "train")
    lock = ledger_for().run.stage_folder("train") / ".lock"
    lock.write_bytes(b"pid 1\n")
    begin(ledger_for("training.epochs=41"), "train")
    assert lock.read_bytes() == b"pid 1\n"


def test_a_first_attempt_creates_no_trash_folder(ledger_for, tmp_path):
    begin(ledger_for(), "train")
    assert not (tmp_path / "artifacts" / "trash").exists()


@pytest.mark.parametrize("override", ["training.epochs=40", "training.checkpoint_steps=7"])
def test_an_interrupted_stage_keeps_its_files_and_counts_attempts(ledger_for, override):
    first = begin(ledger_for(), "train")
    folder = ledger_for().run.stage_folder("train")
    (folder / "checkpoint").write_bytes(b"weights")
    second = begin(ledger_for(override), "train")
    assert (folder / "checkpoint").read_bytes() == b"weights"
    assert (first.number, second.number) == (1, 2)
    started = json.loads((folder / "begun.json").read_text())["start"]
    record = finish(ledger_for(), "train")
    assert record["attempts"] == 3
    assert record["start"] == started


def test_an_interrupted_stage_with_other_inputs_moves_to_the_trash(ledger_for, tmp_path):
    ledger = ledger_for()
    finish(ledger, "convert")
    begin(ledger, "train")
    (ledger.run.stage_folder("train") / "checkpoint").write_bytes(b"weights")
    finish(ledger, "convert", content="other records")
    assert begin(ledger, "train").number == 1
    assert not (ledger.run.stage_folder("train") / "checkpoint").exists()
    assert b"weights" in contents(tmp_path / "artifacts" / "trash").values()


def test_a_stage_that_begins_again_after_losing_an_artifact_keeps_the_others(finished):
    folder = finished.run.stage_folder("train")
    (folder / "deep" / "output.bin").unlink()
    begin(finished, "train")
    assert (folder / "log.txt").exists()
    assert not (folder / "stage.json").exists()


def test_the_run_folder_has_the_resolved_recipe(ledger_for):
    ledger = ledger_for("training.epochs=41")
    begin(ledger, "train")
    assert load_recipe(str(ledger.run.folder / "recipe.toml"))[1] == ledger.run.recipe


def test_stage_json_has_the_digests_of_all_inputs(finished):
    for stage, declared in STAGES.items():
        if stage != "convert":
            expected = {name: finished.record(name)["digest"] for name in declared.inputs}
            assert finished.record(stage)["inputs"] == expected


def test_the_digest_is_of_content_whatever_the_settings_and_the_name_of_the_run(finished, ledger_for):
    same = finish(ledger_for("training.seed=1", name="same"), "train")
    other = finish(ledger_for(name="other"), "train", content="another result")
    assert same["digest"] == finished.record("train")["digest"]
    assert other["digest"] != same["digest"]


def test_stage_json_has_times_host_versions_settings_and_outputs(finished):
    record = finished.record("evaluate")
    assert record["start"] <= record["end"]
    assert {"numpy", "luigi"} <= set(record["packages"])
    assert {"python", "host", "git_commit"} <= set(record)
    assert record["settings"] == {"evaluation": finished.run.recipe.evaluation.affecting_results()}
    assert set(record["outputs"]) == {"deep/output.bin", "log.txt"}


def test_facts_passed_to_finish_are_in_stage_json(ledger_for):
    ledger = ledger_for()
    begin(ledger, "evaluate").finish([], top1_error=24.36)
    assert json.loads((ledger.run.stage_folder("evaluate") / "stage.json").read_text())["top1_error"] == 24.36


def test_a_stage_that_cannot_write_names_the_folder_and_the_option_to_change(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    ledger = ledger_in(tmp_path / "file" / "artifacts")
    with pytest.raises(UserError, match="--artifacts") as caught:
        begin(ledger, "train")
    assert str(tmp_path / "file" / "artifacts") in str(caught.value)


def test_stage_json_says_the_peak_memory_and_its_digest_does_not_depend_on_it(ledger_for):
    attempt = begin(ledger_for(), "train")
    (attempt.folder / "weights").write_bytes(b"weights")
    digests = set()
    for gpu in (0, 12_345):
        attempt.finish([attempt.folder / "weights"], gpu_memory=gpu)
        record = ledger_for().finished("train")
        digests.add(record["digest"])
    assert len(digests) == 1
    assert record["peak_memory"]["process"] > 1_000_000
    assert record["peak_memory"]["gpu"] == 12_345
