"""What the real `luigi` saves when it is interrupted, and what it says before work begins that could not end well."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from resnet.training.log_format import read_log

LUIGI = Path(sys.executable).with_name("luigi")
# Long epochs of short steps, and a validation of seconds: 180 training and 1,617 validation images.
SETTINGS = (
    "dataset.validation_fraction=0.9",
    "records.train_shards=1",
    "records.validation_shards=1",
    "training.batch_size=2",
    "training.replica_batch_size=2",
    "training.checkpoint_steps=100000",
    "training.epochs=20",
)


@pytest.fixture(scope="module")
def converted(luigi, tmp_path_factory) -> Path:
    """Artifacts with the records of the digits. Not to be changed."""
    artifacts = tmp_path_factory.mktemp("converted") / "artifacts"
    options = ["--recipe", "digits", "--artifacts", artifacts, "--override", json.dumps(SETTINGS)]
    done = luigi("ConvertRecords", *options)
    assert done.returncode == 0, done.stderr
    return artifacts


@pytest.fixture
def artifacts(converted, tmp_path) -> Path:
    return Path(shutil.copytree(converted, tmp_path / "artifacts"))


@pytest.fixture
def training(artifacts, tmp_path) -> Iterator[Callable[..., subprocess.Popen]]:
    """training(): `luigi Train` in a process group of its own, through a pipe to `tee` if asked for."""
    started: list[subprocess.Popen] = []

    def start(through_tee: bool = False) -> subprocess.Popen:
        command = [str(LUIGI), "--module", "pipeline", "Train", "--local-scheduler", "--recipe", "digits"]
        command += ["--artifacts", str(artifacts), "--override", json.dumps(SETTINGS)]
        if through_tee:
            command = ["bash", "-c", '"$@" 2>&1 | tee "$0"', str(tmp_path / "log"), *command]
        with open(tmp_path / "output", "w") as output:
            started.append(
                subprocess.Popen(command, cwd=tmp_path, stdout=output, stderr=output, start_new_session=True)
            )
        return started[-1]

    yield start
    for process in started:
        with_group(process, signal.SIGKILL)
        process.wait()


def with_group(process: subprocess.Popen, number: signal.Signals) -> None:
    """Send a signal to every process of the group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def checkpoints(artifacts: Path) -> list[int]:
    folder = artifacts / "runs/digits/train/checkpoints"
    return sorted(int(path.name[5:13]) for path in folder.glob("step-*.safetensors"))


