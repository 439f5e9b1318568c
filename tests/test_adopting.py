"""Records and runs of another artifacts folder."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from resnet import __main__
from resnet.adopting import adopt
from resnet.errors import UserError
from resnet.ledger.state_files import read_state
from resnet.locks import locked
from resnet.run import Machine, Run
from resnet.stage_table import STAGES
from resnet.stages import ledger_of, run_stage


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory) -> Path:
    """The artifacts folder of another machine, with converted digits. Not to be changed."""
    artifacts = tmp_path_factory.mktemp("elsewhere") / "artifacts"
    run_stage("convert", Run.of("digits", artifacts=artifacts, machine=Machine(workers=1)))
    return artifacts


def test_records_are_a_finished_stage_that_says_where_it_comes_from(elsewhere, tmp_path):
    folder, verdict = adopt(elsewhere / "records" / "digits", tmp_path / "here", "digits")
    ledger = ledger_of(Run.of("digits", artifacts=tmp_path / "here"))
    assert folder == ledger.run.records
    assert ledger.why_incomplete("convert") == ""
    adopted = read_state(folder / "stage.json")["adopted"]
    assert adopted["from"] == str(elsewhere / "records" / "digits")
    assert adopted["verified_files"] == verdict.checked > 10
    assert "adopted" not in read_state(elsewhere / "records" / "digits" / "stage.json")


def test_files_are_linked_where_the_disk_is_the_same_and_copied_otherwise(elsewhere, tmp_path, monkeypatch):
    name = "train-00000-of-00004"
    folder, _ = adopt(elsewhere / "records" / "digits", tmp_path / "here", "digits")
    assert (folder / name).samefile(elsewhere / "records" / "digits" / name)
    assert not (folder / "log-1.txt").samefile(elsewhere / "records" / "digits" / "log-1.txt")  # it is appended to
    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError("another disk")))
    folder, _ = adopt(elsewhere / "records" / "digits", tmp_path / "there", "digits")
    assert (folder / name).read_bytes() == (elsewhere / "records" / "digits" / name).read_bytes()
    assert not (folder / name).samefile(elsewhere / "records" / "digits" / name)


def test_a_folder_that_is_a_link_is_not_left_behind_in_silence(elsewhere, tmp_path):
    theirs = Path(shutil.copytree(elsewhere, tmp_path / "theirs"))
    index = theirs / "records" / "digits" / "index"
    index.rename(theirs / "index")
    index.symlink_to(theirs / "index")
    with pytest.raises(UserError, match="index is a link to a folder: put the folder itself in its place"):
        adopt(theirs / "records" / "digits", tmp_path / "here", "digits")
    assert not (tmp_path / "here" / "records" / "digits" / "stage.json").exists()


def test_a_run_may_come_from_a_folder_of_any_name(finished, tmp_path):
    theirs = shutil.copytree(finished.run.folder, tmp_path / "my run")
    folder, verdict = adopt(Path(theirs), tmp_path / "here", "good")
    assert verdict.checked
    assert ledger_of(Run.of(name="good", artifacts=tmp_path / "here")).finished("train")
    (folder / "recipe.toml").write_text("")
    with pytest.raises(UserError, match=r"recipe\.toml is corrupt: it differs from what the run stored"):
        adopt(folder, tmp_path / "there", "bad")


def test_a_run_is_adopted_with_all_its_finished_stages(finished, tmp_path):
    shutil.copytree(finished.run.records, tmp_path / "here" / "records" / "digits")
    adopt(finished.run.folder, tmp_path / "here", "mine")
    ledger = ledger_of(Run.of(name="mine", artifacts=tmp_path / "here"))
    assert [stage for stage in STAGES if ledger.why_incomplete(stage)] == []
    for stage in ("train", "batchnorm", "evaluate", "report"):
        assert ledger.finished(stage)["adopted"]["from"] == str(finished.run.folder)


def test_what_is_corrupt_is_named_and_nothing_is_adopted(elsewhere, tmp_path):
    copy = Path(shutil.copytree(elsewhere / "records" / "digits", tmp_path / "copy"))
    path = copy / "train-00002-of-00004"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"train-00002-of-00004 is corrupt: .*truncated.* Nothing was adopted"):
        adopt(copy, tmp_path / "here", "digits")
    assert not list((tmp_path / "here").rglob("train-*"))


@pytest.mark.parametrize("place", ["runs/digits", "runs/digits/train"])
def test_what_a_process_is_at_work_on_is_not_adopted(place, finished, tmp_path):
    with locked(finished.run.artifacts / place), pytest.raises(UserError, match="a process is at work on"):
        adopt(finished.run.folder, tmp_path / "here", "mine")
    assert not (tmp_path / "here" / "runs" / "mine").exists()


def test_results_that_are_there_stay(elsewhere, tmp_path):
    adopt(elsewhere / "records" / "digits", tmp_path / "here", "digits")
    with pytest.raises(UserError, match="has something already"):
        adopt(elsewhere / "records" / "digits", tmp_path / "here", "digits")
    with pytest.raises(UserError, match="is in this artifacts folder already"):
        adopt(tmp_path / "here" / "records" / "digits", tmp_path / "here", "digits")


def test_the_command_says_what_was_verified_and_refuses_what_is_neither_records_nor_a_run(elsewhere, tmp_path, capsys):
    arguments = ["adopt", str(elsewhere / "records" / "digits"), "--artifacts", str(tmp_path / "here")]
    assert __main__.main([*arguments, "--name", "others"]) == 0
    assert (
        f"a folder of records, is {tmp_path / 'here' / 'records' / 'others'} now; verified: " in capsys.readouterr().out
    )
    assert __main__.main(["adopt", str(tmp_path), "--artifacts", str(tmp_path / "here")]) == 1
    assert "is neither a folder of records" in capsys.readouterr().err
    assert __main__.main([*arguments, "--name", "../others"]) == 1
    assert "use letters, digits" in capsys.readouterr().err
    assert json.loads((tmp_path / "here/records/others/stage.json").read_text())["adopted"]
