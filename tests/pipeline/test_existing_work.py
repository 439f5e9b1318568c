"""What the real `luigi` does with work that is there: goes on with it, or stops before it is displaced."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from small_runs import SMALL
from waiting import until

from resnet.ledger.state_files import read_state, write_state

ONE_EPOCH = json.dumps([*SMALL, "training.epochs=1"])
TWO_EPOCHS = json.dumps([*SMALL, "training.epochs=2"])


def have_taken(path: Path, hours: float) -> None:
    """Have a finished stage say that it took so long."""
    write_state(path, read_state(path) | {"worked_seconds": 3600.0 * hours})


@pytest.fixture(scope="module")
def trained(luigi, photo_folder, tmp_path_factory) -> Path:
    """The artifacts of a run called `mine` with overrides, whose training has taken two hours. Not to be changed."""
    artifacts = tmp_path_factory.mktemp("trained") / "artifacts"
    options = ["--recipe", "imagefolder", "--data", photo_folder, "--artifacts", artifacts, "--run", "mine"]
    done = luigi("BatchNormStatistics", *options, "--override", ONE_EPOCH)
    assert done.returncode == 0, done.stderr
    have_taken(artifacts / "runs/mine/train/stage.json", 2)
    return artifacts


@pytest.fixture
def artifacts(trained, tmp_path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "artifacts"))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


def test_a_forgotten_override_displaces_no_finished_training(luigi, artifacts, photo_folder):
    before = contents(artifacts)
    options = ["--recipe", "imagefolder", "--data", photo_folder, "--artifacts", artifacts, "--run", "mine"]
    for task in ("Train", "Report"):
        done = luigi(task, *options)
        assert done.returncode == 35
        for words in ("training.epochs was 1, now 60", "2 h 00 min of work", "another --run", "--discard train"):
            assert words in done.stderr
        assert "Traceback" not in done.stdout + done.stderr
    assert contents(artifacts) == before


def test_without_luigi_the_same(artifacts, photo_folder):
    before = contents(artifacts)
    command = [sys.executable, "-m", "resnet", "train", "--recipe", "imagefolder", "--run", "mine"]
    done = subprocess.run(
        [*command, "--data", str(photo_folder), "--artifacts", str(artifacts)], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "training.epochs was 1, now 60" in done.stderr
    assert contents(artifacts) == before


def test_a_run_that_exists_needs_no_recipe_and_no_data(luigi, artifacts):
    done = luigi("BatchNormStatistics", "--artifacts", artifacts, "--run", "mine")
    assert done.returncode == 0, done.stderr
    assert f"run mine goes on with its own recipe, {artifacts}/runs/mine/recipe.toml" in done.stdout
    assert "BatchNormStatistics: up to date" in done.stdout


def test_discard_moves_the_training_to_the_trash_and_marks_what_depends_on_it_at_once(luigi, artifacts):
    done = luigi("Train", "--artifacts", artifacts, "--run", "mine", "--override", TWO_EPOCHS, "--discard", "Train")
    assert done.returncode == 0, done.stderr
    (kept,) = (artifacts / "trash").iterdir()
    assert read_state(kept / "stage.json")["settings"]["training"]["epochs"] == 1
    assert "depend on train" in (artifacts / "runs/mine/batchnorm/stale.txt").read_text()
    assert read_state(artifacts / "runs/mine/train/stage.json")["settings"]["training"]["epochs"] == 2


def test_a_stage_to_discard_that_does_not_exist(luigi, artifacts):
    done = luigi("Train", "--artifacts", artifacts, "--run", "mine", "--discard", "Training")
    assert done.returncode == 35
    assert "error: there is no stage 'Training': it is one of convert, train" in done.stderr


def test_a_damaged_weights_file_is_named_and_made_again_once_it_is_deleted(luigi, artifacts):
    weights = artifacts / "runs/mine/train/weights.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    shutil.rmtree(artifacts / "runs/mine/batchnorm")
    done = luigi("BatchNormStatistics", "--artifacts", artifacts, "--run", "mine")
    assert done.returncode == 30
    assert f"{weights} is corrupt: it differs from what train wrote" in done.stderr
    weights.unlink()
    again = luigi("BatchNormStatistics", "--artifacts", artifacts, "--run", "mine")
    assert again.returncode == 0, again.stderr
    assert weights.read_bytes() == whole


def test_two_data_sets_whose_folders_have_the_same_name_do_not_displace_each_other(luigi, photo_folder, tmp_path):
    one, two = (tmp_path / name / "images" for name in ("a", "b"))
    shutil.copytree(photo_folder, one)
    shutil.copytree(photo_folder, two)
    next((two / "train/china").iterdir()).unlink()
    options = ["--recipe", "imagefolder", "--artifacts", tmp_path / "artifacts"]
    assert luigi("ConvertRecords", *options, "--data", one).returncode == 0
    before = contents(tmp_path / "artifacts")
    refused = luigi("ConvertRecords", *options, "--data", two)
    assert refused.returncode == 35
    assert f"has the records of other images: those of {one}, not of {two}" in refused.stderr
    assert contents(tmp_path / "artifacts") == before
    named = luigi("ConvertRecords", *options, "--data", two, "--override", "dataset.name=b")
    assert named.returncode == 0, named.stderr
    assert luigi("ConvertRecords", *options, "--data", one).stdout == "ConvertRecords: up to date\n"


@pytest.fixture
def luigid(tmp_path):
    """The port of a scheduler of our own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [Path(sys.executable).with_name("luigid"), "--address", "127.0.0.1", "--port", str(port)]
    (tmp_path / "luigid").mkdir()
    process = subprocess.Popen(command, cwd=tmp_path / "luigid", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: not socket.socket().connect_ex(("127.0.0.1", port)))
    yield port
    process.kill()
    process.wait()


def test_two_folders_under_one_luigid_are_two_tasks(luigid, tmp_path):
    command = [Path(sys.executable).with_name("luigi"), "--module", "pipeline", "ConvertRecords", "--recipe", "digits"]
    started = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        started.append(
            subprocess.Popen(
                [*command, "--artifacts", "artifacts", "--scheduler-port", str(luigid)],
                cwd=tmp_path / name,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    said = [process.communicate()[0] for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    for name in ("one", "two"):
        assert (tmp_path / name / "artifacts/records/digits/stage.json").exists()
