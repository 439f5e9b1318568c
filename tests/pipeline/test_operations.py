"""Status and Rerun, through the real `luigi`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from made_runs import MadeRun
from small_runs import SMALL

from resnet.ledger.state_files import read_state
from resnet.stage_table import STAGES


@pytest.fixture(scope="module")
def evaluated(luigi, photo_folder, tmp_path_factory) -> Path:
    """The artifacts of a run called `mine`, up to its evaluation. Not to be changed."""
    artifacts = tmp_path_factory.mktemp("evaluated") / "artifacts"
    settings = json.dumps([*SMALL, "training.epochs=1"])
    options = ["--recipe", "imagefolder", "--data", photo_folder, "--artifacts", artifacts, "--run", "mine"]
    done = luigi("Evaluate", *options, "--override", settings)
    assert done.returncode == 0, done.stderr
    return artifacts


@pytest.fixture
def artifacts(evaluated, tmp_path) -> Path:
    return Path(shutil.copytree(evaluated, tmp_path / "artifacts"))


def started(folder: Path) -> dict[str, str]:
    """When each stage of the run began."""
    names = {name: folder / "runs/mine" / name for name in STAGES if name != "convert"}
    return {name: read_state(path / "stage.json")["start"] for name, path in names.items() if path.is_dir()}


def test_status_exits_with_0_only_where_all_is_up_to_date_and_runs_nothing(luigi, tmp_path):
    ledger = MadeRun(name="mine").write(tmp_path / "a")
    asked = luigi("Status", "--run", "mine", "--artifacts", tmp_path / "a")
    assert asked.returncode == 25
    assert "Report               missing      it has not run yet" in asked.stdout
    assert "FullRun would run Report" in asked.stdout
    assert not ledger.run.stage_folder("report").exists()


def test_rerun_of_a_stage_runs_it_and_what_depends_on_it(luigi, artifacts):
    before = started(artifacts)
    done = luigi("Rerun", "--stage", "BatchNormStatistics", "--run", "mine", "--artifacts", artifacts)
    assert done.returncode == 0, done.stderr
    assert "Rerun: BatchNormStatistics, Evaluate moved to the trash." in done.stdout
    after = started(artifacts)
    assert after["train"] == before["train"]
    assert after["batchnorm"] > before["batchnorm"]
    assert after["evaluate"] > before["evaluate"]
    assert "report" in after
    assert len(list((artifacts / "trash").iterdir())) == 2


def test_rerun_of_a_stage_alone_leaves_what_depends_on_it(luigi, artifacts):
    before = started(artifacts)
    done = luigi("Rerun", "--stage", "batchnorm", "--only", "--run", "mine", "--artifacts", artifacts)
    assert done.returncode == 0, done.stderr
    after = started(artifacts)
    assert after["batchnorm"] > before["batchnorm"]
    assert after["evaluate"] == before["evaluate"]
    assert not (artifacts / "runs/mine/evaluate/stale.txt").exists()  # the same statistics


def test_rerun_with_other_settings_displaces_what_a_stage_would_not(luigi, artifacts):
    path = artifacts / "runs/mine/train/stage.json"
    record = read_state(path)
    path.write_text(json.dumps(record | {"worked_seconds": 7200.0}))
    options = ["--run", "mine", "--artifacts", artifacts, "--override", "training.learning_rate=0.001"]
    refused = luigi("Train", *options)
    assert refused.returncode == 35
    assert "luigi --module pipeline Rerun --stage train, with the same options" in refused.stderr
    done = luigi("Rerun", "--stage", "train", "--only", *options)
    assert done.returncode == 0, done.stderr
    assert read_state(path)["settings"]["training"]["learning_rate"] == 0.001


def test_rerun_moves_nothing_where_the_stage_could_not_run(luigi, artifacts, tmp_path):
    options = ["--run", "mine", "--artifacts", artifacts]
    asked = {
        "there is no stage 'Training'": ["--stage", "Training", *options],
        "cannot be read": ["--stage", "Train", *options, "--override", "training.start_from=/nowhere.pth"],
        "no such folder": ["--stage", "convert", *options, "--data", tmp_path / "nowhere"],
    }
    for words, arguments in asked.items():
        refused = luigi("Rerun", *arguments)
        assert refused.returncode == 35, refused.stdout + refused.stderr
        assert words in refused.stderr
    assert not (artifacts / "trash").exists()
