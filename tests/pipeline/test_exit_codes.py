"""Every exit code of the real `luigi`, from another folder than the project's, and the sentence that says why."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from made_runs import MadeRun

from resnet.locks import locked
from resnet.run import Machine, Run
from resnet.stages import run_stage

LUIGI = Path(sys.executable).with_name("luigi")


class Case(NamedTuple):
    """A cause: what is done to the artifacts before, the command, its exit code, and words that it must say."""

    code: int
    words: str
    arguments: tuple[str, ...]
    before: Callable[[Path], object] = lambda artifacts: None


def unreadable_images(artifacts: Path) -> None:
    for name in ("cat/a.png", "cat/b.png", "dog/a.png", "dog/b.png"):
        path = artifacts.parent / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("no image")


def corrupt_record(artifacts: Path) -> None:
    (artifacts / "runs/mine/train/stage.json").write_text("{")


def a_file_in_its_place(artifacts: Path) -> None:
    shutil.rmtree(artifacts)
    artifacts.write_text("a file")


MINE = ("--run", "mine")
CASES = {
    "up to date": Case(0, "ConvertRecords: up to date", ("ConvertRecords", *MINE)),
    "status of what is not up to date": Case(25, "FullRun would run Report", ("Status", *MINE)),
    "no images": Case(20, "there is no such folder", ("Train", "--recipe", "imagefolder", "--data", "/nowhere")),
    "no folder of images given": Case(20, "say where they are with --data", ("Train", "--recipe", "imagefolder")),
    "unreadable images": Case(
        30,
        "4 images cannot be read",
        ("ConvertRecords", "--recipe", "imagefolder", "--data", "images", "--run", "new"),
        unreadable_images,
    ),
    "a corrupt state file": Case(35, "is corrupt", ("Evaluate", *MINE), corrupt_record),
    "no such recipe": Case(35, "there is no recipe 'digit'; did you mean digits?", ("Train", "--recipe", "digit")),
    "no such setting": Case(35, "did you mean training.epochs?", ("Train", "--override", "training.epoch=3")),
    "a value of the wrong type": Case(35, "training.epochs", ("Train", "--override", "training.epochs=many")),
    "a JSON object": Case(35, "this is a JSON object", ("Train", "--override", '{"training.epochs": 3}')),
    "a mistyped run": Case(35, "did you mean mine?", ("Train", "--run", "mien")),
    "a run name that is none": Case(35, "use letters, digits", ("Train", "--run", "../mine")),
    "no stage": Case(35, "say which stage is to run again", ("Rerun", *MINE)),
    "weights to start from that are gone": Case(
        35,
        "training.start_from: /gone.pth cannot be read",
        ("Rerun", "--stage", "train", *MINE, "--override", "training.start_from=/gone.pth"),
    ),
    "a stage that is none": Case(35, "there is no stage 'Trian'", ("Rerun", "--stage", "Trian", *MINE)),
    "a mistyped task": Case(35, "there is no task Trian; did you mean Train?", ("Trian",)),
    "an option that is none": Case(2, "unrecognized arguments: --ovrride", ("Train", "--ovrride", "x")),
    "settings that would displace work": Case(
        35,
        "Rerun --stage train",
        ("Train", *MINE, "--override", "training.seed=1"),
        lambda artifacts: worked(artifacts, 7200.0),
    ),
    "a file where the artifacts should be": Case(35, "Not a directory", ("Train", "--run", "new"), a_file_in_its_place),
}


def worked(artifacts: Path, seconds: float) -> None:
    path = artifacts / "runs/mine/train/stage.json"
    record = json.loads(path.read_text())
    del record["checksum"]
    path.write_text(json.dumps(record | {"worked_seconds": seconds}))


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A run whose stages up to Evaluate are finished. Not to be changed."""
    artifacts = tmp_path_factory.mktemp("made") / "artifacts"
    MadeRun(name="mine", overrides=["dataset.name=others"]).write(artifacts)
    run_stage("convert", Run.of("digits", artifacts=artifacts, name="mine", machine=Machine(workers=1)))
    return artifacts


@pytest.fixture
def artifacts(made, tmp_path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "artifacts"))


def luigi(artifacts: Path, *arguments: str) -> subprocess.CompletedProcess:
    place = [] if arguments[0] == "Trian" else ["--artifacts", str(artifacts)]
    command = [LUIGI, "--module", "pipeline", *arguments, *place, "--local-scheduler"]
    return subprocess.run(command, cwd=artifacts.parent, capture_output=True, text=True)


@pytest.mark.parametrize("cause", CASES)
def test_a_cause_has_its_exit_code_and_its_sentence_and_no_traceback(cause, artifacts):
    case = CASES[cause]
    case.before(artifacts)
    done = luigi(artifacts, *case.arguments)
    assert done.returncode == case.code, done.stdout + done.stderr
    assert case.words in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_locked_run_has_the_code_for_already_running(artifacts):
    with locked(artifacts / "runs/mine"):
        done = luigi(artifacts, "Train", "--run", "mine", "--override", "training.seed=1")
    assert done.returncode == 10
    assert "has locked" in done.stderr


def test_a_bug_keeps_its_traceback_and_has_a_code_of_its_own(artifacts, tmp_path):
    (tmp_path / "broken.py").write_text(
        "import luigi\nfrom pipeline import *\n\nclass Broken(luigi.Task):\n"
        "    def complete(self):\n        return False\n    def requires(self):\n        return []\n"
        "    def run(self):\n        raise ZeroDivisionError('a bug')\n"
    )
    command = [LUIGI, "--module", "broken", "Broken", "--local-scheduler"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(tmp_path)}
    )
    assert done.returncode == 30
    assert "ZeroDivisionError: a bug" in done.stdout + done.stderr


def test_control_c_ends_with_the_signal(artifacts):
    command = [LUIGI, "--module", "pipeline", "FullRun", "--recipe", "digits", "--local-scheduler"]
    process = subprocess.Popen(
        [*command, "--artifacts", str(artifacts)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout
    process.stdout.readline()  # it has begun
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode in (-signal.SIGINT, 130)
    assert "stopped; the same command continues from here" in said
    assert "Traceback" not in said
