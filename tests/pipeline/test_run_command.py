"""FullRun for people who do not know Luigi."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_runs import SMALL


def run(*arguments: str | Path, cwd: Path | None = None, **environ: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "resnet", "run", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=os.environ | environ)


def test_one_command_takes_a_folder_of_images_to_a_report(photo_folder, tmp_path):
    overrides = [word for setting in [*SMALL, "training.epochs=1"] for word in ("--override", setting)]
    done = run(photo_folder, "--recipe", "imagefolder", "--run", "mine", *overrides, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "artifacts" / "runs" / "mine"
    assert f"FullRun: done; the report is {folder / 'report' / 'report.html'}" in done.stdout
    again = run("--run", "mine", "--dry-run", cwd=tmp_path)
    assert "FullRun has nothing to do." in again.stdout


def test_a_dry_run_says_what_would_run_why_and_how_much_disk_and_runs_nothing(photo_folder, tmp_path):
    said = run(photo_folder, "--recipe", "imagefolder", "--dry-run", cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    assert "FullRun would run ConvertRecords, Train, BatchNormStatistics, Evaluate and Report" in said.stdout
    assert "Train                missing      it has not run yet" in said.stdout
    assert " of records and " in said.stdout
    assert " of checkpoints and weights; " in said.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_is_of_the_run_that_luigi_cfg_describes(photo_folder, tmp_path):
    (tmp_path / "luigi.cfg").write_text(f"[pipeline]\nrecipe = imagefolder\nartifacts = mine\ndata = {photo_folder}\n")
    said = run("--dry-run", cwd=tmp_path)
    assert said.stdout.startswith(f"run imagefolder (recipe imagefolder) in {tmp_path / 'mine'}")
    for folder in ("other", "artifacts"):
        said = run("--artifacts", folder, "--dry-run", cwd=tmp_path)
        assert said.stdout.splitlines()[0].endswith(f"/{folder}")


def test_the_folder_of_images_in_luigi_cfg_keeps_no_recipe_from_its_own(tmp_path):
    (tmp_path / "luigi.cfg").write_text("[pipeline]\ndata = pictures\n")
    said = run("--recipe", "digits", "--dry-run", cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    refused = run("--recipe", "digits", "--data", "photos", "--dry-run", cwd=tmp_path)
    assert refused.returncode == 35
    assert "recipe digits reads no folder" in refused.stderr


def test_it_ends_with_the_exit_code_of_luigi(tmp_path):
    done = run("--recipe", "imagefolder", "--data", tmp_path / "nowhere", cwd=tmp_path)
    assert done.returncode == 20
    assert "there is no such folder" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["photos", "--data", "photos"], 1, "give the folder of the images once"),
        (["--override", '{"training.epochs": 3}'], 35, "this is a JSON object. Write one setting as"),
        (["--override", '["training.epochs=3"'], 35, "this is no JSON list of texts"),
        (["--override", "[3]"], 35, "this is no JSON list of texts"),
    ],
)
def test_what_cannot_be_understood_is_one_message(arguments, code, words, tmp_path):
    done = run(*arguments, "--dry-run", cwd=tmp_path)
    assert done.returncode == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_the_same_override_is_understood_by_luigi(tmp_path):
    done = run("--override", json.dumps({"training.epochs": 3}), cwd=tmp_path)
    assert done.returncode == 35
    assert "this is a JSON object" in done.stderr
    assert not (tmp_path / "artifacts").exists()