def wait_for(process: subprocess.Popen, happened: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < deadline
        with contextlib.suppress(subprocess.TimeoutExpired):
            pytest.fail(f"luigi ended before that, with exit code {process.wait(0.05)}")


def wait_for_all(process: subprocess.Popen) -> None:
    """Wait until the whole group has ended: luigi does not wait for a stage that saves its work."""
    deadline = time.monotonic() + 60
    process.wait()
    while time.monotonic() < deadline:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        select.select([], [], [], 0.05)
    pytest.fail("processes are left")


@pytest.mark.parametrize(
    ("number", "through_tee"),
    [(signal.SIGINT, True), (signal.SIGHUP, True), (signal.SIGHUP, False)],
    ids=["Ctrl-C, with the output piped to tee", "a closed terminal, piped to tee", "a closed terminal"],
)
def test_a_signal_to_all_processes_saves_the_steps_since_the_last_checkpoint(
    training, artifacts, tmp_path, number, through_tee
):
    process = training(through_tee)
    wait_for(process, lambda: len(read_log(artifacts / "runs/digits/train/log.jsonl")) >= 2)
    with_group(process, number)
    wait_for_all(process)
    steps = checkpoints(artifacts)
    assert steps[0] == 1
    assert 1 < steps[-1] < 90
    said = (tmp_path / "output").read_text() + ((tmp_path / "log").read_text() if through_tee else "")
    assert "Traceback" not in said


def test_sigterm_during_a_validation_is_heeded_within_it_and_the_epoch_is_saved(training, artifacts):
    process = training()
    wait_for(process, lambda: 90 in checkpoints(artifacts))  # it is saved, then validated
    process.terminate()
    wait_for_all(process)
    assert checkpoints(artifacts)[-1] == 90
    assert not any("validation_loss" in line for line in read_log(artifacts / "runs/digits/train/log.jsonl"))


def test_a_corrupt_validation_record_is_said_before_the_first_step(luigi, artifacts):
    shard = artifacts / "records/digits/validation-00000-of-00001"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    done = luigi("Train", "--recipe", "digits", "--artifacts", artifacts, "--override", json.dumps(SETTINGS))
    assert done.returncode == 30
    assert done.stderr.count("Train failed: ") == 1
    assert f"{shard}: the record at byte" in done.stderr
    assert "To repair the shard, delete it and run ConvertRecords; or `python -m resnet verify --mend`." in done.stderr
    assert checkpoints(artifacts) == []


# Python runs this before anything else: a disk with a kilobyte free.
FULL = """
import shutil
usage = shutil.disk_usage
shutil.disk_usage = lambda folder: usage(folder)._replace(free=1000)
"""


@pytest.mark.parametrize(
    ("task", "message"), [("ConvertRecords", "the records need about"), ("Train", "training needs")]
)
def test_a_disk_without_room_is_said_before_work_begins(
    luigi, artifacts, photo_folder, tmp_path, monkeypatch, task, message
):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(FULL)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")]))
    options = ["--recipe", "digits", "--artifacts", artifacts, "--override", json.dumps(SETTINGS)]
    if task == "ConvertRecords":
        options = ["--recipe", "imagefolder", "--artifacts", artifacts, "--data", photo_folder]
    done = luigi(task, *options)
    assert done.returncode == 30
    assert message in done.stderr
    assert "Make room, or give another folder with --artifacts" in done.stderr
    assert "Traceback" not in done.stderr
    assert checkpoints(artifacts) == []


def test_mending_an_unreadable_image_makes_only_its_shard_again(luigi, photo_folder, tmp_path):
    images = Path(shutil.copytree(photo_folder, tmp_path / "images"))
    whole = next((images / "train/china").iterdir())
    content = whole.read_bytes()
    whole.write_bytes(b"no image")
    shards = '["records.train_shards=4", "records.validation_shards=2"]'
    options = ["--recipe", "imagefolder", "--data", images, "--artifacts", tmp_path / "a", "--override", shards]
    failed = luigi("ConvertRecords", *options)
    assert failed.returncode == 30
    assert "1 image cannot be read" in failed.stderr
    assert "Finished shards are kept." in failed.stderr
    records = tmp_path / "a/records/images"
    before = {path.name: path.stat().st_ino for path in records.glob("*-of-*")}
    whole.write_bytes(content)
    mended = luigi("ConvertRecords", *options)
    assert mended.returncode == 0, mended.stderr
    after = {path.name: path.stat().st_ino for path in records.glob("*-of-*")}
    assert sum(before[name] != after[name] for name in before) == 1
    assert json.loads((records / "stage.json").read_text())["images"] == {"train": 48, "validation": 20}
    assert not (tmp_path / "a/trash").exists()


def test_a_training_that_stalls_is_tried_again_and_the_log_of_the_last_attempt_is_named(
    luigi, artifacts, tmp_path, monkeypatch
):
    (tmp_path / "luigi.cfg").write_text("[pipeline]\nstep_minutes = 0.001\nretries = 1\nretry_seconds = 0\n")
    monkeypatch.setenv("LUIGI_CONFIG_PATH", str(tmp_path / "luigi.cfg"))
    failed = luigi("Train", "--recipe", "digits", "--artifacts", artifacts, "--override", json.dumps(SETTINGS))
    train = artifacts / "runs" / "digits" / "train"
    assert failed.returncode == 30
    assert failed.stderr.count("That may pass: the next attempt (1 of 1) is in 0 s") == 1
    assert f"The log: {train / 'log-2.txt'}" in failed.stderr
    assert "What continues it: luigi --module pipeline Train --local-scheduler --run digits" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert json.loads((train / "begun.json").read_text())["attempts"] == 2
    assert "error: no step ended within" in (train / "log-1.txt").read_text()
